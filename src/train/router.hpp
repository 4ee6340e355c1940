#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "moekit/gradient.hpp"
#include "moekit/model.hpp"

namespace moekit::train {

/// Balances that were asked for, with `automatic` settled.
bool wants(const GradientOptions& options, Balance balance);

/// From the gate's scores to the experts' weights for the rows of one update, and the way back: noise, picks,
/// capacity, and the losses that keep experts busy. The objective is climbed, so losses count negative.
class Router {
 public:
  /// features: p of the gate. Noise follows from the seed and the number of calls of forward().
  Router(const GradientOptions& options, uword features, uword experts, std::uint64_t seed);

  /// Routes the rows of a batch, whose picks() it then refers to. `noise`: coefficients of noisy top-k, p x
  /// K.
  void forward(const Mixture& m, Batch& batch, const mat& noise);
  const mat& gate() const { return gate_; }          ///< n x K: weights over the picks
  const mat& log_gate() const { return log_gate_; }  ///< n x K: their logarithms, -inf elsewhere
  const Picks& picks() const { return picks_; }
  bool routed() const { return routed_; }
  /// slope: n x K, d objective / d ln gate. gradient += of the gate's parameters, of_noise (p x K) += of the
  /// noise's. Returns minus the balancing losses, summed over the rows.
  double backward(const Mixture& m, const Batch& batch, mat slope, std::span<double> gradient, mat& of_noise);

  /// Rows that each expert took of the last batch, and slots that found it full.
  const std::vector<double>& counts() const { return counts_; }
  double dropped() const { return dropped_; }
  std::uint64_t& calls() { return step_; }  ///< of forward() so far
  /// After an update: moves the bias of the rule against the load, by this share of the full step.
  void balance_step(RoutingRule& rule, double share);
  std::span<double> load() { return load_; }  ///< of past updates, by which balance_step() judges

 private:
  void add_noise(const Batch& batch, const mat& noise);
  void limit(const Mixture& m);
  void choose_rows(const Mixture& m);
  double add_switch(mat& slope) const;
  double add_importance(const Batch& batch, mat& slope) const;
  double add_load(const Mixture& m, mat& slope, mat& of_sigma) const;

  GradientOptions options_;
  std::uint64_t seed_, step_ = 0;
  bool routed_ = false, scored_ = false;
  mat logits_, noisy_, draw_, sigma_input_, sigma_;  // n x K
  mat log_gate_, gate_, prob_;                       // n x K; prob_: over all experts
  mat sigmoid_;                                      // n x K, of sigmoid scores
  std::vector<std::uint8_t> picked_;
  Picks picks_;
  std::vector<double> counts_, load_;
  double dropped_ = 0;
};

}  // namespace moekit::train
