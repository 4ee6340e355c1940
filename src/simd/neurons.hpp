#pragma once
#include <cstddef>
#include <cstdint>

namespace moekit::simd {

/// Sum of a[i] b[i], in an order that n alone decides.
float dot(const float* a, const float* b, std::size_t n);
/// y[i] += g x[i].
void add_scaled(const float* x, std::size_t n, float g, float* y);
void add_scaled(const float* x, std::size_t n, double g, double* y);
/// value[i] = kept value[i] + rate g[i].
void decay_and_add(float kept, float rate, const float* g, std::size_t n, float* value);

/// Groups of scores whose maxima shortlist() compares.
inline constexpr std::size_t kScoreGroups = 64;
/// Scores that can be among the k largest, with their indexes, rising: those not below the k-th largest of
/// the maxima of kScoreGroups interleaved groups. n: a multiple of kScoreGroups; k <= kScoreGroups; `value`
/// and `index` have room for n + 16. NaN is never listed. Returns how many there are: at least k, but for
/// NaN.
std::size_t shortlist(const float* scores, std::size_t n, std::size_t k, float* value, std::uint32_t* index);

/// rank[i]: how many come before i by falling score, equal ones by rising tie. `score` and `tie` have room
/// for n + 8 values. For few values: the time grows as n^2.
void ranks(const double* score, const double* tie, std::size_t n, std::uint32_t* rank);

}  // namespace moekit::simd
