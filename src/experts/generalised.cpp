#include "experts/generalised_experts.hpp"

#include <algorithm>
#include <cmath>

#include "experts/generalised.hpp"
#include "experts/picked.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

/// Least precisions of the priors of the location's and of the noise's slopes.
constexpr double kLeastPrecision = 1e-3, kLeastNoisePrecision = 25;
/// Prior of the scale at the average row of an expert under the evidence: as that of Gaussian experts for
/// families on the target's own scale; a normal prior of the logarithm behind a log link.
constexpr double kPriorFreedom = 2, kPriorVariance = 0.01;
constexpr double kPriorLogScale = -0.7, kPriorLogPrecision = 0.25;
/// Logarithms of scales are not taken above, so that nothing is infinite far outside.
constexpr double kMostLogScale = 30;
constexpr double kSpike = 1e-3;
/// Noise that varies is held above this share of the target's spread under the evidence: where it were less,
/// the location would pass through the rows there, and so on.
constexpr double kLeastVaryingScale = 0.03;
/// Longest step of a logarithm of scale or shape.
constexpr double kLongest = 1;

}  // namespace

GeneralisedExperts::GeneralisedExperts(const Kernel& kernel, const ExpertShape& shape)
    : kernel_(kernel),
      w_(shape.groups.size(), shape.experts, arma::fill::zeros),
      v_(kernel.has_scale() ? shape.noise_groups.size() : 0, shape.experts, arma::fill::zeros),
      shape_(shape.experts),
      prior_(shape.groups, shape.experts, kLeastPrecision),
      noise_prior_(shape.noise_groups, shape.experts, kLeastNoisePrecision),
      most_location_(kernel.log_link() ? std::log(shape.most_mean) : arma::datum::inf),
      centre_(v_.n_rows, shape.experts, arma::fill::zeros),
      floor_(kernel.least_scale()) {
  shape_.fill(kernel.first_shape());
  if (q() > 0) centre_.row(0).ones();
}

std::vector<Field> GeneralisedExperts::fields(uword k) {
  static constexpr const char* kPenalties[3] = {"precision", "effective", "common"};
  static constexpr const char* kNoisePenalties[3] = {"noise_precision", "noise_effective", "noise_common"};
  std::vector<Field> fields{{"coefficients", {w_.colptr(k), p()}, Field::Kind::free}};
  if (q() > 0) fields.push_back({"log_scale", {v_.colptr(k), q()}, Field::Kind::free});
  if (kernel_.has_shape())
    fields.push_back(
        {"shape", {&shape_[k], 1}, Field::Kind::positive, kernel_.least_shape(), kernel_.most_shape()});
  prior_.add_fields(k, kPenalties, fields);
  if (q() > 0) {
    noise_prior_.add_fields(k, kNoisePenalties, fields);
    fields.push_back({"noise_centre", {centre_.colptr(k), q()}, Field::Kind::fixed});
  }
  // Densities need it: with the first expert, for all.
  if (q() > 0 && k == 0) fields.push_back({"scale_floor", {&floor_, 1}, Field::Kind::fixed});
  return fields;
}

void GeneralisedExperts::select(std::span<const uword> from) {
  const arma::uvec index(std::vector<uword>(from.begin(), from.end()));
  for (mat* m : {&w_, &v_, &centre_}) *m = columns_of(*m, index);
  shape_ = shape_(index).eval();
  prior_.select(index);
  noise_prior_.select(index);
}

double GeneralisedExperts::noise(uword k) const {
  if (kernel_.log_link()) return 0;  // it goes with the mean
  const double scale =
      std::hypot(std::exp(std::min(arma::dot(v_.col(k), centre_.col(k)), kMostLogScale)), floor_);
  return kernel_.sd(0, scale, shape_[k]);
}

double GeneralisedExperts::effective_parameters() const {
  if (!prior_.evidence()) return free_parameters();
  double sum = 0;
  for (uword k = 0; k < count(); ++k) {
    sum += prior_.effective(k) + 1;
    if (q() > 0) sum += noise_prior_.effective(k) + 1;
    if (kernel_.has_shape()) sum += 1;
  }
  return sum;
}

