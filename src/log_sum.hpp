#pragma once
#include <cmath>
#include <limits>

namespace moekit {

/// ln(e^a + e^b + ...) of terms that come one by one; nothing overflows. A term may be minus infinity.
class LogSum {
 public:
  void add(double term) {
    if (term > most_) {
      sum_ = sum_ * std::exp(most_ - term) + 1;
      most_ = term;
    } else if (term != -std::numeric_limits<double>::infinity()) {
      sum_ += std::exp(term - most_);
    }
  }
  /// Minus infinity without any term.
  double value() const { return most_ + std::log(sum_); }

 private:
  double most_ = -std::numeric_limits<double>::infinity(), sum_ = 0;
};

}  // namespace moekit
