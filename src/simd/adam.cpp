#include "simd/adam.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/adam.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE void Update(D d, const AdamStep& s, const double* gradient, double* first, double* second,
                       double* value) {
  const auto g = hn::Mul(hn::Set(d, s.scale), hn::LoadU(d, gradient));
  const auto m =
      hn::MulAdd(hn::Set(d, s.momentum), hn::LoadU(d, first), hn::Mul(hn::Set(d, 1 - s.momentum), g));
  const auto v = hn::MulAdd(hn::Set(d, s.squares), hn::LoadU(d, second),
                            hn::Mul(hn::Set(d, 1 - s.squares), hn::Mul(g, g)));
  const auto size = hn::Add(hn::Sqrt(hn::Div(v, hn::Set(d, s.seen))), hn::Set(d, s.small));
  const auto now = hn::LoadU(d, value);
  const auto kept = hn::NegMulAdd(hn::Set(d, s.decay), now, now);
  hn::StoreU(m, d, first);
  hn::StoreU(v, d, second);
  hn::StoreU(hn::NegMulAdd(hn::Set(d, s.rate), hn::Div(m, size), kept), d, value);
}

void Adam(const AdamStep& s, const double* gradient, double* first, double* second, double* value,
          std::size_t n) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> one;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) Update(d, s, gradient + i, first + i, second + i, value + i);
  for (; i < n; ++i) Update(one, s, gradient + i, first + i, second + i, value + i);
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Adam);

void adam(const AdamStep& step, const double* gradient, double* first, double* second, double* value,
          std::size_t n) {
  HWY_DYNAMIC_DISPATCH(Adam)(step, gradient, first, second, value, n);
}

}  // namespace moekit::simd
#endif