std::string GeneralisedExperts::degenerate(uword k, double weight) const {
  if (weight < std::max(5.0, static_cast<double>(p() + q()))) return "expert on too few rows";
  if (!kernel_.log_link() && noise(k) < kSpike) return "expert without noise (a spike)";
  return {};
}

void GeneralisedExperts::predict(const Batch& batch, uword first, uword experts, Predictors& out) const {
  predictors(batch.expert, coefficients_from(w_, first, experts), out.location);
  if (batch.offset && kernel_.log_link())
    for (uword k = 0; k < experts; ++k)
      for (uword i = 0; i < batch.rows; ++i) out.location(i, k) += batch.offset[i];
  if (std::isfinite(most_location_)) out.location.clamp(-arma::datum::inf, most_location_);
  if (q() == 0) return;
  predictors(batch.noise, coefficients_from(v_, first, experts), out.scale);
  out.slope.ones(batch.rows, experts);
  for (uword i = 0; i < out.scale.n_elem; ++i)
    if (out.scale[i] > kMostLogScale) {
      out.scale[i] = kMostLogScale;
      out.slope[i] = 0;
    }
  simd::exp_inplace(out.scale.memptr(), out.scale.n_elem);
  for (uword i = 0; i < out.scale.n_elem; ++i) {
    const double square = out.scale[i] * out.scale[i], held = square + floor_ * floor_;
    out.slope[i] *= square / held;
    out.scale[i] = std::sqrt(held);
  }
}

void GeneralisedExperts::derive(const Batch& batch, const Predictors& at, uword k, double shape,
                                KernelDerivatives& out) const {
  for (vec* v : {&out.location, &out.location_curvature, &out.scale, &out.scale_curvature, &out.shape,
                 &out.shape_curvature})
    v->set_size(batch.rows);
  kernel_.derivatives(at.rows(batch, k, shape), out);
  const double* location = at.location.colptr(k);
  for (uword i = 0; i < batch.rows; ++i)
    if (location[i] >= most_location_) out.location[i] = 0;
  if (q() == 0) return;
  out.scale %= at.slope.col(k);
  out.scale_curvature %= arma::square(at.slope.col(k));
}

void GeneralisedExperts::log_density(const Batch& batch, mat& out) const {
  thread_local Predictors at;
  if (batch.picks) {
    density_of_picks(batch, count(), out, [&](uword k, const Batch& part, double* own) {
      predict(part, k, 1, at);
      kernel_.log_density(at.rows(part, 0, shape_[k]), own);
    });
    return;
  }
  predict(batch, at);
  out.set_size(batch.rows, count());
  for (uword k = 0; k < count(); ++k) kernel_.log_density(at.rows(batch, k, shape_[k]), out.colptr(k));
}

void GeneralisedExperts::scores(const Batch& batch, uword k, mat& out) const {
  Predictors at;
  KernelDerivatives d;
  predict(batch, at);
  derive(batch, at, k, shape_[k], d);
  out.set_size(batch.rows, p() + q() + (kernel_.has_shape() ? 1 : 0));
  out.head_cols(p()) = batch.expert.each_col() % d.location;
  if (q() > 0) out.cols(p(), p() + q() - 1) = batch.noise.each_col() % d.scale;
  if (kernel_.has_shape()) out.col(p() + q()) = d.shape;
}

void GeneralisedExperts::add(const Batch& batch, const mat& responsibility, std::span<double> sums) const {
  add_all_or_picks(batch, responsibility, stride(), sums,
                   [this](uword first, const Batch& rows, const mat& own, std::span<double> to) {
                     add_from(first, rows, own, to);
                   });
}

