#include <algorithm>
#include <cmath>

#include "coefficient_prior.hpp"
#include "experts/families.hpp"
#include "experts/generalised.hpp"
#include "experts/picked.hpp"
#include "linalg.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

constexpr double kLogTwoPi = 1.8378770664093454836;
/// Prior of the variance under the evidence: scaled inverse chi-square with nu degrees of freedom around
/// s0^2, a hundredth of the target's variance.
constexpr double kPriorFreedom = 2, kPriorVariance = 0.01;
/// Least precision of the slopes' priors: nearly without force.
constexpr double kLeastPrecision = 1e-3;
/// Without any other floor a noise-free table would send a variance to zero.
constexpr double kLeastNoise = 1e-8;
/// Exact maximum likelihood calls an expert below this share of the target's spread a spike.
constexpr double kSpike = 1e-3;

/// Linear experts with Gaussian noise, each with its own variance: f_k = N(y | w_k'x, s_k^2).
/// Jacobs, Jordan, Nowlan, Hinton 1991; EM of Jordan & Jacobs 1994; evidence of MacKay 1992 expert by expert.
///
/// A pass sums, around the current coefficients so that no digits are lost to a large mean: weight, squared
/// residuals, their products with the features, and the weighted Gram matrix of the features.
class GaussianExperts final : public ExpertFamily {
 public:
  explicit GaussianExperts(const ExpertShape& shape)
      : w_(shape.groups.size(), shape.experts, arma::fill::zeros),
        noise_(shape.experts, arma::fill::ones),
        prior_(shape.groups, shape.experts, kLeastPrecision) {}

  std::string_view name() const override { return "gaussian"; }
  uword count() const override { return w_.n_cols; }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<GaussianExperts>(*this); }
  std::vector<Field> fields(uword k) override {
    static constexpr const char* kPenalties[3] = {"precision", "effective", "common"};
    std::vector<Field> fields{{"coefficients", {w_.colptr(k), w_.n_rows}, Field::Kind::free},
                              {"noise", {&noise_[k], 1}, Field::Kind::positive, floor_}};
    prior_.add_fields(k, kPenalties, fields);
    return fields;
  }
  void state(Archive& archive) override {
    ExpertFamily::state(archive);
    prior_.state(archive);
    archive(floor_);
  }
  void select(std::span<const uword> from) override {
    const arma::uvec index(std::vector<uword>(from.begin(), from.end()));
    w_ = w_.cols(index).eval();
    noise_ = noise_(index).eval();
    prior_.select(index);
  }
  mat coefficients(uword k) const override { return w_.col(k); }
  vec noise_coefficients(uword k) const override { return {std::log(noise_[k])}; }
  double noise(uword k) const override { return noise_[k]; }
  double free_parameters() const override { return static_cast<double>(w_.n_elem + noise_.n_elem); }
  double effective_parameters() const override {
    if (!prior_.evidence()) return free_parameters();
    double sum = 2.0 * static_cast<double>(count());
    for (uword k = 0; k < count(); ++k) sum += prior_.effective(k);
    return sum;
  }
  std::string degenerate(uword k, double weight) const override;

  void log_density(const Batch& batch, mat& out) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;
  std::size_t sums() const override { return count() * stride(); }
  void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const override;
  void update(std::span<const double> sums, const Penalty& penalty) override;
  void set_penalty(const Penalty& penalty) override {
    prior_.set(penalty);
    floor_ = std::max(penalty.noise_floor, kLeastNoise);
    noise_.clamp(floor_, arma::datum::inf);
  }
  double log_prior() const override;
  void add_prior_gradient(std::span<double> gradient) const override;
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override;
  bool add_answer_gradient(const Batch& batch, const arma::cube& slope,
                           std::span<double> gradient) const override;
  void moments(const Batch& batch, mat& mean, mat& sd) const override;
  void cumulative(const Batch& batch, const vec& at, mat& out) const override;

 private:
  std::size_t stride() const { return 2 + w_.n_rows + packed_size(w_.n_rows); }
  void density(uword k, const Batch& batch, const double* predictor, double* out) const;
  void add_from(const Batch& batch, const mat& predictor, const mat& responsibility,
                std::span<double> sums) const;
  void update_expert(uword k, const double* own);

  mat w_;      // p x K, on standardised features and target
  vec noise_;  // K, standard deviations
  CoefficientPrior prior_;
  double floor_ = kLeastNoise;
};

