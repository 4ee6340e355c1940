#pragma once
#include <vector>

#include "json_output.hpp"
#include "moekit/diagnose.hpp"

namespace moekit::cli {

/// Inputs by how much they tell about the regions, most first: the share of an input's variance that lies
/// between regions (of a category the mean over its levels, weighted by their variance). Each with that
/// share.
struct Telling {
  std::size_t input = 0;  ///< place in Schema::inputs
  double share = 0;
};
std::vector<Telling> telling_inputs(const Model& model, const Diagnosis& diagnosis);

/// Where an axis of the report begins and ends, for each input; of a category from -0.5 to levels - 0.5.
struct Range {
  double low = 0, high = 1;
};

/// What the model says along and across its inputs when the others stay at what is typical: the gate on a
/// grid over each pair of `inputs`, those of the first ones first and as many as a page and a
/// second have room for, with the boundaries between regions. Typical: mean or most frequent level of
/// training.
Json gate_maps(const Model& model, const std::vector<std::size_t>& inputs, const std::vector<Range>& ranges,
               const Compute& compute);

/// A model of one input along it: gate weights, experts, the mixture and its central 90 %, for each target;
/// of classes their probabilities.
Json curves(const Model& model, std::size_t input, const Range& range);

/// How each expert's prediction moves with each input of `inputs`, the others as is typical of its region:
/// for each target (of classes: each class) and region.
Json partial_effects(const Model& model, const Diagnosis& diagnosis, const std::vector<std::size_t>& inputs,
                     const std::vector<Range>& ranges);

/// Regions with curves and effects of their own: the largest ones.
inline constexpr uword kRegionsDrawn = 32;
/// Classes and levels of a category that are drawn.
inline constexpr std::size_t kMostDrawn = 12;

}  // namespace moekit::cli
