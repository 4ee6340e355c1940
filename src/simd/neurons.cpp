#include "simd/neurons.hpp"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/neurons.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F = hn::CappedTag<float, 16>;
using One = hn::CappedTag<float, 1>;

constexpr std::size_t kFloats = hn::MaxLanes(F());

float Dot(const float* a, const float* b, std::size_t n) {
  const F d;
  // Four sums, so that an addition need not wait for the last.
  hn::Vec<F> sum[4];
  HWY_UNROLL(4)
  for (std::size_t s = 0; s < 4; ++s) sum[s] = hn::Zero(d);
  std::size_t i = 0;
  for (; i + 4 * kFloats <= n; i += 4 * kFloats) {
    HWY_UNROLL(4)
    for (std::size_t s = 0; s < 4; ++s)
      sum[s] = hn::MulAdd(hn::LoadU(d, a + i + s * kFloats), hn::LoadU(d, b + i + s * kFloats), sum[s]);
  }
  for (; i + kFloats <= n; i += kFloats)
    sum[0] = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum[0]);
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]))));
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

template <class D>
HWY_INLINE void AddScaledAt(D d, const float* x, float g, float* y) {
  hn::StoreU(hn::MulAdd(hn::Set(d, g), hn::LoadU(d, x), hn::LoadU(d, y)), d, y);
}

void AddScaled(const float* x, std::size_t n, float g, float* y) {
  std::size_t i = 0;
  for (; i + kFloats <= n; i += kFloats) AddScaledAt(F(), x + i, g, y + i);
  for (; i < n; ++i) AddScaledAt(One(), x + i, g, y + i);
}

void AddScaledWide(const float* x, std::size_t n, double g, double* y) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> half;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::MulAdd(hn::Set(d, g), hn::PromoteTo(d, hn::LoadU(half, x + i)), hn::LoadU(d, y + i)), d,
               y + i);
  const hn::CappedTag<double, 1> one;
  for (; i < n; ++i)
    hn::StoreU(hn::MulAdd(hn::Set(one, g), hn::Set(one, static_cast<double>(x[i])), hn::LoadU(one, y + i)),
               one, y + i);
}

template <class D>
HWY_INLINE void DecayAndAddAt(D d, float kept, float rate, const float* g, float* value) {
  const auto added = hn::Mul(hn::Set(d, rate), hn::LoadU(d, g));
  hn::StoreU(hn::MulAdd(hn::Set(d, kept), hn::LoadU(d, value), added), d, value);
}

void DecayAndAdd(float kept, float rate, const float* g, std::size_t n, float* value) {
  std::size_t i = 0;
  for (; i + kFloats <= n; i += kFloats) DecayAndAddAt(F(), kept, rate, g + i, value + i);
  for (; i < n; ++i) DecayAndAddAt(One(), kept, rate, g + i, value + i);
}

std::size_t Shortlist(const float* scores, std::size_t n, std::size_t k, float* value, std::uint32_t* index) {
  const F d;
  const hn::RebindToSigned<F> di;
  const hn::RebindToUnsigned<F> du;
  HWY_ALIGN float most[kScoreGroups];
  for (std::size_t c = 0; c < kScoreGroups; c += kFloats) {
    auto highest = hn::LoadU(d, scores + c);
    for (std::size_t i = kScoreGroups; i < n; i += kScoreGroups) {
      const auto score = hn::LoadU(d, scores + i + c);
      highest = hn::IfThenElse(hn::Gt(score, highest), score, highest);
    }
    hn::Store(highest, d, most + c);
  }
  // The k-th largest is the largest that k of them reach.
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto reached = nothing;
  for (std::size_t c = 0; c < kScoreGroups; c += kFloats) {
    const auto own = hn::Load(d, most + c);
    auto above = hn::Zero(di);
    for (std::size_t j = 0; j < kScoreGroups; ++j)
      above = hn::Sub(above, hn::BitCast(di, hn::VecFromMask(d, hn::Ge(hn::Set(d, most[j]), own))));
    const auto enough = hn::Gt(above, hn::Set(di, static_cast<std::int32_t>(k) - 1));
    reached = hn::Max(reached, hn::IfThenElse(hn::RebindMask(d, enough), own, nothing));
  }
  const auto least = hn::MaxOfLanes(d, reached);
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; i += kFloats) {
    const auto score = hn::LoadU(d, scores + i);
    const auto listed = hn::Ge(score, least);
    if (hn::AllFalse(d, listed)) continue;
    hn::CompressBlendedStore(hn::Iota(du, static_cast<std::uint32_t>(i)), hn::RebindMask(du, listed), du,
                             index + count);
    count += hn::CompressBlendedStore(score, listed, d, value + count);
  }
  return count;
}

void Ranks(const double* score, const double* tie, std::size_t n, std::uint32_t* rank) {
  const hn::CappedTag<double, 8> d;
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN double before[8];
  const auto one = hn::Set(d, 1.0);
  for (std::size_t i = 0; i < n; i += lanes) {
    const auto own = hn::LoadU(d, score + i), own_tie = hn::LoadU(d, tie + i);
    auto count = hn::Zero(d);
    for (std::size_t j = 0; j < n; ++j) {
      const auto other = hn::Set(d, score[j]);
      const auto first =
          hn::Or(hn::Gt(other, own), hn::And(hn::Eq(other, own), hn::Lt(hn::Set(d, tie[j]), own_tie)));
      count = hn::Add(count, hn::IfThenElseZero(first, one));
    }
    hn::Store(count, d, before);
    for (std::size_t l = 0; l < std::min(lanes, n - i); ++l)
      rank[i + l] = static_cast<std::uint32_t>(before[l]);
  }
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Dot);
HWY_EXPORT(AddScaled);
HWY_EXPORT(AddScaledWide);
HWY_EXPORT(DecayAndAdd);
HWY_EXPORT(Shortlist);
HWY_EXPORT(Ranks);

float dot(const float* a, const float* b, std::size_t n) { return HWY_DYNAMIC_DISPATCH(Dot)(a, b, n); }
void add_scaled(const float* x, std::size_t n, float g, float* y) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(x, n, g, y);
}
void add_scaled(const float* x, std::size_t n, double g, double* y) {
  HWY_DYNAMIC_DISPATCH(AddScaledWide)(x, n, g, y);
}
void decay_and_add(float kept, float rate, const float* g, std::size_t n, float* value) {
  HWY_DYNAMIC_DISPATCH(DecayAndAdd)(kept, rate, g, n, value);
}
std::size_t shortlist(const float* scores, std::size_t n, std::size_t k, float* value, std::uint32_t* index) {
  return HWY_DYNAMIC_DISPATCH(Shortlist)(scores, n, k, value, index);
}
void ranks(const double* score, const double* tie, std::size_t n, std::uint32_t* rank) {
  HWY_DYNAMIC_DISPATCH(Ranks)(score, tie, n, rank);
}

}  // namespace moekit::simd
#endif
