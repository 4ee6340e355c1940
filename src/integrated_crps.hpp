#pragma once
#include "components.hpp"

namespace moekit {

/// CRPS of families without a closed form (generalised linear experts), row by row: the integral, of counts
/// the sum over whole numbers t, of (F(t) - 1[y <= t])^2, to a relative 1e-6. `c`: the components of the
/// block; y: n, standardised target. NaN where a component that has weight is not finite, or none has.
vec integrated_crps(const Model& model, const Block& block, const Components& c, const vec& y);

}  // namespace moekit
