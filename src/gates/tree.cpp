#include <algorithm>
#include <cmath>
#include <numbers>

#include "gates/families.hpp"
#include "gates/hierarchy.hpp"
#include "simd/vector_math.hpp"
#include "softmax_regression.hpp"

namespace moekit {

namespace {

/// Hierarchical mixture of experts (Jordan & Jacobs 1994): a binary tree with an expert at each leaf and a
/// logistic regression at each inner node; the weight of an expert is the product of the probabilities along
/// its path. A node is a softmax regression of two classes, its weights the posterior mass that reaches it,
/// with a prior of its own: one Newton step a pass. Along a path the variances of that prior add up, so its
/// least precision is log2 K times a flat gate's: the log odds of two experts are as free in either. One pass
/// sums gradient and curvature of every node.
///
/// Of a new gate only the number of leaves is known; its first update arranges them by the regions it is
/// given, and takes no step.
class TreeGate final : public GateFamily {
 public:
  explicit TreeGate(const GateShape& shape)
      : groups_(shape.groups), tree_(shape.experts), node_(shape.experts - 1, fresh()) {
    name_nodes();
  }

  std::string_view name() const override { return "tree"; }
  uword count() const override { return tree_.count(); }
  std::unique_ptr<GateFamily> clone() const override { return std::make_unique<TreeGate>(*this); }
  std::vector<Field> fields() override;
  void state(Archive& archive) override {
    archive.fixed(tree_.place());
    archive.fixed(tree_.depth());
    for (SoftmaxRegression& node : node_) node.state(archive);
  }
  void select(std::span<const uword> from) override;
  std::vector<GateForm> forms() const override;
  double free_parameters() const override { return static_cast<double>(node_.size() * groups_.size()); }
  double effective_parameters() const override {
    double sum = 0;
    for (const SoftmaxRegression& node : node_) sum += node.effective_parameters();
    return sum;
  }

  void log_prob(const Batch& batch, mat& out) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;

  std::size_t sums() const override {
    const std::size_t p = groups_.size();
    return tree_.arranged() ? node_.size() * (p + packed_size(p)) : count() * p;
  }
  void add(const Batch& batch, const mat& prob, const mat& responsibility,
           std::span<double> sums) const override;
  void update(std::span<const double> sums, const Penalty& penalty) override;
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override;
  void randomise(Rng rng) override {
    tree_.balance();
    GateFamily::randomise(rng);
  }
  void set_penalty(const Penalty& penalty) override {
    for (SoftmaxRegression& node : node_) node.set_penalty(penalty);
  }
  double log_prior() const override {
    double sum = 0;
    for (const SoftmaxRegression& node : node_) sum += node.log_prior();
    return sum;
  }
  void add_prior_gradient(std::span<double> gradient) const override {
    for (std::size_t j = 0; j < node_.size(); ++j)
      node_[j].add_prior_gradient(gradient.subspan(j * groups_.size(), groups_.size()));
  }

 private:
  SoftmaxRegression fresh() const { return SoftmaxRegression(groups_, 2, false); }
  void name_nodes();
  mat coefficients_of_nodes() const;                        // p x (K - 1): ln of left against right
  void probabilities(const Batch& batch, mat& left) const;  // n x (K - 1)
  void climb(const Batch& batch, const mat& weight, mat& difference, mat* curvature) const;
  void add_grams(const mat& x, const mat& weight, double* sums) const;

