#pragma once
#include <cstdint>
#include <vector>

#include "moekit/routing_rule.hpp"

namespace moekit {

// The steps of route(), for training, which looks between them.

/// What the rule picks by (score, n x K), and the logarithms of what it weighs with (log_gate; in: of the
/// gate's weights).
void routing_scores(const RoutingRule& rule, const GateFamily& gate, const Batch& batch, mat& log_gate,
                    mat& score);
/// picked: n x K flags, the rule's number of largest scores of each row and its shared experts.
void pick_top(const mat& score, const RoutingRule& rule, std::vector<std::uint8_t>& picked);
void gather_picks(const std::vector<std::uint8_t>& picked, uword rows, uword experts, Picks& picks);
/// log_gate: normalised over the picks of each row, -inf elsewhere.
void weigh_picks(const Picks& picks, mat& log_gate);

}  // namespace moekit
