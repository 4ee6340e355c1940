#include <algorithm>
#include <cmath>
#include <numbers>

#include "gates/families.hpp"
#include "gates/mixing_weights.hpp"
#include "moekit/error.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

/// Above, covariances cost more than anything that they could tell.
constexpr uword kMostFeatures = 1000;
/// Rows by which a region's centre is drawn to the centre of all rows.
constexpr double kCentreRows = 0.01;
/// Without a penalty: rows by which covariances are held away from zero, where features are levels or
/// repeat.
constexpr double kHoldFinite = 1e-6;
/// Least variance of a feature that the prior takes for granted.
constexpr double kLeastPooled = 1e-3;

/// g_k(x) = p(k) N(x | m_k, C_k) / sum_j p(j) N(x | m_j, C_j): every region is an ellipsoid (Xu, Jordan &
/// Hinton 1995). The update is in closed form, because what is climbed is the joint ln p(x, y); the
/// conditional likelihood of the same parameters is what other gates climb. x: the features but the
/// intercept.
///
/// C_k is kept by the lower triangular factor of its inverse: W'W = C^-1, z = W (x - m). Prior (inverse
/// Wishart and normal): nu rows whose covariance is the diagonal of all rows' variances, where nu is d + 2
/// under the evidence, and kCentreRows rows at the origin. One pass sums r, r x and r x x', K times. The
/// features are standardised and C_k is held away from zero, so raw moments lose no digits that count.
class GaussianGate final : public GateFamily {
 public:
  explicit GaussianGate(const GateShape& shape)
      : weights_(shape.experts),
        d_(shape.groups.size() - 1),
        centre_(d_, shape.experts, arma::fill::zeros),
        diagonal_(d_, shape.experts, arma::fill::ones),
        lower_(d_ > 0 ? packed_size(d_ - 1) : 0, shape.experts, arma::fill::zeros),
        pooled_(d_, arma::fill::zeros) {
    if (d_ > kMostFeatures)
      throw Error(Errc::usage, "a gaussian gate takes at most " + std::to_string(kMostFeatures) +
                                   " features, and there are " + std::to_string(d_) +
                                   "; choose fewer with --gate-columns or --gate-basis, or another --gate");
  }

  std::string_view name() const override { return "gaussian"; }
  uword count() const override { return weights_.count(); }
  std::unique_ptr<GateFamily> clone() const override { return std::make_unique<GaussianGate>(*this); }
  std::vector<Field> fields() override {
    return {{"contrasts", weights_.contrasts(), Field::Kind::free},
            {"centres", {centre_.memptr(), centre_.n_elem}, Field::Kind::free},
            {"diagonal", {diagonal_.memptr(), diagonal_.n_elem}, Field::Kind::positive},
            {"lower", {lower_.memptr(), lower_.n_elem}, Field::Kind::free},
            {"pooled", {pooled_.memptr(), pooled_.n_elem}, Field::Kind::fixed},
            {"effective", {&effective_, 1}, Field::Kind::fixed}};
  }
  void state(Archive& archive) override {
    GateFamily::state(archive);
    weights_.state(archive);
    archive(held_);
  }
  void select(std::span<const uword> from) override;
  std::vector<GateForm> forms() const override;
  double free_parameters() const override {
    return static_cast<double>(count() - 1 + centre_.n_elem + diagonal_.n_elem + lower_.n_elem);
  }
  double effective_parameters() const override { return effective_ > 0 ? effective_ : free_parameters(); }

  void log_prob(const Batch& batch, mat& out) const override {
    vec all;
    log_joint(batch, out, all);
    out.each_col() -= all;
  }
  bool log_input(const Batch& batch, vec& out) const override {
    mat joint;
    log_joint(batch, joint, out);
    return true;
  }
  void scores(const Batch& batch, uword k, mat& out) const override;

  std::size_t sums() const override { return packed_size(d_ + 1) * count(); }
  void add(const Batch& batch, const mat&, const mat& responsibility, std::span<double> sums) const override {
    add_weighted_grams(batch.gate_features(), responsibility, sums.data());
  }
  void update(std::span<const double> sums, const Penalty& penalty) override;
  void set_penalty(const Penalty& penalty) override;
  double log_prior() const override;
  void add_prior_gradient(std::span<double> gradient) const override;

 private:
  mat factor(uword k) const;  // W, d x d
  void set_factor(uword k, const mat& w);
  void set_pooled(std::span<const double> sums);
  void log_joint(const Batch& batch, mat& out, vec& all) const;

