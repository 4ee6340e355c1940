#include "simd/statistics.hpp"

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/statistics.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<double>;

void Extremes(const double* x, std::size_t n, double& least, double& most) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  auto low = hn::Set(d, least), high = hn::Set(d, most);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    low = hn::IfThenElse(hn::Lt(v, low), v, low);  // comparisons with NaN are false
    high = hn::IfThenElse(hn::Gt(v, high), v, high);
  }
  least = hn::GetLane(hn::MinOfLanes(d, low));
  most = hn::GetLane(hn::MaxOfLanes(d, high));
  for (; i < n; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
}

ScaledSums Scaled(const double* x, const double* w, std::size_t n, double centre, double half, double mean) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(d, 1.0), c = hn::Set(d, centre), h = hn::Set(d, half), m = hn::Set(d, mean);
  auto weight = hn::Zero(d), first = hn::Zero(d), second = hn::Zero(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    const auto there = hn::Eq(v, v);
    const auto z = hn::IfThenElseZero(there, hn::Sub(hn::Div(hn::Sub(v, c), h), m));
    const auto own = w ? hn::LoadU(d, w + i) : one;
    const auto wz = hn::Mul(own, z);
    weight = hn::Add(weight, hn::IfThenElseZero(there, own));
    first = hn::Add(first, wz);
    second = hn::MulAdd(wz, z, second);
  }
  ScaledSums sums{hn::GetLane(hn::SumOfLanes(d, weight)), hn::GetLane(hn::SumOfLanes(d, first)),
                  hn::GetLane(hn::SumOfLanes(d, second))};
  for (; i < n; ++i) {
    if (!(x[i] == x[i])) continue;
    const double own = w ? w[i] : 1.0, z = (x[i] - centre) / half - mean;
    sums.weight += own;
    sums.first += own * z;
    sums.second += own * z * z;
  }
  return sums;
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Extremes);
HWY_EXPORT(Scaled);

void extremes(const double* x, std::size_t n, double& least, double& most) {
  HWY_DYNAMIC_DISPATCH(Extremes)(x, n, least, most);
}

ScaledSums scaled_sums(const double* x, const double* w, std::size_t n, double centre, double half,
                       double mean) {
  return HWY_DYNAMIC_DISPATCH(Scaled)(x, w, n, centre, half, mean);
}

}  // namespace moekit::simd
#endif