/// add() for the experts from `first`, one a column of `responsibility`.
void GeneralisedExperts::add_from(uword first, const Batch& batch, const mat& responsibility,
                                  std::span<double> sums) const {
  thread_local Predictors at;
  thread_local KernelDerivatives d;
  thread_local mat location, location_weight, scale, scale_weight;
  const uword n = batch.rows, experts = responsibility.n_cols;
  predict(batch, first, experts, at);
  location.set_size(n, experts);
  location_weight.set_size(n, experts);
  scale.set_size(n, experts);
  scale_weight.set_size(n, experts);
  for (uword k = 0; k < experts; ++k) {
    derive(batch, at, k, shape_[first + k], d);
    const vec r(const_cast<double*>(responsibility.colptr(k)), n, false, true);
    double* own = sums.data() + k * stride();
    own[0] += arma::accu(r);
    location.col(k) = r % d.location;
    location_weight.col(k) = r % d.location_curvature;
    if (q() > 0) {
      scale.col(k) = r % d.scale;
      scale_weight.col(k) = r % d.scale_curvature;
    }
    if (kernel_.has_shape()) {
      own[shape_at()] += arma::dot(r, d.shape);
      own[shape_at() + 1] += arma::dot(r, d.shape_curvature);
    }
  }
  if (q() > 0) {
    mat centre(q(), experts, arma::fill::zeros);
    add_products(batch.noise, responsibility, centre.memptr());
    for (uword k = 0; k < experts; ++k)
      for (uword j = 0; j < q(); ++j) sums[k * stride() + centre_at() + j] += centre(j, k);
  }
  const auto add_predictor = [&](const mat& x, const mat& slope, const mat& curvature, std::size_t begin) {
    mat score(x.n_cols, experts, arma::fill::zeros), gram(packed_size(x.n_cols), experts, arma::fill::zeros);
    add_products(x, slope, score.memptr());
    add_weighted_grams(x, curvature, gram.memptr());
    for (uword k = 0; k < experts; ++k) {
      double* to = sums.data() + k * stride() + begin;
      for (uword j = 0; j < score.n_rows; ++j) *to++ += score(j, k);
      for (uword j = 0; j < gram.n_rows; ++j) *to++ += gram(j, k);
    }
  };
  add_predictor(batch.expert, location, location_weight, location_at());
  if (q() > 0) add_predictor(batch.noise, scale, scale_weight, scale_at());
}

GeneralisedExperts::Newton GeneralisedExperts::location_sums(const double* own) const {
  return {vec(own + location_at(), p()), unpack(own + location_at() + p(), p())};
}

GeneralisedExperts::Newton GeneralisedExperts::scale_sums(uword k, const double* own) const {
  Newton out{vec(own + scale_at(), q()), unpack(own + scale_at() + q(), q())};
  double slope, curvature;
  scale_prior(k, slope, curvature);
  out.score += slope * centre_.col(k);
  out.curvature += curvature * centre_.col(k) * centre_.col(k).t();
  return out;
}

/// The precisions, from trial steps.
void GeneralisedExperts::refresh(std::span<const double> sums) {
  double rows = 0;
  for (uword k = 0; k < count(); ++k) rows += sums[k * stride()];
  if (prior_.bears_common(rows)) {
    prior_.update_common(w_);
    if (q() > 0) noise_prior_.update_common(v_);
  }
  for (uword k = 0; k < count(); ++k) {
    const double* own = sums.data() + k * stride();
    if (!(own[0] > 0)) continue;
    if (q() > 0) centre_.col(k) = vec(own + centre_at(), q()) / own[0];
    const Newton location = location_sums(own);
    prior_.refresh(k, w_.col(k), location.curvature, location.score, own[0]);
    if (q() == 0) continue;
    const Newton scale = scale_sums(k, own);
    noise_prior_.refresh(k, v_.col(k), scale.curvature, scale.score, own[0]);
  }
  prior_.share();
  noise_prior_.share();
}

double GeneralisedExperts::scale_prior(uword k, double& slope, double& curvature) const {
  slope = curvature = 0;
  if (!prior_.evidence()) return 0;
  const double at = arma::dot(v_.col(k), centre_.col(k));
  if (kernel_.log_link()) {
    slope = -kPriorLogPrecision * (at - kPriorLogScale);
    curvature = kPriorLogPrecision;
    return -0.5 * kPriorLogPrecision * (at - kPriorLogScale) * (at - kPriorLogScale);
  }
  // The coefficients of the location have used up degrees of freedom: what Gaussian experts divide by.
  const double used = prior_.effective(k) + 1 - kPriorFreedom;
  const double pull = kPriorFreedom * kPriorVariance * std::exp(-2 * std::max(at, -100.0));
  slope = used + pull;
  curvature = 2 * pull + std::abs(used);
  return used * at - 0.5 * pull;
}

