#include "simd/absolute.hpp"

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/absolute.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef MOEKIT_SIMD_ABSOLUTE_TABLE
#define MOEKIT_SIMD_ABSOLUTE_TABLE
namespace moekit::simd {

/// E|N(m, s^2)| = |m| + s g(|m| / s) with g(z) = 2 (phi(z) - z Q(z)), Q the upper tail. The derivatives of g
/// are -2 Q and then those of 2 phi, so three numbers a place are enough for a Taylor series around it: with
/// seven terms, and places at most 1/64 away, it leaves at most 64^-7 / 7! max|g^(7)| < 3e-16.
struct ExcessTable {
  static constexpr double kPerUnit = 32, kEnd = 9;  // g(9) < 1e-19
  static constexpr std::size_t kPlaces = 9 * 32 + 1;
  std::array<double, kPlaces> excess, tail, density;
  ExcessTable() {
    for (std::size_t i = 0; i < kPlaces; ++i) {
      const double z = (static_cast<double>(i) + 0.5) / kPerUnit;
      density[i] = 2 * std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi);
      tail[i] = std::erfc(z / std::numbers::sqrt2);
      excess[i] = density[i] - z * tail[i];
    }
  }
};
inline const ExcessTable kExcess;

}  // namespace moekit::simd
#endif

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<double>;

/// E|N(m, v)|.
template <class V>
V MeanAbsolute(D d, V m, V v) {
  const hn::RebindToSigned<D> integers;
  const auto a = hn::Abs(m), s = hn::Sqrt(v);
  // Without spread z is large, or 0 / 0 made 0 by the floor: s times what follows is 0 either way.
  const auto z = hn::Min(hn::Div(a, hn::Max(s, hn::Set(d, 1e-300))), hn::Set(d, ExcessTable::kEnd));
  const auto place = hn::ConvertTo(integers, hn::Mul(z, hn::Set(d, ExcessTable::kPerUnit)));
  const auto middle =
      hn::Mul(hn::Add(hn::ConvertTo(d, place), hn::Set(d, 0.5)), hn::Set(d, 1 / ExcessTable::kPerUnit));
  const auto t = hn::Sub(z, middle), q = hn::Mul(middle, middle);
  const auto excess = hn::GatherIndex(d, kExcess.excess.data(), place);
  const auto tail = hn::GatherIndex(d, kExcess.tail.data(), place);
  const auto density = hn::GatherIndex(d, kExcess.density.data(), place);
  // phi(z + t) / phi(z) by Hermite polynomials, integrated twice.
  const auto c6 = hn::Mul(hn::MulAdd(q, hn::Sub(q, hn::Set(d, 6)), hn::Set(d, 3)), hn::Set(d, 1.0 / 720));
  const auto c5 = hn::Mul(hn::Mul(middle, hn::Sub(hn::Set(d, 3), q)), hn::Set(d, 1.0 / 120));
  const auto c4 = hn::Mul(hn::Sub(q, hn::Set(d, 1)), hn::Set(d, 1.0 / 24));
  const auto c3 = hn::Mul(middle, hn::Set(d, -1.0 / 6));
  auto sum = hn::MulAdd(c6, t, c5);
  sum = hn::MulAdd(sum, t, c4);
  sum = hn::MulAdd(sum, t, c3);
  sum = hn::MulAdd(sum, t, hn::Set(d, 0.5));
  const auto g = hn::MulAdd(hn::Mul(density, sum), hn::Mul(t, t), hn::NegMulAdd(tail, t, excess));
  return hn::MulAdd(s, hn::Max(g, hn::Zero(d)), a);
}

/// Components that weigh nothing, so that loops need no last, shorter part.
void Pad(const NormalColumns& of, std::size_t lanes) {
  for (std::size_t i = of.n; i < of.n + lanes; ++i) of.weight[i] = of.mean[i] = 0, of.variance[i] = 1;
}

void Absolute(const NormalColumns& of, double* out) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  Pad(of, lanes);
  for (std::size_t i = 0; i < of.n; i += lanes)
    hn::StoreU(MeanAbsolute(d, hn::LoadU(d, of.mean + i), hn::LoadU(d, of.variance + i)), d, out + i);
}

double Differences(const NormalColumns& of) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  Pad(of, lanes);
  auto total = hn::Zero(d);
  for (std::size_t i = 0; i + 1 < of.n; ++i) {
    const auto mean = hn::Set(d, of.mean[i]), variance = hn::Set(d, of.variance[i]);
    auto sum = hn::Zero(d);
    for (std::size_t j = i + 1; j < of.n; j += lanes)
      sum = hn::MulAdd(hn::LoadU(d, of.weight + j),
                       MeanAbsolute(d, hn::Sub(hn::LoadU(d, of.mean + j), mean),
                                    hn::Add(hn::LoadU(d, of.variance + j), variance)),
                       sum);
    total = hn::MulAdd(sum, hn::Set(d, of.weight[i]), total);
  }
  return hn::GetLane(hn::SumOfLanes(d, total));
}

