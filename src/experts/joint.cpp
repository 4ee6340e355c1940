#include <cmath>
#include <map>

#include "experts/families.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

/// Experts for m targets at once, built from m families of one target, all under the same responsibilities.
/// Independent: f_k(y | x) = prod_j f_kj(y_j | x). Full covariance (Gaussian): the chain rule
/// p(y_1, .., y_m | x) = prod_j p(y_j | x, y_1, .., y_(j-1)), where the family of target j also sees the
/// targets before it; regressions on those and their variances are the modified Cholesky factors of the
/// covariance (Pourahmadi 1999, Biometrika 86:677), so any covariance can be reached and none is singular.
class JointExperts final : public ExpertFamily {
 public:
  JointExperts(std::string_view family, const ExpertShape& shape) : full_(shape.full_covariance) {
    if (full_ && (family != "gaussian" || shape.noise_groups.size() > 1))
      throw Error(Errc::usage, "a full covariance needs gaussian experts with constant noise");
    ExpertShape one = shape;
    one.targets = 1;
    one.full_covariance = false;
    for (uword j = 0; j < shape.targets; ++j) {
      families_.emplace_back(make_experts(family, one));
      // What a target takes from those before it shrinks on its own.
      if (full_) one.groups.push_back(arma::max(arma::uvec(shape.groups)) + 1);
    }
  }
  JointExperts(const JointExperts& other) : full_(other.full_) {
    for (const auto& family : other.families_) families_.push_back(family->clone());
  }
  JointExperts& operator=(const JointExperts&) = delete;

  std::string_view name() const override { return families_[0]->name(); }
  uword count() const override { return families_[0]->count(); }
  uword targets() const override { return families_.size(); }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<JointExperts>(*this); }
  std::vector<Field> fields(uword k) override;
  void state(Archive& archive) override {
    for (const auto& family : families_) family->state(archive);
  }
  void select(std::span<const uword> from) override {
    for (const auto& family : families_) family->select(from);
  }
  mat coefficients(uword k) const override { return families_[0]->coefficients(k); }
  vec noise_coefficients(uword k) const override { return families_[0]->noise_coefficients(k); }
  double noise(uword k) const override { return families_[0]->noise(k); }
  double free_parameters() const override {
    double sum = 0;
    for (const auto& family : families_) sum += family->free_parameters();
    return sum;
  }
  double effective_parameters() const override {
    double sum = 0;
    for (const auto& family : families_) sum += family->effective_parameters();
    return sum;
  }
  std::string degenerate(uword k, double weight) const override {
    for (const auto& family : families_)
      if (std::string why = family->degenerate(k, weight); !why.empty()) return why;
    return {};
  }
  std::unique_ptr<ExpertFamily> marginal(uword j) const override;
  mat correlation(uword k) const override;

  void log_density(const Batch& batch, mat& out) const override;
  std::size_t sums() const override {
    std::size_t sum = 0;
    for (const auto& family : families_) sum += family->sums();
    return sum;
  }
  void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const override;
  void update(std::span<const double> sums, const Penalty& penalty) override;
  void set_penalty(const Penalty& penalty) override {
    for (const auto& family : families_) family->set_penalty(penalty);
  }
  double log_prior() const override {
    double sum = 0;
    for (const auto& family : families_) sum += family->log_prior();
    return sum;
  }
  void add_prior_gradient(std::span<double> gradient) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;
  void moments(const Batch& batch, mat& mean, mat& sd) const override {
    families_[0]->moments(batch, mean, sd);
  }
  void cumulative(const Batch& batch, const vec& at, mat& out) const override {
    families_[0]->cumulative(batch, at, out);
  }

 private:
  /// Calls visit(j, batch of target j).
  template <class Visit>
  void each_target(const Batch& batch, const Visit& visit) const;
  /// Coefficients of target j on features, then on the targets before it, and its own noise.
  vec chain(uword j, uword k) const { return families_[j]->coefficients(k).col(0); }
  /// M of y = W'x + M e with e independent, unit lower triangular; W: p x m.
  mat mixing(uword k, mat& means) const;

  bool full_;
  std::vector<std::unique_ptr<ExpertFamily>> families_;
  std::map<std::pair<uword, std::string>, std::string> names_;  // what fields() names point into
};

