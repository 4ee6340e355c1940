#pragma once
#include <vector>

#include "moekit/matrix.hpp"

namespace moekit::train {

/// A binary tree over experts, as the fields `place` and `depth` of a tree gate say it.
struct Arrangement {
  std::vector<double> place;  ///< of each expert, from the left
  std::vector<double> depth;  ///< of the node in each gap between neighbours
};

/// A tree for regions that a flat gate has found: from above, experts are parted where a logistic regression
/// tells the two sides apart best, by the share of their entropy that it leaves open. Sides are sought along
/// linear discriminants (Fisher 1936): of pairs of experts, of one against all others, then by moving one at
/// a time. `x`: rows x features, without the intercept. `share`: rows x K responsibilities times weights.
Arrangement arrange_experts(const arma::mat& x, const arma::mat& share);

}  // namespace moekit::train
