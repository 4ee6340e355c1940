#pragma once
#include <cstddef>

namespace moekit::simd {

/// Lowers `least` and raises `most` to the numbers among x; NaN is none.
void extremes(const double* x, std::size_t n, double& least, double& most);

/// Sums over the numbers among x (NaN is none) of weight w[i] (null: 1) times a power of
/// z = (x - centre) / half - mean.
struct ScaledSums {
  double weight = 0, first = 0, second = 0;
};
ScaledSums scaled_sums(const double* x, const double* w, std::size_t n, double centre, double half,
                       double mean);

}  // namespace moekit::simd
