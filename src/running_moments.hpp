#pragma once
#include <cmath>

namespace moekit {

/// Weighted mean and sum of squared deviations, without cancellation (West 1979; merging: Chan, Golub,
/// LeVeque 1983).
struct RunningMoments {
  double weight = 0, mean = 0, squares = 0;

  void add(double x, double w) {
    if (w > 0) merge({w, x, 0});
  }
  void merge(const RunningMoments& other) {
    if (!(other.weight > 0)) return;
    const double total = weight + other.weight, difference = other.mean - mean;
    mean += difference * (other.weight / total);
    squares += other.squares + difference * difference * weight * (other.weight / total);
    weight = total;
  }
  double sd() const { return weight > 0 ? std::sqrt(squares / weight) : 0.0; }
};

}  // namespace moekit