std::string GaussianExperts::degenerate(uword k, double weight) const {
  const double least = std::max(5.0, static_cast<double>(w_.n_rows));
  if (weight < least) return "expert on too few rows";
  if (noise_[k] < kSpike) return "expert without noise (a spike)";
  return {};
}

/// Of expert k, from its predictor of each row.
void GaussianExperts::density(uword k, const Batch& batch, const double* predictor, double* out) const {
  simd::gaussian_log_density(batch.target.memptr(), predictor, 1 / noise_[k],
                             -std::log(noise_[k]) - 0.5 * kLogTwoPi, out, batch.rows);
}

void GaussianExperts::log_density(const Batch& batch, mat& out) const {
  if (batch.picks) {
    thread_local mat predictor;
    density_of_picks(batch, count(), out, [&](uword k, const Batch& part, double* own) {
      predictors(part.expert, coefficients_from(w_, k, 1), predictor);
      density(k, part, predictor.memptr(), own);
    });
    return;
  }
  predictors(batch.expert, w_, batch.kept.value);
  batch.kept.coefficients = w_;
  out.set_size(batch.rows, count());
  for (uword k = 0; k < count(); ++k) density(k, batch, batch.kept.value.colptr(k), out.colptr(k));
}

void GaussianExperts::scores(const Batch& batch, uword k, mat& out) const {
  const vec z = (batch.target - batch.expert * w_.col(k)) / noise_[k];
  out.set_size(batch.rows, w_.n_rows + 1);
  out.head_cols(w_.n_rows) = batch.expert.each_col() % (z / noise_[k]);
  out.col(w_.n_rows) = arma::square(z) - 1;
}

void GaussianExperts::add(const Batch& batch, const mat& responsibility, std::span<double> sums) const {
  thread_local mat own;  // buffer of a worker
  if (batch.picks) {
    add_picks(batch, responsibility, [&](uword k, const Batch& part, const mat& r) {
      predictors(part.expert, coefficients_from(w_, k, 1), own);
      add_from(part, own, r, sums.subspan(k * stride(), stride()));
    });
    return;
  }
  const Batch::Predictors& kept = batch.kept;
  const bool known = arma::size(kept.value) == arma::size(batch.rows, count()) &&
                     arma::size(kept.coefficients) == arma::size(w_) &&
                     std::equal(w_.begin(), w_.end(), kept.coefficients.begin());
  if (!known) predictors(batch.expert, w_, own);
  add_from(batch, known ? kept.value : own, responsibility, sums);
}

/// add() for some experts in turn, those of the columns of `predictor` and `responsibility`.
void GaussianExperts::add_from(const Batch& batch, const mat& predictor, const mat& responsibility,
                               std::span<double> sums) const {
  const uword n = batch.rows, p = w_.n_rows, pairs = packed_size(p), experts = responsibility.n_cols;
  thread_local mat residual, gram, score;
  residual.set_size(n, experts);
  gram.zeros(pairs, experts);
  add_weighted_grams(batch.expert, responsibility, gram.memptr());
  for (uword k = 0; k < experts; ++k) {
    simd::weighted_residuals(batch.target.memptr(), predictor.colptr(k), responsibility.colptr(k), n,
                             residual.colptr(k), sums[k * stride()], sums[k * stride() + 1]);
  }
  score.zeros(p, experts);
  add_products(batch.expert, residual, score.memptr());
  for (uword k = 0; k < experts; ++k) {
    double* to = sums.data() + k * stride() + 2;
    for (uword j = 0; j < p; ++j) to[j] += score(j, k);
    for (uword c = 0; c < pairs; ++c) to[p + c] += gram(c, k);
  }
}

void GaussianExperts::update(std::span<const double> sums, const Penalty& penalty) {
  prior_.set(penalty);
  floor_ = std::max(penalty.noise_floor, kLeastNoise);  // noise below moves there with its next step
  if (prior_.evidence() && penalty.refresh) {
    double rows = 0;
    for (uword k = 0; k < count(); ++k) rows += sums[k * stride()];
    if (prior_.bears_common(rows)) prior_.update_common(w_);
    for (uword k = 0; k < count(); ++k) {
      const double* own = sums.data() + k * stride();
      const mat gram = unpack(own + 2 + w_.n_rows, w_.n_rows);
      const vec score(const_cast<double*>(own + 2), w_.n_rows, false, true);
      const double variance = noise_[k] * noise_[k];
      prior_.refresh(k, w_.col(k), gram / variance, score / variance, own[0]);
    }
    prior_.share();
  }
  for (uword k = 0; k < count(); ++k) update_expert(k, sums.data() + k * stride());
}

