#include "simd/vector_math.hpp"

#include <vector>

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/vector_math.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<double>;

/// Calls step(i, lanes) over n values; the last, shorter part goes through a padded copy so that a value's
/// result never depends on where it stands.
template <class Kernel>
void map_inplace(double* x, std::size_t n, const Kernel& kernel) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(kernel(d, hn::LoadU(d, x + i)), d, x + i);
  if (i == n) return;
  HWY_ALIGN double rest[HWY_MAX_BYTES / sizeof(double)];
  for (std::size_t j = 0; j < lanes; ++j) rest[j] = i + j < n ? x[i + j] : 1.0;
  hn::Store(kernel(d, hn::Load(d, rest)), d, rest);
  for (std::size_t j = 0; i + j < n; ++j) x[i + j] = rest[j];
}

/// exp(v), and 0 below -300: products of such weights would be subnormal, and those are a hundred times
/// slower.
template <class V>
V ExpOrZero(D d, V v) {
  const auto least = hn::Set(d, -300.0);
  return hn::IfThenElseZero(hn::Gt(v, least), hn::Exp(d, hn::Max(v, least)));
}

void ExpInplace(double* x, std::size_t n) {
  map_inplace(x, n, [](D d, auto v) { return ExpOrZero(d, v); });
}

void Silu(double* HWY_RESTRICT z, double* HWY_RESTRICT slope, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(d, 1.0);
  const auto kernel = [&](double* value_at, double* slope_at) {
    const auto x = hn::LoadU(d, value_at);
    const auto s = hn::Div(one, hn::Add(one, ExpOrZero(d, hn::Neg(x))));
    const auto value = hn::Mul(x, s);
    hn::StoreU(hn::MulAdd(value, hn::Sub(one, s), s), d, slope_at);
    hn::StoreU(value, d, value_at);
  };
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) kernel(z + i, slope + i);
  if (i == n) return;
  HWY_ALIGN double rest[HWY_MAX_BYTES / sizeof(double)], slopes[HWY_MAX_BYTES / sizeof(double)];
  for (std::size_t j = 0; j < lanes; ++j) rest[j] = i + j < n ? z[i + j] : 0.0;
  kernel(rest, slopes);
  for (std::size_t j = 0; i + j < n; ++j) {
    z[i + j] = rest[j];
    slope[i + j] = slopes[j];
  }
}

void LogInplace(double* x, std::size_t n) {
  map_inplace(x, n, [](D d, auto v) { return hn::Log(d, v); });
}

double Sum(const double* x, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  auto low = hn::Zero(d), high = hn::Zero(d);  // two, as an addition waits for the one before
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    low = hn::Add(low, hn::LoadU(d, x + i));
    high = hn::Add(high, hn::LoadU(d, x + i + lanes));
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(low, high)));
  for (; i < n; ++i) sum += x[i];
  return sum;
}

void Multiply(double* HWY_RESTRICT x, const double* HWY_RESTRICT w, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, w + i)), d, x + i);
  for (; i < n; ++i) x[i] *= w[i];
}

void Standardise(const double* HWY_RESTRICT x, std::size_t n, double center, double scale, double most,
                 double* HWY_RESTRICT out) {
  const double inverse = 1 / scale;  // dividing every value took as long as a linear predictor
  const D d;
  const hn::CappedTag<double, 1> one;
  const std::size_t lanes = hn::Lanes(d);
  const auto kernel = [&](auto tag, std::size_t i) {
    const auto v = hn::LoadU(tag, x + i);
    const auto z = hn::Mul(hn::Sub(v, hn::Set(tag, center)), hn::Set(tag, inverse));
    const auto held = hn::Min(hn::Max(z, hn::Set(tag, -most)), hn::Set(tag, most));
    hn::StoreU(hn::IfThenElseZero(hn::Eq(v, v), held), tag, out + i);
  };
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) kernel(d, i);
  for (; i < n; ++i) kernel(one, i);
}

void WeightedResiduals(const double* HWY_RESTRICT y, const double* HWY_RESTRICT m,
                       const double* HWY_RESTRICT r, std::size_t n, double* HWY_RESTRICT e, double& weight,
                       double& squares) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  auto weights = hn::Zero(d), sum = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto own = hn::LoadU(d, r + i), difference = hn::Sub(hn::LoadU(d, y + i), hn::LoadU(d, m + i));
    const auto weighted = hn::Mul(own, difference);
    hn::StoreU(weighted, d, e + i);
    weights = hn::Add(weights, own);
    sum = hn::MulAdd(weighted, difference, sum);
  }
  weight += hn::GetLane(hn::SumOfLanes(d, weights));
  squares += hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) {
    const double difference = y[i] - m[i];
    e[i] = r[i] * difference;
    weight += r[i];
    squares += e[i] * difference;
  }
}

