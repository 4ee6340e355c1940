#pragma once
#include <vector>

#include "layer/packed.hpp"
#include "moekit/layer.hpp"

namespace moekit::layer {

/// Logits, picks and weights of `rows` rows.
void route(const PackedLayer& layer, const float* x, std::size_t rows, std::size_t picks,
           const Compute& compute, Routing& routing);

/// Picks sorted by expert, and within an expert by row: slot s is one pick of one row.
struct Slots {
  Slots(const Routing& routing, std::size_t rows, std::size_t experts);

  std::vector<std::size_t> begin;     ///< E + 1: slots of expert e are begin[e] .. begin[e + 1] - 1
  std::vector<std::uint32_t> row;     ///< of each slot
  std::vector<float> weight;          ///< of each slot
  std::vector<std::size_t> of_row;    ///< T x K: the slots of a row, rising, so by the number of the expert
  std::vector<std::uint32_t> active;  ///< experts that have slots
  std::size_t count() const { return row.size(); }
};

}  // namespace moekit::layer