  MixingWeights weights_;
  uword d_;                        // features without the intercept
  mat centre_, diagonal_, lower_;  // d x K, d x K, the strict lower triangle row by row x K
  vec pooled_;                     // d: variances over all rows; zero until the first update
  double held_ = 0;                // rows of the covariances' prior
  double effective_ = 0;           // 0: all parameters are free
};

mat GaussianGate::factor(uword k) const {
  mat w(d_, d_, arma::fill::zeros);
  for (uword j = 0, at = 0; j < d_; ++j) {
    for (uword i = 0; i < j; ++i, ++at) w(j, i) = lower_(at, k);
    w(j, j) = diagonal_(j, k);
  }
  return w;
}

void GaussianGate::set_factor(uword k, const mat& w) {
  for (uword j = 0, at = 0; j < d_; ++j) {
    for (uword i = 0; i < j; ++i, ++at) lower_(at, k) = w(j, i);
    diagonal_(j, k) = w(j, j);
  }
}

void GaussianGate::select(std::span<const uword> from) {
  const arma::uvec columns(std::vector<uword>(from.begin(), from.end()));
  weights_.select(from);
  for (mat* m : {&centre_, &diagonal_, &lower_}) *m = columns_of(*m, columns);
}

std::vector<GateForm> GaussianGate::forms() const {
  const vec weight = arma::exp(weights_.log_weights());
  std::vector<GateForm> out;
  for (uword k = 0; k < count(); ++k) {
    vec centre(d_ + 1, arma::fill::zeros), spread(d_ + 1, arma::fill::zeros);
    if (d_ > 0) {
      centre.tail(d_) = centre_.col(k);
      const mat root = arma::inv(arma::trimatl(factor(k)));  // C = root root'
      spread.tail(d_) = arma::sqrt(arma::sum(arma::square(root), 1));
    }
    out.push_back({GateForm::Kind::weight, k, vec{weight[k]}, {}, {}});
    out.push_back({GateForm::Kind::centre, k, centre, {}, {}});
    out.push_back({GateForm::Kind::spread, k, spread, {}, {}});
  }
  return out;
}

/// out: n x K, ln p(k) N(x | m_k, C_k); all: n, its log-sum-exp over k.
void GaussianGate::log_joint(const Batch& batch, mat& out, vec& all) const {
  const double constant = 0.5 * static_cast<double>(d_) * std::log(2 * std::numbers::pi);
  const vec weight = weights_.log_weights();
  out.set_size(batch.rows, count());
  all.set_size(batch.rows);
  thread_local mat z, coefficients;
  for (uword k = 0; k < count(); ++k) {
    // z = W x - W m as one linear product, the intercept's feature carrying the shift.
    const mat w = factor(k);
    coefficients.set_size(d_ + 1, d_);
    coefficients.row(0) = -(w * centre_.col(k)).t();
    if (d_ > 0) coefficients.tail_rows(d_) = w.t();
    predictors(batch.gate_features(), coefficients, z);
    const double level = weight[k] - constant + arma::accu(arma::log(diagonal_.col(k)));
    double* to = out.colptr(k);
    std::fill(to, to + batch.rows, level);
    for (uword j = 0; j < d_; ++j) {
      const double* from = z.colptr(j);
      for (uword i = 0; i < batch.rows; ++i) to[i] -= 0.5 * from[i] * from[i];
    }
  }
  thread_local mat scratch;
  scratch.set_size(out.n_rows, out.n_cols);
  simd::softmax_rows(out.memptr(), out.n_rows, out.n_cols, scratch.memptr(), all.memptr());
}

/// d ln p(k) N(x | m_k, C_k).
void GaussianGate::scores(const Batch& batch, uword k, mat& out) const {
  const uword n = batch.rows, shift = count() - 1, centres = centre_.n_elem, diagonals = diagonal_.n_elem;
  mat part(n, count()), weights;
  part.each_row() = -arma::exp(weights_.log_weights()).t();
  part.col(k) += 1;
  weights_.scores(part, weights);
  out.zeros(n, shift + centres + diagonals + lower_.n_elem);
  if (shift > 0) out.head_cols(shift) = weights;
  if (d_ == 0) return;
  const mat w = factor(k);
  mat x = batch.gate_features().tail_cols(d_);
  x.each_row() -= centre_.col(k).t();
  const mat z = x * w.t();
  const mat pull = z * w;
  for (uword a = 0, at = 0; a < d_; ++a) {
    out.col(shift + k * d_ + a) = pull.col(a);
    out.col(shift + centres + k * d_ + a) = 1 - w(a, a) * z.col(a) % x.col(a);
    for (uword b = 0; b < a; ++b, ++at)
      out.col(shift + centres + diagonals + k * lower_.n_rows + at) = -z.col(a) % x.col(b);
  }
}

