#pragma once
#include <string>

#include "moekit/model.hpp"

namespace moekit::train {

// Heavy-tailed experts are there so that targets far from the rest move nothing. A mixture could give those
// targets an expert of their own instead, whose mean, whatever it is, then moves every prediction by its
// share. Two things keep it from that: starts do not see such targets, and a fit that ended so is refused.

/// Takes targets (rows x targets) far outside for the median.
void hide_outliers(mat& target);

/// Why the mixture is refused: an expert that answers for little but outliers; or empty.
std::string serves_outliers(const Mixture& mixture, const Schema& schema, const Source& rows);

}  // namespace moekit::train
