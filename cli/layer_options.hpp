#pragma once
#include <string>
#include <vector>

#include "moekit/checkpoint.hpp"
#include "options.hpp"

namespace moekit::cli {

/// Which layer of which file, and how its tensors are called.
struct LayerArgs {
  std::string weights;
  std::size_t layer = 0;
  std::string gate_tensor;
  std::vector<std::string> expert_tensors;  ///< raw: pieces may be joined by commas
  std::string activation;                   ///< empty: by the kind of the experts
};

void add_layer_options(CLI::App& command, LayerArgs& args);
TensorNames tensor_names(const LayerArgs& args);
/// Errors: those of CheckpointLayer.
CheckpointLayer open_layer(const Safetensors& file, const LayerArgs& args, std::size_t layer);

}  // namespace moekit::cli
