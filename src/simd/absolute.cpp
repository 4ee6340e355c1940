#include "simd/absolute.hpp"

#include <array>
#include <cmath>
#include <numbers>

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
  const auto middle = hn::Mul(hn::Add(hn::ConvertTo(d, place), hn::Set(d, 0.5)),
                              hn::Set(d, 1 / ExcessTable::kPerUnit));
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

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Absolute);
HWY_EXPORT(Differences);

void mean_absolute(const NormalColumns& of, double* out) { HWY_DYNAMIC_DISPATCH(Absolute)(of, out); }
double mean_absolute_differences(const NormalColumns& of) { return HWY_DYNAMIC_DISPATCH(Differences)(of); }

}  // namespace moekit::simd
#endif
