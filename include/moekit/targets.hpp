#pragma once
#include "moekit/model.hpp"

namespace moekit {

/// A model of several targets seen as a model of one of them, with everything that belongs to it: same gate,
/// experts for the marginal distribution of target j. Exact for both covariances: a marginal of a mixture is
/// the mixture of the marginals. Without provenance and standard errors. Errors: Errc::usage beyond the last
/// target.
Model marginal(const Model& model, uword j);

/// The block with target j as its only one.
Block target_block(const Block& block, uword j);

}  // namespace moekit
