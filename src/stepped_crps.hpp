#pragma once
#include "components.hpp"

namespace moekit {

/// CRPS of counts, row by row: sum over whole numbers j of (F(j) - 1[y <= j])^2. `c`: the components of the
/// block; y: n. Beyond a thousand of them numbers are taken together, a thousandth of the way at a time.
vec stepped_crps(const Model& model, const Block& block, const Components& c, const vec& y);

}  // namespace moekit