void GeneralisedExperts::update_scale(uword k, const double* own) {
  const Newton newton = scale_sums(k, own);
  vec step = noise_prior_.step(k, v_.col(k), newton.curvature, newton.score);
  const double longest = arma::abs(step).max();
  if (longest > kLongest) step *= kLongest / longest;
  v_.col(k) += step;
}

void GeneralisedExperts::update_shape(uword k, const double* own) {
  double slope = 0, curvature = 0;
  if (prior_.evidence()) kernel_.shape_prior(shape_[k], slope, curvature);
  slope += own[shape_at()];
  curvature += own[shape_at() + 1];
  const double step = curvature > 0 ? std::clamp(slope / curvature, -kLongest, kLongest) : 0;
  shape_[k] = std::clamp(shape_[k] * std::exp(step), kernel_.least_shape(), kernel_.most_shape());
}

void GeneralisedExperts::set_penalty(const Penalty& penalty) {
  prior_.set(penalty);
  noise_prior_.set(penalty);
  floor_ = kernel_.least_scale();
  if (!kernel_.log_link()) floor_ = std::max(floor_, penalty.noise_floor);
  if (!kernel_.log_link() && prior_.evidence() && q() > 1) floor_ = std::max(floor_, kLeastVaryingScale);
}

void GeneralisedExperts::update(std::span<const double> sums, const Penalty& penalty) {
  set_penalty(penalty);
  if (prior_.evidence() && penalty.refresh) refresh(sums);
  for (uword k = 0; k < count(); ++k) {
    const double* own = sums.data() + k * stride();
    if (!(own[0] > 0)) continue;
    const Newton location = location_sums(own);
    w_.col(k) += prior_.step(k, w_.col(k), location.curvature, location.score);
    if (q() > 0) update_scale(k, own);
    if (kernel_.has_shape()) update_shape(k, own);
  }
}

double GeneralisedExperts::log_prior() const {
  double sum = 0, slope, curvature;
  for (uword k = 0; k < count(); ++k) {
    sum += prior_.log_prior(k, w_.col(k));
    if (q() > 0) sum += noise_prior_.log_prior(k, v_.col(k)) + scale_prior(k, slope, curvature);
    if (kernel_.has_shape() && prior_.evidence()) sum += kernel_.shape_prior(shape_[k], slope, curvature);
  }
  return sum;
}

void GeneralisedExperts::add_prior_gradient(std::span<double> gradient) const {
  const std::size_t size = p() + q() + (kernel_.has_shape() ? 1 : 0);
  double slope, curvature;
  for (uword k = 0; k < count(); ++k) {
    double* own = gradient.data() + k * size;
    prior_.add_gradient(k, w_.col(k), own);
    if (q() > 0) {
      noise_prior_.add_gradient(k, v_.col(k), own + p());
      scale_prior(k, slope, curvature);
      for (uword j = 0; j < q(); ++j) own[p() + j] += slope * centre_(j, k);
    }
    if (kernel_.has_shape() && prior_.evidence()) {
      kernel_.shape_prior(shape_[k], slope, curvature);
      own[p() + q()] += slope;
    }
  }
}

void GeneralisedExperts::moments(const Batch& batch, mat& mean, mat& sd) const {
  Predictors at;
  predict(batch, at);
  mean.set_size(batch.rows, count());
  sd.set_size(batch.rows, count());
  for (uword k = 0; k < count(); ++k)
    for (uword i = 0; i < batch.rows; ++i) {
      const double scale = q() > 0 ? at.scale(i, k) : 1;
      mean(i, k) = kernel_.mean(at.location(i, k), scale, shape_[k]);
      sd(i, k) = kernel_.sd(at.location(i, k), scale, shape_[k]);
    }
}

void GeneralisedExperts::cumulative(const Batch& batch, const vec& at, mat& out) const {
  Predictors own;
  predict(batch, own);
  out.set_size(batch.rows, count());
  for (uword k = 0; k < count(); ++k)
    for (uword i = 0; i < batch.rows; ++i)
      out(i, k) = kernel_.cumulative(at[i], own.location(i, k), q() > 0 ? own.scale(i, k) : 1, shape_[k]);
}

std::unique_ptr<ExpertFamily> make_generalised(const Kernel& kernel, const ExpertShape& shape) {
  return std::make_unique<GeneralisedExperts>(kernel, shape);
}

}  // namespace moekit
