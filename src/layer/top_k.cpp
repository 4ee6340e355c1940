#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "layer/kernels.hpp"

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layer/top_k.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::layer::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

constexpr std::size_t kLanes = hn::MaxLanes(D());

/// A value that at least k of n values reach, and few more: the k-th largest of the maxima of lanes, each of
/// which is another value. Minus infinity where that can't be said.
HWY_INLINE float ReachedByPicks(const float* values, std::size_t n, std::size_t k) {
  const D d;
  if (k > kLanes || n < 4 * kLanes) return -INFINITY;
  V most = hn::Set(d, -INFINITY);
  for (std::size_t i = 0; i + kLanes <= n; i += kLanes) {
    const V v = hn::LoadU(d, values + i);
    most = hn::IfThenElse(hn::Gt(v, most), v, most);  // passes NaN over
  }
  HWY_ALIGN float lane[kLanes];
  hn::Store(most, d, lane);
  float picked[kLanes];  // the k largest, falling
  std::fill_n(picked, k, -INFINITY);
  for (const float value : lane) {
    std::size_t at = k;
    for (; at > 0 && value > picked[at - 1]; --at)
      if (at < k) picked[at] = picked[at - 1];
    if (at < k) picked[at] = value;
  }
  return picked[k - 1];
}

void TopK(const float* logits, std::size_t n, std::size_t k, std::uint32_t* index) {
  const D d;
  std::size_t held = 0;
  const auto key = [&](std::size_t i) { return std::isnan(logits[i]) ? -INFINITY : logits[i]; };
  // Inserts behind all that are at least as large: the lower index wins a tie.
  const auto insert = [&](std::size_t i) {
    if (held == k && !(key(i) > key(index[k - 1]))) return;
    std::size_t at = held < k ? held++ : k - 1;
    for (; at > 0 && key(i) > key(index[at - 1]); --at) index[at] = index[at - 1];
    index[at] = static_cast<std::uint32_t>(i);
  };
  const float reached = ReachedByPicks(logits, n, k);
  if (reached == -INFINITY) {
    for (std::size_t i = 0; i < n; ++i) insert(i);
    return;
  }
  const V least = hn::Set(d, reached);
  const auto mask = [&](std::size_t i) { return hn::Ge(hn::LoadU(d, logits + i), least); };
  const auto insert_these = [&](std::size_t first) {
    std::uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, mask(first), bytes);
    std::uint64_t bits;
    std::memcpy(&bits, bytes, sizeof bits);
    for (; bits; bits &= bits - 1) insert(first + static_cast<std::size_t>(std::countr_zero(bits)));
  };
  constexpr std::size_t kStretch = 4 * kLanes;
  std::size_t i = 0;
  for (; i + kStretch <= n; i += kStretch) {
    if (hn::AllFalse(
            d, hn::Or(hn::Or(mask(i), mask(i + kLanes)), hn::Or(mask(i + 2 * kLanes), mask(i + 3 * kLanes)))))
      continue;
    for (std::size_t v = 0; v < 4; ++v) insert_these(i + v * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) insert_these(i);
  for (; i < n; ++i)
    if (logits[i] >= reached) insert(i);
}

}  // namespace moekit::layer::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::layer {

HWY_EXPORT(TopK);

void top_k(const float* logits, std::size_t n, std::size_t k, std::uint32_t* index) {
  if (k) HWY_DYNAMIC_DISPATCH(TopK)(logits, n, k, index);
}

}  // namespace moekit::layer
#endif