/// A penalised least-squares step; then the variance from the residual sum after it.
void GaussianExperts::update_expert(uword k, const double* own) {
  const mat gram = unpack(own + 2 + w_.n_rows, w_.n_rows);
  const double weight = own[0], squares = own[1];
  const double variance = noise_[k] * noise_[k];
  const vec score(const_cast<double*>(own + 2), w_.n_rows, false, true);
  const vec step = prior_.step(k, w_.col(k), gram / variance, score / variance);
  w_.col(k) += step;
  const double left = std::max(0.0, squares - 2 * arma::dot(step, score) + arma::dot(step, gram * step));
  double next = variance;
  if (prior_.evidence()) {
    next = (left + kPriorFreedom * kPriorVariance) /
           std::max(weight - prior_.effective(k) - 1 + kPriorFreedom, 0.5 * kPriorFreedom);
  } else if (weight > 0) {
    next = left / weight;
  }
  noise_[k] = std::max(std::sqrt(next), floor_);
}

double GaussianExperts::log_prior() const {
  double sum = 0;
  for (uword k = 0; k < count(); ++k) {
    sum += prior_.log_prior(k, w_.col(k));
    if (prior_.evidence())
      sum += (prior_.effective(k) + 1 - kPriorFreedom) * std::log(noise_[k]) -
             0.5 * kPriorFreedom * kPriorVariance / (noise_[k] * noise_[k]);
  }
  return sum;
}

void GaussianExperts::add_prior_gradient(std::span<double> gradient) const {
  const uword p = w_.n_rows;
  for (uword k = 0; k < count(); ++k) {
    double* own = gradient.data() + k * (p + 1);
    prior_.add_gradient(k, w_.col(k), own);
    if (prior_.evidence())
      own[p] +=
          prior_.effective(k) + 1 - kPriorFreedom + kPriorFreedom * kPriorVariance / (noise_[k] * noise_[k]);
  }
}

void GaussianExperts::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  const uword n = batch.rows, p = w_.n_rows;
  mat pull, of_w(p, count(), arma::fill::zeros);
  predictors(batch.expert, w_, pull);
  for (uword k = 0; k < count(); ++k) {
    double* own = pull.colptr(k);
    const double* r = weight.colptr(k);
    double of_noise = 0;
    for (uword i = 0; i < n; ++i) {
      const double z = (batch.target[i] - own[i]) / noise_[k];
      own[i] = r[i] * z / noise_[k];
      of_noise += r[i] * (z * z - 1);
    }
    gradient[k * (p + 1) + p] += of_noise;
  }
  add_products(batch.expert, pull, of_w.memptr());
  for (uword k = 0; k < count(); ++k)
    for (uword j = 0; j < p; ++j) gradient[k * (p + 1) + j] += of_w(j, k);
}

bool GaussianExperts::add_answer_gradient(const Batch& batch, const arma::cube& slope,
                                          std::span<double> gradient) const {
  const uword p = w_.n_rows;
  for (uword k = 0; k < count(); ++k) {
    const vec own = batch.expert.t() * slope.slice(k).col(0);
    for (uword j = 0; j < p; ++j) gradient[k * (p + 1) + j] += own[j];
  }
  return true;
}

void GaussianExperts::moments(const Batch& batch, mat& mean, mat& sd) const {
  predictors(batch.expert, w_, mean);
  sd.set_size(batch.rows, count());
  sd.each_row() = noise_.t();
}

void GaussianExperts::cumulative(const Batch& batch, const vec& at, mat& out) const {
  predictors(batch.expert, w_, out);
  for (uword k = 0; k < count(); ++k)
    for (uword i = 0; i < batch.rows; ++i)
      out(i, k) = 0.5 * std::erfc((out(i, k) - at[i]) / (noise_[k] * M_SQRT2));
}

}  // namespace

std::unique_ptr<ExpertFamily> make_gaussian(const ExpertShape& shape) {
  if (shape.noise_groups.size() > 1) return make_varying_gaussian(shape);
  return std::make_unique<GaussianExperts>(shape);
}

}  // namespace moekit
