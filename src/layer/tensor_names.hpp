#pragma once
#include <array>
#include <string>
#include <vector>

#include "moekit/checkpoint.hpp"

namespace moekit::layer {

/// How one family of checkpoints calls the experts of a layer, after the layer's prefix.
struct Scheme {
  const char *w1, *w3, *w2;  ///< patterns; w3 null: mlp experts
  bool fused;                ///< w1 holds the rows of w1, then those of w3: [E, 2 hidden, inputs]
};

/// In the order in which they are tried.
const std::vector<Scheme>& known_schemes();

/// Prefixes of the tensors of a layer in public checkpoints: model.layers.N.block_sparse_moe. and so on.
std::vector<std::string> known_prefixes(std::size_t layer);

/// The number of the layer when this is the name of a gate under one of the prefixes.
bool is_known_gate(const std::string& name, std::size_t& layer);

/// `pattern` with {layer}, {expert} and {matrix} replaced.
std::string filled(std::string pattern, std::size_t layer, std::size_t expert,
                   const std::string& matrix = "");

}  // namespace moekit::layer