/// As many rows as there are lanes; columns are `stride` apart.
void CrpsRows(const double* y, const double* weight, const double* mean, const double* sd, std::size_t stride,
              std::size_t components, double* out) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN double means[kMostTogether * HWY_MAX_BYTES / sizeof(double)];
  HWY_ALIGN double variances[kMostTogether * HWY_MAX_BYTES / sizeof(double)];
  const auto target = hn::LoadU(d, y), zero = hn::Zero(d);
  auto scale = zero, bad = zero;
  for (std::size_t k = 0; k < components; ++k) {
    const auto used = hn::Gt(hn::LoadU(d, weight + k * stride), zero);
    const auto m = hn::IfThenElseZero(used, hn::Sub(hn::LoadU(d, mean + k * stride), target));
    const auto s = hn::IfThenElseZero(used, hn::LoadU(d, sd + k * stride));
    // v - v is not 0 for what is not finite.
    const auto odd = hn::Or(hn::Ne(hn::Sub(m, m), zero), hn::Ne(hn::Sub(s, s), zero));
    bad = hn::IfThenElse(odd, hn::Set(d, 1), bad);
    hn::Store(hn::IfThenElse(odd, zero, m), d, means + k * lanes);
    hn::Store(hn::IfThenElse(odd, zero, s), d, variances + k * lanes);
    scale = hn::Max(scale, hn::IfThenElse(odd, zero, hn::Max(hn::Abs(m), s)));
  }
  // In units of the largest distance, so that no square overflows.
  const auto unit = hn::IfThenElse(hn::Gt(scale, zero), scale, hn::Set(d, 1));
  auto error = zero, spread = zero;
  for (std::size_t k = 0; k < components; ++k) {
    const auto w = hn::Max(hn::LoadU(d, weight + k * stride), zero);
    const auto m = hn::Div(hn::Load(d, means + k * lanes), unit);
    const auto s = hn::Div(hn::Load(d, variances + k * lanes), unit), v = hn::Mul(s, s);
    hn::Store(m, d, means + k * lanes);
    hn::Store(v, d, variances + k * lanes);
    error = hn::MulAdd(w, MeanAbsolute(d, m, v), error);
    auto others = hn::Mul(w, hn::Mul(s, hn::Set(d, 0.56418958354775628695)));  // 1 / sqrt(pi)
    for (std::size_t j = 0; j < k; ++j)
      others = hn::MulAdd(hn::Max(hn::LoadU(d, weight + j * stride), zero),
                          MeanAbsolute(d, hn::Sub(hn::Load(d, means + j * lanes), m),
                                       hn::Add(hn::Load(d, variances + j * lanes), v)),
                          others);
    spread = hn::MulAdd(w, others, spread);
  }
  const auto score = hn::Mul(scale, hn::Max(hn::Sub(error, spread), zero));
  hn::StoreU(hn::IfThenElse(hn::Gt(bad, zero), hn::NaN(d), score), d, out);
}

void MixtureCrps(const double* y, const double* weight, const double* mean, const double* sd, std::size_t n,
                 std::size_t components, double* out) {
  const std::size_t lanes = hn::Lanes(D());
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) CrpsRows(y + i, weight + i, mean + i, sd + i, n, components, out + i);
  if (i == n) return;
  // The last rows through padded copies.
  std::vector<double> copy((3 * components + 2) * lanes, 0.0);
  double *of_y = copy.data(), *w = of_y + lanes, *m = w + components * lanes, *s = m + components * lanes,
         *last = s + components * lanes;
  for (std::size_t j = 0; i + j < n; ++j) {
    of_y[j] = y[i + j];
    for (std::size_t k = 0; k < components; ++k) {
      w[k * lanes + j] = weight[k * n + i + j];
      m[k * lanes + j] = mean[k * n + i + j];
      s[k * lanes + j] = sd[k * n + i + j];
    }
  }
  CrpsRows(of_y, w, m, s, lanes, components, last);
  for (std::size_t j = 0; i + j < n; ++j) out[i + j] = last[j];
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Absolute);
HWY_EXPORT(Differences);
HWY_EXPORT(MixtureCrps);

void mean_absolute(const NormalColumns& of, double* out) { HWY_DYNAMIC_DISPATCH(Absolute)(of, out); }
double mean_absolute_differences(const NormalColumns& of) { return HWY_DYNAMIC_DISPATCH(Differences)(of); }
void mixture_crps(const double* y, const double* weight, const double* mean, const double* sd, std::size_t n,
                  std::size_t components, double* out) {
  HWY_DYNAMIC_DISPATCH(MixtureCrps)(y, weight, mean, sd, n, components, out);
}

}  // namespace moekit::simd
#endif
