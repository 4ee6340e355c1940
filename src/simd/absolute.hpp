#pragma once
#include <cstddef>

namespace moekit::simd {

/// One component of a mixture on the line, column by column: weight, mean, variance; n of each, and behind
/// them kAbsolutePadding more that may be written to.
struct NormalColumns {
  double* weight;
  double* mean;
  double* variance;
  std::size_t n;
};
inline constexpr std::size_t kAbsolutePadding = 64;

/// out[k] = E|X_k| of X_k ~ N(mean[k], variance[k]); n numbers and the padding.
void mean_absolute(const NormalColumns& of, double* out);
/// sum_{i < j} w_i w_j E|X_i - X_j| of independent X.
double mean_absolute_differences(const NormalColumns& of);

}  // namespace moekit::simd
