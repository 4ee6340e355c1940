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

/// out[i] = E|X_i - y[i]| - E|X_i - X'_i| / 2 of n mixtures of few normal distributions, several at once.
/// weight, mean, sd: n x components column by column; what has no weight is not looked at.
void mixture_crps(const double* y, const double* weight, const double* mean, const double* sd, std::size_t n,
                  std::size_t components, double* out);
inline constexpr std::size_t kMostTogether = 16;

}  // namespace moekit::simd
