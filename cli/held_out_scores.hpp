#pragma once
#include <vector>

#include "moekit/predict.hpp"

namespace moekit::cli {

/// (target - mean)^2 of a row; of several targets the mean, each on its own scale.
double squared_error(const Schema& schema, const Block& block, const Prediction& p, uword row);

/// What was predicted for every row while it was held out; filled fold by fold.
struct HeldOutScores {
  explicit HeldOutScores(std::size_t rows) : nll(rows), loss(rows), weight(rows, 1.0) {}
  std::vector<double> nll;   ///< -ln density, or -ln probability of the true class
  std::vector<double> loss;  ///< squared error, or 1 for a wrong class and 0 for the right one
  std::vector<double> weight;

  /// Predicts the rows of a fold. `row`: where each row of `held` goes.
  void add(const Model& model, const Source& held, const std::vector<std::uint64_t>& row,
           const Compute& compute);
};

/// A weighted mean with its standard error. Rows of one cluster (a group of --group) may resemble each other,
/// so the error is taken over the clusters' sums; without groups every row is its own cluster.
struct Estimate {
  double value = 0, error = 0;
};
Estimate weighted_mean(const std::vector<double>& values, const std::vector<double>& weights,
                       const std::vector<std::uint32_t>& cluster);
/// The mean of a - b, row by row: much more certain than the difference of two means.
Estimate paired_difference(const std::vector<double>& a, const std::vector<double>& b,
                           const std::vector<double>& weights, const std::vector<std::uint32_t>& cluster);
/// Square root of a mean, by the delta method.
Estimate root(const Estimate& mean);

}  // namespace moekit::cli
