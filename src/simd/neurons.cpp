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
  constexpr std::size_t kVectors = kScoreGroups / kFloats;
  hn::Vec<F> own[kVectors];
  HWY_UNROLL(8)
  for (std::size_t v = 0; v < kVectors; ++v) own[v] = hn::LoadU(d, scores + v * kFloats);
  for (std::size_t i = kScoreGroups; i < n; i += kScoreGroups) {
    HWY_UNROLL(8)
    for (std::size_t v = 0; v < kVectors; ++v) {
      const auto score = hn::LoadU(d, scores + i + v * kFloats);
      own[v] = hn::IfThenElse(hn::Gt(score, own[v]), score, own[v]);
    }
  }
  HWY_ALIGN float most[kScoreGroups];
  hn::Vec<decltype(di)> above[kVectors];
  HWY_UNROLL(8)
  for (std::size_t v = 0; v < kVectors; ++v) {
    hn::Store(own[v], d, most + v * kFloats);
    above[v] = hn::Zero(di);
  }
  // The k-th largest is the largest that k of them reach.
  for (std::size_t j = 0; j < kScoreGroups; ++j) {
    const auto other = hn::Set(d, most[j]);
    HWY_UNROLL(8)
    for (std::size_t v = 0; v < kVectors; ++v)
      above[v] = hn::Sub(above[v], hn::BitCast(di, hn::VecFromMask(d, hn::Ge(other, own[v]))));
  }
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto reached = nothing;
  HWY_UNROLL(8)
  for (std::size_t v = 0; v < kVectors; ++v) {
    const auto enough = hn::Gt(above[v], hn::Set(di, static_cast<std::int32_t>(k) - 1));
    reached = hn::Max(reached, hn::IfThenElse(hn::RebindMask(d, enough), own[v], nothing));
  }
  const auto least = hn::MaxOfLanes(d, reached);
  // Without a branch, as where the listed ones lie cannot be guessed.
  std::size_t count = 0;
  for (std::size_t i = 0; i < n; i += kFloats) {
    const auto listed = hn::RebindMask(du, hn::Ge(hn::LoadU(d, scores + i), least));
    hn::StoreU(hn::Compress(hn::Iota(du, static_cast<std::uint32_t>(i)), listed), du, index + count);
    count += hn::CountTrue(du, listed);
  }
  for (std::size_t i = 0; i < count; ++i) value[i] = scores[index[i]];
  return count;
}

/// rank[i]: of how many j the mask before(i, j) says that value j comes before value i (and those behind it,
/// a lane each). Returns the sum of the ranks.
template <class Before>
HWY_INLINE std::size_t RanksBy(std::size_t n, const Before& before, std::uint32_t* rank) {
  const hn::CappedTag<double, 8> d;
  const hn::RebindToSigned<decltype(d)> di;
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN std::int64_t counted[8];
  std::size_t sum = 0;
  for (std::size_t i = 0; i < n; i += lanes) {
    auto count = hn::Zero(di);
    for (std::size_t j = 0; j < n; ++j)
      count = hn::Sub(count, hn::VecFromMask(di, hn::RebindMask(di, before(i, j))));
    hn::Store(count, di, counted);
    for (std::size_t l = 0; l < std::min(lanes, n - i); ++l) {
      rank[i + l] = static_cast<std::uint32_t>(counted[l]);
      sum += rank[i + l];
    }
  }
  return sum;
}

void Ranks(const double* score, const double* tie, std::size_t n, std::uint32_t* rank) {
  const hn::CappedTag<double, 8> d;
  const auto larger = [&](std::size_t i, std::size_t j) {
    return hn::Gt(hn::Set(d, score[j]), hn::LoadU(d, score + i));
  };
  // Where no two scores are equal the ranks are 0 .. n - 1.
  if (2 * RanksBy(n, larger, rank) == n * (n - 1)) return;
  RanksBy(
      n,
      [&](std::size_t i, std::size_t j) {
        const auto equal = hn::Eq(hn::Set(d, score[j]), hn::LoadU(d, score + i));
        return hn::Or(larger(i, j), hn::And(equal, hn::Lt(hn::Set(d, tie[j]), hn::LoadU(d, tie + i))));
      },
      rank);
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
