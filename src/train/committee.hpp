#pragma once
#include <vector>

#include "moekit/model.hpp"
#include "moekit/sum.hpp"

namespace moekit::train {

/// Narrows the noise of networks whose densities are averaged. Each member's noise says how far its own mean
/// is from new rows. The members' average mean is nearer, by the spread between their means (the ambiguity A
/// of Krogh & Vedelsby 1995: error of the average = average error - A), and the average of their densities is
/// wider than any, by A again. So a variance of V - 2 A is right in place of V. Returns the factor on the
/// standard deviations, between 1/2 and 1; 1 where families have no such noise.
double narrow_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                    const Compute& compute);

}  // namespace moekit::train
