#pragma once
#include <vector>

#include "moekit/layer_shape.hpp"

/// The layer as its formula says, row by row in float64, nothing shared with the library: for each row
/// softmax over all experts, the K largest (ties to the lower index), divided by their sum.
namespace moekit::naive {

struct LayerResult {
  std::vector<double> y;                ///< T x outputs
  std::vector<std::vector<int>> picks;  ///< of each row, by falling probability
  std::vector<double> margin;           ///< of each row: probability of the last pick less that of the next
};

LayerResult layer(const MemoryWeights& weights, const std::vector<float>& x, int picks);

}  // namespace moekit::naive
