#pragma once
#include "components.hpp"

namespace moekit {

/// ln(P(a < Z < b)) of a standard normal Z, without cancellation and finite however far out.
double log_normal_interval(double a, double b);

/// Scores of each row against the whole predictive mixture (regression and counts): n each.
struct RowScores {
  vec crps;      ///< units of the standardised target
  vec log_grid;  ///< ln((F(y + h/2) - F(y - h/2)) / h), units of the target; empty without a step
};
/// Rows without a target get 0.
RowScores row_scores(const Model& model, const Block& block);
/// The same; saves the components where the prediction of the same rows tells them.
RowScores row_scores(const Model& model, const Block& block, const Prediction& prediction);

/// CRPS of mixtures of normal distributions, one a row; y: n.
vec gaussian_crps(const Components& c, const vec& y);

}  // namespace moekit
