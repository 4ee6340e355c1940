#include "simd/adam.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/adam.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D, class T>
HWY_INLINE void Update(D d, const AdamStep& s, const T* gradient, T* first, T* second, T* value) {
  const auto set = [d](double v) { return hn::Set(d, static_cast<T>(v)); };
  const auto g = hn::Mul(set(s.scale), hn::LoadU(d, gradient));
  const auto m = hn::MulAdd(set(s.momentum), hn::LoadU(d, first), hn::Mul(set(1 - s.momentum), g));
  const auto v = hn::MulAdd(set(s.squares), hn::LoadU(d, second), hn::Mul(set(1 - s.squares), hn::Mul(g, g)));
  const auto size = hn::Add(hn::Sqrt(hn::Mul(v, set(1 / s.seen))), set(s.small));
  const auto now = hn::LoadU(d, value);
  const auto kept = hn::NegMulAdd(set(s.decay), now, now);
  hn::StoreU(m, d, first);
  hn::StoreU(v, d, second);
  hn::StoreU(hn::NegMulAdd(set(s.rate), hn::Div(m, size), kept), d, value);
}

template <class T>
HWY_INLINE void UpdateAll(const AdamStep& s, const T* gradient, T* first, T* second, T* value,
                          std::size_t n) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) Update(d, s, gradient + i, first + i, second + i, value + i);
  for (; i < n; ++i) Update(one, s, gradient + i, first + i, second + i, value + i);
}

void Adam(const AdamStep& s, const double* gradient, double* first, double* second, double* value,
          std::size_t n) {
  UpdateAll(s, gradient, first, second, value, n);
}
void AdamF32(const AdamStep& s, const float* gradient, float* first, float* second, float* value,
             std::size_t n) {
  UpdateAll(s, gradient, first, second, value, n);
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Adam);
HWY_EXPORT(AdamF32);

void adam(const AdamStep& step, const double* gradient, double* first, double* second, double* value,
          std::size_t n) {
  HWY_DYNAMIC_DISPATCH(Adam)(step, gradient, first, second, value, n);
}
void adam(const AdamStep& step, const float* gradient, float* first, float* second, float* value,
          std::size_t n) {
  HWY_DYNAMIC_DISPATCH(AdamF32)(step, gradient, first, second, value, n);
}

}  // namespace moekit::simd
#endif
