#pragma once
#include "moekit/conformal.hpp"

namespace moekit {

/// The scores' quantiles that a model keeps. Errors: Errc::data without a row.
Conformal conformal_of(std::vector<double> scores, const std::vector<double>& weights);

/// Levels of the two quantiles between which an interval lies that reaches up to a score below 1.
struct TwoLevels {
  double lower = 0, upper = 1;
};
TwoLevels levels_of_score(double score, bool discrete);

}  // namespace moekit
