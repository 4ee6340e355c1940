#pragma once
#include "moekit/model.hpp"

namespace moekit {

/// Predictions for one block, in the units of the target. n rows, K experts, C classes.
struct Prediction {
  vec mean, sd;  ///< n; regression and counts
  /// n; the two parts of sd: noise of the experts, disagreement between them; sd^2 = within^2 + between^2.
  /// Kept as standard deviations because squares in the target's units may overflow.
  vec within, between;
  mat probability;   ///< n x C; classification
  arma::uvec label;  ///< n; most probable class
  mat gate;          ///< n x K, of the first member
  mat gate_before;   ///< n x K, before its routing; empty where every expert answers
  arma::umat pick;   ///< n x picks, of the first member: who answers, 0-based, by falling weight; routed only
  mat pick_weight;   ///< n x picks; 0 behind the last pick of a row
  arma::uvec expert;                 ///< n; largest gate weight, 0-based
  mat component_mean, component_sd;  ///< n x K, of the first member
  /// n; empty for one member: how much the members of an ensemble disagree. The standard deviation of their
  /// means; of classes the root of the summed variances of their probabilities.
  vec member_spread;
  bool discrete = false;    ///< the target is a count: F has steps
  bool has_target = false;  ///< what follows is filled only with a target in the block; NaN where missing
  vec log_density;          ///< n; ln density in the units of the target, or ln probability of its class
  mat responsibility;       ///< n x K
  vec cumulative;  ///< n; F(y): probability that the target is at most what it is (regression, count)
  /// Of several targets: each by itself, from its marginal (targets.hpp). Then mean, sd and so on above are
  /// those of the first; log_density and responsibility are joint.
  std::vector<Prediction> targets;

  /// The column of `gate` that is largest. A network of neurons behind product keys is one region, whatever
  /// neuron answers most.
  uword region(uword row) const { return gate.n_cols > 1 ? expert[row] : 0; }
};

/// Scores a block. Never NaN for rows that a reader lets pass.
Prediction predict(const Model& model, const Block& block);

/// Quantiles of the predictive mixture in the units of the target, by a safeguarded Newton on its
/// distribution function; of a count the least whole number that reaches the level. levels: q values in
/// (0, 1). Returns n x q. Errors: Errc::usage for a level outside, and for classes.
mat quantiles(const Model& model, const Block& block, const vec& levels);

/// F(at_i | x_i) of the predictive mixture; at: n, units of the target. Errors: Errc::usage for classes.
vec cumulative(const Model& model, const Block& block, const vec& at);

}  // namespace moekit