  std::vector<uword> groups_;
  Hierarchy tree_;
  std::vector<SoftmaxRegression> node_;  // by gap: two classes, left and right
  std::vector<std::string> names_;       // of the fields of each node
};

constexpr const char* kNodeFields[] = {"contrasts_", "precision_", "effective_"};

void TreeGate::name_nodes() {
  names_.clear();
  for (std::size_t j = 0; j < node_.size(); ++j)
    for (const char* field : kNodeFields) names_.push_back(field + std::to_string(j + 1));
}

std::vector<Field> TreeGate::fields() {
  std::vector<Field> all{{"place", tree_.place(), Field::Kind::fixed},
                         {"depth", tree_.depth(), Field::Kind::fixed}};
  for (std::size_t j = 0; j < node_.size(); ++j) {
    mat& u = node_[j].u();
    all.push_back({names_[3 * j], {u.memptr(), u.n_elem}, Field::Kind::free});
    all.push_back({names_[3 * j + 1], node_[j].precision(), Field::Kind::fixed});
    all.push_back({names_[3 * j + 2], node_[j].effective(), Field::Kind::fixed});
  }
  return all;
}

void TreeGate::select(std::span<const uword> from) {
  std::vector<uword> twins;
  const std::vector<uword> source = tree_.select(from, twins);
  std::vector<SoftmaxRegression> next;
  for (std::size_t j = 0; j < source.size(); ++j) {
    if (source[j] != Hierarchy::none) {
      next.push_back(node_[source[j]]);
      continue;
    }
    next.push_back(fresh());  // one twin on the left, the others on the right, each with the same weight
    mat theta(groups_.size(), 2, arma::fill::zeros);
    theta(0, 1) = std::log(static_cast<double>(twins[j]));
    next.back().set_theta(theta);
  }
  node_ = std::move(next);
  name_nodes();
}

std::vector<GateForm> TreeGate::forms() const {
  const mat values = coefficients_of_nodes();
  const std::vector<uword> leaves = tree_.leaves();
  const auto experts = [&](uword first, uword last) {
    std::vector<uword> out(leaves.begin() + static_cast<std::ptrdiff_t>(first),
                           leaves.begin() + static_cast<std::ptrdiff_t>(last + 1));
    std::ranges::sort(out);
    return out;
  };
  std::vector<GateForm> out;
  for (const Hierarchy::Node& node : tree_.nodes())
    out.push_back({GateForm::Kind::node, out.size(), values.col(node.gap), experts(node.first, node.gap),
                   experts(node.gap + 1, node.last)});
  return out;
}

mat TreeGate::coefficients_of_nodes() const {
  mat out(groups_.size(), node_.size());
  for (std::size_t j = 0; j < node_.size(); ++j) {
    const mat theta = node_[j].theta();
    out.col(j) = theta.col(0) - theta.col(1);
  }
  return out;
}

void TreeGate::probabilities(const Batch& batch, mat& left) const {
  predictors(batch.gate_features(), coefficients_of_nodes(), left);
  thread_local mat small;
  small = -arma::abs(left);
  simd::exp_inplace(small.memptr(), small.n_elem);
  for (uword i = 0; i < left.n_elem; ++i) left[i] = (left[i] >= 0 ? 1.0 : small[i]) / (1 + small[i]);
}

void TreeGate::log_prob(const Batch& batch, mat& out) const {
  const uword n = batch.rows;
  thread_local mat logit, rest, by_place;
  predictors(batch.gate_features(), coefficients_of_nodes(), logit);
  rest = -arma::abs(logit);  // becomes ln(1 + exp(-|logit|))
  simd::exp_inplace(rest.memptr(), rest.n_elem);
  rest += 1;
  simd::log_inplace(rest.memptr(), rest.n_elem);
  by_place.zeros(n, count());
  // The first place of a part holds the weight with which its root is reached.
  for (const Hierarchy::Node& node : tree_.nodes()) {
    double* left = by_place.colptr(node.first);
    double* right = by_place.colptr(node.gap + 1);
    const double* z = logit.colptr(node.gap);
    const double* e = rest.colptr(node.gap);
    for (uword i = 0; i < n; ++i) {
      right[i] = left[i] + std::min(-z[i], 0.0) - e[i];
      left[i] += std::min(z[i], 0.0) - e[i];
    }
  }
  out.set_size(n, count());
  const std::vector<uword> leaves = tree_.leaves();
  for (uword at = 0; at < leaves.size(); ++at) out.col(leaves[at]) = by_place.col(at);
}

void TreeGate::scores(const Batch& batch, uword k, mat& out) const {
  const std::vector<uword> leaves = tree_.leaves();
  const auto place = static_cast<uword>(std::ranges::find(leaves, k) - leaves.begin());
  const uword p = groups_.size();
  out.zeros(batch.rows, p * node_.size());
  mat prob, part;
  vec scratch;
  for (const Hierarchy::Node& node : tree_.nodes()) {
    if (place < node.first || place > node.last) continue;
    const SoftmaxRegression& own = node_[node.gap];
    own.probabilities(batch.gate_features(), prob, scratch);
    mat label(batch.rows, 2, arma::fill::zeros);
    label.col(place <= node.gap ? 0 : 1).ones();
    own.scores(batch.gate_features(), prob, label, part);
    out.cols(node.gap * p, (node.gap + 1) * p - 1) = part;
  }
}

/// Nodes made at different times may need their curvature in different passes.
void TreeGate::add_grams(const mat& x, const mat& weight, double* sums) const {
  const auto due = [](const SoftmaxRegression& node) { return node.gram_columns() > 0; };
  if (std::ranges::all_of(node_, due)) return add_weighted_grams(x, weight, sums);
  for (std::size_t j = 0; j < node_.size(); ++j)
    if (due(node_[j])) add_weighted_grams(x, weight.col(j), sums + j * packed_size(x.n_cols));
}

/// Of sum_ik weight(i, k) ln g_k(x_i), weight n x K: the slope by the logit of each node and the curvature,
/// n x (K - 1).
void TreeGate::climb(const Batch& batch, const mat& weight, mat& difference, mat* curvature) const {
  const uword n = batch.rows;
  thread_local mat left, mass;
  probabilities(batch, left);
  const std::vector<uword> leaves = tree_.leaves();
  mass.set_size(n, count());
  for (uword at = 0; at < leaves.size(); ++at) mass.col(at) = weight.col(leaves[at]);
  difference.set_size(n, node_.size());
  if (curvature) curvature->set_size(n, node_.size());
  std::vector<Hierarchy::Node> nodes = tree_.nodes();
  std::ranges::reverse(nodes);  // from the leaves up: the first place of a part gathers what reaches its root
  for (const Hierarchy::Node& node : nodes) {
    double* a = mass.colptr(node.first);
    const double* b = mass.colptr(node.gap + 1);
    const double* p = left.colptr(node.gap);
    double* d = difference.colptr(node.gap);
    double* c = curvature ? curvature->colptr(node.gap) : nullptr;
    for (uword i = 0; i < n; ++i) {
      const double both = a[i] + b[i];
      d[i] = a[i] - both * p[i];
      if (c) c[i] = both * p[i] * (1 - p[i]);
      a[i] = both;
    }
  }
}

void TreeGate::add(const Batch& batch, const mat&, const mat& responsibility, std::span<double> sums) const {
  if (node_.empty()) return;
  if (!tree_.arranged()) return add_products(batch.gate_features(), responsibility, sums.data());
  thread_local mat difference, weight;
  climb(batch, responsibility, difference, &weight);
  add_products(batch.gate_features(), difference, sums.data());
  add_grams(batch.gate_features(), weight, sums.data() + groups_.size() * node_.size());
}

void TreeGate::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  if (node_.empty()) return;
  thread_local mat difference, sides;
  climb(batch, weight, difference, nullptr);
  const std::size_t p = groups_.size();
  for (std::size_t j = 0; j < node_.size(); ++j) {
    sides = arma::join_rows(difference.col(j), -difference.col(j));
    node_[j].add_logit_gradient(batch.gate_features(), sides, gradient.subspan(j * p, p));
  }
}

void TreeGate::update(std::span<const double> sums, const Penalty& penalty) {
  const uword p = groups_.size();
  if (node_.empty()) return;
  if (!tree_.arranged()) {
    const mat moments(const_cast<double*>(sums.data()), p, count(), false, true);
    const vec rows = moments.row(0).t();
    mat centres = moments;
    for (uword k = 0; k < count(); ++k) centres.col(k) /= std::max(rows[k], 1e-300);
    tree_.arrange(centres.tail_rows(p - 1), rows);
    return;
  }
  std::vector<double> own(2 * p + packed_size(p));
  for (std::size_t j = 0; j < node_.size(); ++j) {
    const double* gradient = sums.data() + j * p;
    const double* gram = sums.data() + node_.size() * p + j * packed_size(p);
    for (uword i = 0; i < p; ++i) {
      own[i] = gradient[i];
      own[p + i] = -gradient[i];
    }
    std::copy(gram, gram + packed_size(p), own.begin() + static_cast<std::ptrdiff_t>(2 * p));
    node_[j].hold(std::log2(static_cast<double>(count())));
    node_[j].update(own, penalty);
  }
}

}  // namespace

std::unique_ptr<GateFamily> make_tree_gate(const GateShape& shape) {
  return std::make_unique<TreeGate>(shape);
}

}  // namespace moekit
