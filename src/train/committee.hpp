#pragma once
#include <vector>

#include "moekit/fit.hpp"

namespace moekit::train {

/// What rows that two members left out say of the members' noise.
struct LeftOutNoise {
  double one = 1;   ///< factor on the noise under which one member is the likeliest at rows it never saw
  double two = 1;   ///< the same of the average of two members' densities, at rows that neither saw
  double rows = 0;  ///< how many rows say so; of unequal weights fewer ((sum w)^2 / sum w^2)
};

/// From the parts of the rows that left_out_twice() (member_rows.hpp) names. members: as many as
/// options.ensemble, of experts whose noise is normal.
LeftOutNoise left_out_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                            const FitOptions& options, const Compute& compute);

/// The factor for the average of `members` densities. The error of an average of B means is E + A / B, and
/// the average density is wider than a member's by A (1 - 1 / B), A being the spread of means between members
/// (Krogh & Vedelsby 1995). So the variance that the noise is left with, E - A + 2 A / B, is linear in 1 / B,
/// and the factors of one and of two members say what it is for any number. Few rows say little: the
/// logarithm of the factor is taken times rows / (rows + 10).
double committee_factor(const LeftOutNoise& found, std::size_t members);

/// Multiplies the noise of networks whose densities are averaged by that factor and returns it; 1 where
/// families have no such noise, and where a member is missing because the fit was stopped.
double scale_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                   const FitOptions& options, const Compute& compute);

}  // namespace moekit::train
