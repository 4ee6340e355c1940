#pragma once
#include <vector>

#include "moekit/basis.hpp"

namespace moekit {

/// Features that are linear combinations of those before them, over the rows of the source: a pivot-free
/// Cholesky of their correlations, with 1e-10 of a feature's variance as the limit. The intercept is never
/// one.
std::vector<uword> dependent_features(const Basis& basis, const Schema& schema, const Source& source,
                                      const Compute& compute);

/// The basis without the features of these indices.
Basis without(const Basis& basis, const std::vector<uword>& features);

}  // namespace moekit