void GaussianLogDensity(const double* HWY_RESTRICT y, const double* HWY_RESTRICT m, double inverse,
                        double constant, double* HWY_RESTRICT out, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const auto inv = hn::Set(d, inverse), minus_half = hn::Set(d, -0.5), c = hn::Set(d, constant);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto z = hn::Mul(hn::Sub(hn::LoadU(d, y + i), hn::LoadU(d, m + i)), inv);
    hn::StoreU(hn::MulAdd(hn::Mul(minus_half, z), z, c), d, out + i);
  }
  // The last rows with the same operations, fused alike, so that a row's value never depends on its place.
  const hn::CappedTag<double, 1> one;
  for (; i < n; ++i) {
    const auto z = hn::Mul(hn::Set(one, y[i] - m[i]), hn::Set(one, inverse));
    out[i] = hn::GetLane(hn::MulAdd(hn::Mul(hn::Set(one, -0.5), z), z, hn::Set(one, constant)));
  }
}

/// One vector of rows: maximum over the columns, exponentials, their sum, and the division.
template <class V>
V SoftmaxStep(D d, const double* in, double* out, std::size_t stride, std::size_t columns, V top) {
  auto sum = hn::Zero(d);
  for (std::size_t k = 0; k < columns; ++k) {
    const auto e = ExpOrZero(d, hn::Sub(hn::LoadU(d, in + k * stride), top));
    hn::StoreU(e, d, out + k * stride);
    sum = hn::Add(sum, e);
  }
  // The largest term is 1, unless no term is a number or all are ln 0: then nobody is responsible.
  const auto inverse = hn::Div(hn::Set(d, 1.0), hn::Max(sum, hn::Set(d, 0.5)));
  for (std::size_t k = 0; k < columns; ++k)
    hn::StoreU(hn::Mul(hn::LoadU(d, out + k * stride), inverse), d, out + k * stride);
  return hn::Add(top, hn::Log(d, sum));
}

void SoftmaxBlock(const double* in, std::size_t stride, std::size_t columns, double* out, double* lse) {
  const D d;
  auto top = hn::LoadU(d, in);
  for (std::size_t k = 1; k < columns; ++k) top = hn::Max(top, hn::LoadU(d, in + k * stride));
  hn::StoreU(SoftmaxStep(d, in, out, stride, columns, top), d, lse);
}

void SoftmaxRows(const double* in, std::size_t n, std::size_t columns, double* out, double* lse) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) SoftmaxBlock(in + i, n, columns, out + i, lse + i);
  if (i == n) return;
  // The last rows: one at a time through padded vectors, with the same operations.
  HWY_ALIGN double last_lse[HWY_MAX_BYTES / sizeof(double)];
  std::vector<double> pad(2 * columns * lanes);
  for (std::size_t k = 0; k < columns; ++k)
    for (std::size_t j = 0; j < lanes; ++j) pad[k * lanes + j] = i + j < n ? in[k * n + i + j] : 0.0;
  SoftmaxBlock(pad.data(), lanes, columns, pad.data() + columns * lanes, last_lse);
  for (std::size_t j = 0; i + j < n; ++j) {
    lse[i + j] = last_lse[j];
    for (std::size_t k = 0; k < columns; ++k) out[k * n + i + j] = pad[(columns + k) * lanes + j];
  }
}

/// One vector of rows of the E step; columns of the scores, which become weights, and of the densities.
void PosteriorBlock(double* gate, const double* density, std::size_t stride, std::size_t columns,
                    double* responsibility, double* log_likelihood) {
  const D d;
  auto top = hn::LoadU(d, gate), joint_top = hn::Add(top, hn::LoadU(d, density));
  for (std::size_t k = 1; k < columns; ++k) {
    const auto score = hn::LoadU(d, gate + k * stride);
    top = hn::Max(top, score);
    joint_top = hn::Max(joint_top, hn::Add(score, hn::LoadU(d, density + k * stride)));
  }
  auto sum = hn::Zero(d), joint_sum = hn::Zero(d);
  for (std::size_t k = 0; k < columns; ++k) {
    const auto score = hn::LoadU(d, gate + k * stride);
    const auto weight = ExpOrZero(d, hn::Sub(score, top));
    const auto joint = ExpOrZero(d, hn::Sub(hn::Add(score, hn::LoadU(d, density + k * stride)), joint_top));
    hn::StoreU(weight, d, gate + k * stride);
    hn::StoreU(joint, d, responsibility + k * stride);
    sum = hn::Add(sum, weight);
    joint_sum = hn::Add(joint_sum, joint);
  }
  const auto half = hn::Set(d, 0.5), one = hn::Set(d, 1.0);
  const auto inverse = hn::Div(one, hn::Max(sum, half)),
             joint_inverse = hn::Div(one, hn::Max(joint_sum, half));
  for (std::size_t k = 0; k < columns; ++k) {
    hn::StoreU(hn::Mul(hn::LoadU(d, gate + k * stride), inverse), d, gate + k * stride);
    hn::StoreU(hn::Mul(hn::LoadU(d, responsibility + k * stride), joint_inverse), d,
               responsibility + k * stride);
  }
  const auto log_sums = hn::Sub(hn::Log(d, joint_sum), hn::Log(d, sum));
  hn::StoreU(hn::Add(hn::Sub(joint_top, top), log_sums), d, log_likelihood);
}

