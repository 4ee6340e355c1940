#pragma once
#include <span>

#include "moekit/block.hpp"

namespace moekit {

/// Modes that matter of a density known at rising places: local maxima with a valley below 90 % of the lower
/// one between neighbours, and at least 5 % of the mass between the valleys beside each.
uword count_modes(std::span<const double> at, std::span<const double> density);

}  // namespace moekit
