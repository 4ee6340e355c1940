#pragma once
#include <cstdint>
#include <span>
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
/// The rows that ask expert k.
inline std::span<const uword> rows_of(const Picks& picks, uword k) {
  return {picks.rows.data() + picks.begin[k], picks.count(k)};
}
/// Calls visit(at, row, expert) for each pick; `at` counts them, expert by expert.
template <class Visit>
void for_picks(const Picks& picks, const Visit& visit) {
  for (uword k = 0; k + 1 < picks.begin.size(); ++k)
    for (uword at = picks.begin[k]; at < picks.begin[k + 1]; ++at) visit(at, picks.rows[at], k);
}
/// out: rows, ln sum exp(value) over the picks of each row; value: one a pick, in the order of for_picks().
void log_sums(const Picks& picks, uword rows, const double* value, vec& out);
/// log_gate: normalised over the picks of each row, -inf elsewhere.
void weigh_picks(const Picks& picks, mat& log_gate);

}  // namespace moekit