void PosteriorRows(double* gate, const double* density, std::size_t n, std::size_t columns,
                   double* responsibility, double* log_likelihood) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    PosteriorBlock(gate + i, density + i, n, columns, responsibility + i, log_likelihood + i);
  if (i == n) return;
  HWY_ALIGN double last[HWY_MAX_BYTES / sizeof(double)];
  std::vector<double> pad(3 * columns * lanes);
  double *own_gate = pad.data(), *own_density = own_gate + columns * lanes,
         *own = own_density + columns * lanes;
  for (std::size_t k = 0; k < columns; ++k)
    for (std::size_t j = 0; i + j < n; ++j) {
      own_gate[k * lanes + j] = gate[k * n + i + j];
      own_density[k * lanes + j] = density[k * n + i + j];
    }
  PosteriorBlock(own_gate, own_density, lanes, columns, own, last);
  for (std::size_t j = 0; i + j < n; ++j) {
    log_likelihood[i + j] = last[j];
    for (std::size_t k = 0; k < columns; ++k) {
      gate[k * n + i + j] = own_gate[k * lanes + j];
      responsibility[k * n + i + j] = own[k * lanes + j];
    }
  }
}

void WeightedMoments(const double* z, const double* w, std::size_t n, double& weight, double& mean,
                     double& squares) {
  const D d;
  const std::size_t lanes = hn::Lanes(d), whole = n / lanes * lanes;
  auto weights = hn::Zero(d), sums = hn::Zero(d), off = hn::Zero(d);
  for (std::size_t i = 0; i < whole; i += lanes) {
    const auto v = hn::LoadU(d, w + i);
    weights = hn::Add(weights, v);
    sums = hn::MulAdd(v, hn::LoadU(d, z + i), sums);
  }
  weight = hn::GetLane(hn::SumOfLanes(d, weights));
  double sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (std::size_t i = whole; i < n; ++i) weight += w[i], sum += w[i] * z[i];
  mean = sum / weight;
  const auto centre = hn::Set(d, mean);
  for (std::size_t i = 0; i < whole; i += lanes) {
    const auto gap = hn::Sub(hn::LoadU(d, z + i), centre);
    off = hn::MulAdd(hn::Mul(hn::LoadU(d, w + i), gap), gap, off);
  }
  squares = hn::GetLane(hn::SumOfLanes(d, off));
  for (std::size_t i = whole; i < n; ++i) squares += w[i] * (z[i] - mean) * (z[i] - mean);
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(ExpInplace);
HWY_EXPORT(LogInplace);
HWY_EXPORT(Silu);
HWY_EXPORT(GaussianLogDensity);
HWY_EXPORT(Sum);
HWY_EXPORT(Multiply);
HWY_EXPORT(Standardise);
HWY_EXPORT(WeightedResiduals);
HWY_EXPORT(WeightedMoments);
HWY_EXPORT(SoftmaxRows);
HWY_EXPORT(PosteriorRows);

void exp_inplace(double* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(ExpInplace)(x, n); }
void silu(double* z, double* slope, std::size_t n) { HWY_DYNAMIC_DISPATCH(Silu)(z, slope, n); }
void log_inplace(double* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(LogInplace)(x, n); }
void gaussian_log_density(const double* y, const double* m, double inverse, double constant, double* out,
                          std::size_t n) {
  HWY_DYNAMIC_DISPATCH(GaussianLogDensity)(y, m, inverse, constant, out, n);
}
double sum(const double* x, std::size_t n) { return HWY_DYNAMIC_DISPATCH(Sum)(x, n); }
void multiply(double* x, const double* w, std::size_t n) { HWY_DYNAMIC_DISPATCH(Multiply)(x, w, n); }
void standardise(const double* x, std::size_t n, double center, double scale, double most, double* out) {
  HWY_DYNAMIC_DISPATCH(Standardise)(x, n, center, scale, most, out);
}
void weighted_residuals(const double* y, const double* m, const double* r, std::size_t n, double* e,
                        double& weight, double& squares) {
  HWY_DYNAMIC_DISPATCH(WeightedResiduals)(y, m, r, n, e, weight, squares);
}
void posterior_rows(double* gate, const double* log_density, std::size_t n, std::size_t columns,
                    double* responsibility, double* log_likelihood) {
  HWY_DYNAMIC_DISPATCH(PosteriorRows)(gate, log_density, n, columns, responsibility, log_likelihood);
}
void weighted_moments(const double* z, const double* w, std::size_t n, double& weight, double& mean,
                      double& squares) {
  HWY_DYNAMIC_DISPATCH(WeightedMoments)(z, w, n, weight, mean, squares);
}
void softmax_rows(const double* log_joint, std::size_t n, std::size_t columns, double* responsibility,
                  double* lse) {
  HWY_DYNAMIC_DISPATCH(SoftmaxRows)(log_joint, n, columns, responsibility, lse);
}

}  // namespace moekit::simd
#endif
