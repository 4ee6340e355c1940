#pragma once
#include <span>
#include <vector>

#include "moekit/gate.hpp"

namespace moekit {

/// Which experts answer for a row: stored with a mixture and obeyed at prediction, so that a row is scored by
/// the model that was trained. Picks are made row by row, so they do not depend on how rows are cut into
/// blocks; equal scores go to the lower index.
struct RoutingRule {
  /// What experts are picked by, and weighed with among the picks.
  enum class Score {
    softmax,  ///< the gate's weights, renormalised: top-k = K is the dense model
    sigmoid,  ///< sigmoid of each logit, divided by the sum over the picks
    hash,     ///< by a hash of what the gate sees, with equal weights (Roller et al. 2021): a baseline
  };
  Score score = Score::softmax;
  uword top_k = 0;                   ///< picks a row; 0: every expert
  std::vector<double> bias;          ///< K, added to scores when picking, not when weighing; empty: none
  std::vector<std::uint8_t> shared;  ///< K, 1: answers for every row beside the picks; empty: none
  std::vector<uword> hash_order;     ///< K: the expert of each value of the hash; empty: 0, 1, ...

  bool active(uword experts) const {
    return score != Score::softmax || !shared.empty() || (top_k > 0 && top_k < experts);
  }
  /// As Mixture::select; `from` of a hash rule must be a permutation.
  void select(std::span<const uword> from);
};

/// log_gate (n x K, in: logarithms of the gate's weights; for softmax scores up to a constant a row) becomes
/// the logarithms of the weights under the rule: -inf for experts that are not picked. picks: who is asked
/// about which rows. Errors: Errc::internal when sigmoid scores are asked of a gate without logits.
void route(const RoutingRule& rule, const GateFamily& gate, const Batch& batch, mat& log_gate, Picks& picks);

}  // namespace moekit
