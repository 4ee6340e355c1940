#pragma once
#include "moekit/predict.hpp"

namespace moekit {

/// The target's own units and the scale on which experts work (standardised for regression, else the same).
struct Unit {
  double mean = 0, sd = 1;
  double standard(double y) const { return (y - mean) / sd; }
  double user(double z) const { return mean + sd * z; }
};
Unit target_unit(const Target& target);

/// The predictive mixture of every row: all experts of all members side by side, standardised target.
/// n x (sum of K); the weights of a row add up to 1.
struct Components {
  mat weight, mean, sd;
};
Components components(const Model& model, const Block& block);

/// Mean of each row's mixture, and the two parts of its standard deviation: noise of the experts, spread
/// between their means; n each.
struct Moments {
  vec mean, within, between;
};
Moments moments(const mat& weight, const mat& mean, const mat& sd);

/// Are the components normal distributions (then closed forms hold)?
bool gaussian(const Model& model);
/// Is the target a count, so that its distribution has steps?
bool discrete(const Model& model);

/// Density (of a count: probability) of the mixture at a value for each row; at: n, standardised target.
vec standard_density(const Model& model, const Block& inputs, const vec& at);

/// Probability of at most `at` (n, standardised target) under the mixture.
vec standard_cumulative(const Model& model, const Block& block, const vec& at);

}  // namespace moekit
