#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "moekit/sum.hpp"

namespace moekit {

struct Mixture;
struct Schema;

/// Where the training rows of each region lie, and how far from the nearest region a training row ever is.
///
/// A region is described by the responsibility-weighted mean and standard deviation of each standardised
/// numeric input; a missing value counts as the mean, as it does for gate and experts. Deviations
/// z_kj = (z_j - mean_kj) / sd_kj are summed up in two distances to region k: sqrt(sum_j z_kj^2), which sees
/// many inputs that are a little off, and max_j |z_kj|, which sees one that is far off among many. Spreads
/// are diagonal: K d numbers, defined for any d and n and for collinear inputs; a combination of inputs that
/// training never had, each of them ordinary, is not seen.
struct RegionShapes {
  std::vector<std::uint32_t> columns;  ///< places in Schema::inputs of the d numeric inputs that are used
  mat mean, sd;                        ///< K x d, standardised inputs
  /// Quantiles at 99.9 % over the training rows of the least distance to any region.
  double distance = 0, deviation = 0;

  bool known() const { return mean.n_rows > 0; }
  /// New region j is a copy of old region from[j].
  void select(std::span<const uword> from);
};

/// Two passes over the training rows of a fitted mixture.
RegionShapes region_shapes(const Mixture& mixture, const Schema& schema, const Source& source,
                           const Compute& compute = {});

}  // namespace moekit