void GaussianGate::set_pooled(std::span<const double> sums) {
  mat total(d_ + 1, d_ + 1, arma::fill::zeros);
  for (uword k = 0; k < count(); ++k) total += unpack(sums.data() + k * packed_size(d_ + 1), d_ + 1);
  if (!(total(0, 0) > 0)) return;
  total /= total(0, 0);
  for (uword j = 0; j < d_; ++j)
    pooled_[j] = std::max(total(j + 1, j + 1) - total(j + 1, 0) * total(j + 1, 0), kLeastPooled);
}

void GaussianGate::set_penalty(const Penalty& penalty) {
  held_ = kHoldFinite;
  if (penalty.mode == Penalty::Mode::evidence) held_ = static_cast<double>(d_ + 2);
  if (penalty.mode == Penalty::Mode::fixed) held_ = std::max(held_, penalty.ridge);
  weights_.set_penalty(penalty);
}

void GaussianGate::update(std::span<const double> sums, const Penalty& penalty) {
  const bool evidence = penalty.mode == Penalty::Mode::evidence;
  set_penalty(penalty);
  if (d_ > 0 && pooled_[0] == 0) set_pooled(sums);
  vec rows(count());
  double determined = 0;
  const double shape = 0.5 * static_cast<double>(d_ * (d_ + 3));
  for (uword k = 0; k < count(); ++k) {
    const mat gram = unpack(sums.data() + k * packed_size(d_ + 1), d_ + 1);
    rows[k] = gram(0, 0);
    determined += shape * rows[k] / (rows[k] + held_);
    if (d_ == 0) continue;
    const vec sum = gram.col(0).tail(d_);
    const vec m = sum / (rows[k] + kCentreRows);
    centre_.col(k) = m;
    mat c = gram.submat(1, 1, d_, d_) - m * sum.t() - sum * m.t() + (rows[k] + kCentreRows) * m * m.t();
    c.diag() += held_ * pooled_;
    c /= rows[k] + held_;
    mat root;
    if (!arma::chol(root, arma::symmatu(c), "lower")) root = arma::diagmat(arma::sqrt(pooled_));
    set_factor(k, arma::inv(arma::trimatl(root)));
  }
  weights_.update(rows, penalty);
  effective_ = evidence ? static_cast<double>(count() - 1) + determined : 0.0;
}

double GaussianGate::log_prior() const {
  double sum = weights_.log_prior();
  if (d_ == 0 || pooled_[0] == 0) return sum;
  for (uword k = 0; k < count(); ++k) {
    const mat w = factor(k);
    const vec precision = arma::sum(arma::square(w), 0).t();
    sum += held_ * (arma::accu(arma::log(diagonal_.col(k))) - 0.5 * arma::dot(pooled_, precision));
    sum -= 0.5 * kCentreRows * arma::accu(arma::square(w * centre_.col(k)));
  }
  return sum;
}

void GaussianGate::add_prior_gradient(std::span<double> gradient) const {
  const uword shift = count() - 1, diagonals = shift + centre_.n_elem, lowers = diagonals + diagonal_.n_elem;
  if (shift > 0) weights_.add_prior_gradient(gradient.first(shift));
  if (d_ == 0 || pooled_[0] == 0) return;
  for (uword k = 0; k < count(); ++k) {
    const mat w = factor(k);
    const vec z = w * centre_.col(k), pull = w.t() * z;
    for (uword a = 0, at = 0; a < d_; ++a) {
      gradient[shift + k * d_ + a] -= kCentreRows * pull[a];
      gradient[diagonals + k * d_ + a] +=
          held_ * (1 - pooled_[a] * w(a, a) * w(a, a)) - kCentreRows * z[a] * centre_(a, k) * w(a, a);
      for (uword b = 0; b < a; ++b, ++at)
        gradient[lowers + k * lower_.n_rows + at] -=
            held_ * pooled_[b] * w(a, b) + kCentreRows * z[a] * centre_(b, k);
    }
  }
}

}  // namespace

std::unique_ptr<GateFamily> make_gaussian_gate(const GateShape& shape) {
  return std::make_unique<GaussianGate>(shape);
}

}  // namespace moekit
