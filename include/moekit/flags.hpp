#pragma once
#include "moekit/model.hpp"

namespace moekit {

/// 1 where the predictive density of a row has several modes that matter, else 0: n. Neighbouring modes are
/// one unless the density between them falls below 90 % of the lower one; a mode matters when at least 5 % of
/// the probability lies between the valleys on its two sides. For a count, of its probabilities.
/// Errors: Errc::usage for classes.
arma::uvec multimodal(const Model& model, const Block& block);

/// 1 where the model extrapolates, else 0: n. A row is out of region when one of its two distances
/// (region_shape.hpp) to the nearest region exceeds 1.5 times what 99.9 % of the training rows keep, or when
/// a category has a level that training never saw. For an ensemble: when every member says so.
/// Errors: Errc::usage for a model without region shapes.
arma::uvec out_of_region(const Model& model, const Block& block);

/// How far out a row is: its larger distance to the nearest region over the one from which a row counts as
/// out of region, so above 1 where out_of_region() is 1; infinite for a level that training never saw: n.
/// For an ensemble the least over its members. Errors: as out_of_region().
vec extrapolation(const Model& model, const Block& block);

}  // namespace moekit