std::vector<Field> JointExperts::fields(uword k) {
  std::vector<Field> all;
  for (uword j = 0; j < targets(); ++j)
    for (Field field : families_[j]->fields(k)) {
      std::string& name = names_[{j, std::string(field.name)}];
      if (name.empty()) name = std::string(field.name) + (j == 0 ? "" : "_" + std::to_string(j + 1));
      field.name = name;
      all.push_back(field);
    }
  return all;
}

template <class Visit>
void JointExperts::each_target(const Batch& batch, const Visit& visit) const {
  Batch one;
  one.rows = batch.rows;
  one.expert = batch.expert;
  one.noise = batch.noise;
  one.weight = batch.weight;
  one.offset = batch.offset;
  one.picks = batch.picks;
  for (uword j = 0; j < targets(); ++j) {
    one.target = batch.targets.col(j);
    visit(j, one);
    if (full_) one.expert.insert_cols(one.expert.n_cols, one.target);
  }
}

void JointExperts::log_density(const Batch& batch, mat& out) const {
  mat own;
  each_target(batch, [&](uword j, const Batch& one) {
    families_[j]->log_density(one, j == 0 ? out : own);
    if (j > 0) out += own;
  });
}

void JointExperts::add(const Batch& batch, const mat& responsibility, std::span<double> sums) const {
  each_target(batch, [&](uword j, const Batch& one) {
    const std::size_t size = families_[j]->sums();
    families_[j]->add(one, responsibility, sums.first(size));
    sums = sums.subspan(size);
  });
}

void JointExperts::update(std::span<const double> sums, const Penalty& penalty) {
  for (const auto& family : families_) {
    const std::size_t size = family->sums();
    family->update(sums.first(size), penalty);
    sums = sums.subspan(size);
  }
}

void JointExperts::scores(const Batch& batch, uword k, mat& out) const {
  out.set_size(batch.rows, 0);
  mat own;
  each_target(batch, [&](uword j, const Batch& one) {
    families_[j]->scores(one, k, own);
    out.insert_cols(out.n_cols, own);
  });
}

/// Families are ordered by expert, and so is the whole: an expert's part holds those of its targets.
void JointExperts::add_prior_gradient(std::span<double> gradient) const {
  const auto moving = [](ExpertFamily& family) {
    std::size_t size = 0;
    for (const Field& f : family.fields(0)) size += f.kind == Field::Kind::fixed ? 0 : f.values.size();
    return size;
  };
  std::size_t begin = 0;
  const std::size_t all = gradient.size() / count();
  for (const auto& family : families_) {
    const std::size_t size = moving(*family);
    std::vector<double> own(size * count(), 0.0);
    family->add_prior_gradient(own);
    for (uword k = 0; k < count(); ++k)
      for (std::size_t j = 0; j < size; ++j) gradient[k * all + begin + j] += own[k * size + j];
    begin += size;
  }
}

mat JointExperts::mixing(uword k, mat& means) const {
  const uword m = targets(), p = chain(0, k).n_elem;
  means.zeros(p, m);
  mat mix(m, m, arma::fill::eye);
  for (uword j = 0; j < m; ++j) {
    const vec own = chain(j, k);
    means.col(j) = own.head(p);
    for (uword i = 0; i < j; ++i) {
      means.col(j) += own[p + i] * means.col(i);
      mix.row(j) += own[p + i] * mix.row(i);
    }
  }
  return mix;
}

std::unique_ptr<ExpertFamily> JointExperts::marginal(uword j) const {
  if (!full_ || j == 0) return families_[j]->clone();
  std::unique_ptr<ExpertFamily> out = families_[0]->clone();
  mat means;
  for (uword k = 0; k < count(); ++k) {
    const mat mix = mixing(k, means);
    double variance = 0;
    for (uword i = 0; i <= j; ++i) variance += std::pow(mix(j, i) * families_[i]->noise(k), 2);
    for (const Field& field : out->fields(k)) {
      if (field.name == "coefficients") std::copy_n(means.colptr(j), means.n_rows, field.values.begin());
      if (field.name == "noise") field.values[0] = std::sqrt(variance);
    }
  }
  return out;
}

mat JointExperts::correlation(uword k) const {
  if (!full_) return {};
  mat means;
  mat scaled = mixing(k, means);
  for (uword i = 0; i < targets(); ++i) scaled.col(i) *= families_[i]->noise(k);
  scaled = arma::normalise(scaled, 2, 1);
  return scaled * scaled.t();
}

}  // namespace

std::unique_ptr<ExpertFamily> make_joint(std::string_view family, const ExpertShape& shape) {
  return std::make_unique<JointExperts>(family, shape);
}

}  // namespace moekit
