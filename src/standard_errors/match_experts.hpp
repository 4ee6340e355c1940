#pragma once
#include <vector>

#include "moekit/model.hpp"

namespace moekit::errors {

/// to[j]: the column that row j is given, each once, so that the sum of gains is as large as can be.
/// gain: K x K. Kuhn 1955, in the form with potentials, K^3.
std::vector<uword> best_assignment(const mat& gain);

/// from[j]: the expert of `other` that stands for expert j of `reference`: together they have the largest
/// sum over rows of products of responsibilities. Mixture::select(from) brings `other` into line.
std::vector<uword> match_experts(const Mixture& reference, const Mixture& other, const Schema& schema,
                                 const Source& source, const Compute& compute);

}  // namespace moekit::errors
