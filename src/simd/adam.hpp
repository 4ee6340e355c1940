#pragma once
#include <cstddef>

namespace moekit::simd {

/// Factors of one update of Adam (Kingma & Ba 2015), the same for all parameters.
struct AdamStep {
  double scale = 1;  ///< of the gradient as it stands; negative where it leads up
  double momentum = 0.9, squares = 0.999;
  double rate = 0;  ///< learning rate over 1 - momentum^t
  double seen = 1;  ///< 1 - squares^t
  double small = 1e-8;
  double decay = 0;  ///< share of the value that is taken away
};

/// first, second: moments, updated; value -= decay value + rate first / (sqrt(second / seen) + small).
void adam(const AdamStep& step, const double* gradient, double* first, double* second, double* value,
          std::size_t n);
void adam(const AdamStep& step, const float* gradient, float* first, float* second, float* value,
          std::size_t n);

}  // namespace moekit::simd
