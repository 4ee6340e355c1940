#include <CLI/CLI.hpp>

#include "app.hpp"
#include "layer_options.hpp"
#include "text.hpp"

namespace moekit::cli {

void add_layer_options(CLI::App& command, LayerArgs& args) {
  command
      .add_option(
          "WEIGHTS", args.weights,
          "safetensors file, index of several (*.safetensors.index.json), or a folder with one of them")
      ->required();
  command.add_option("--layer", args.layer, "number of the layer, as in the names of its tensors")
      ->type_name("N")
      ->check(whole_number(0, 1000000))
      ->capture_default_str()
      ->group("Layer");
  command
      .add_option("--activation", args.activation,
                  "relu, gelu or silu (default: silu for experts of three matrices, relu for two)")
      ->type_name("NAME")
      ->check(one_of({"relu", "gelu", "silu"}))
      ->group("Layer");
  command
      .add_option("--gate-tensor", args.gate_tensor,
                  "name of the gate's tensor, with {layer} (default: the known names)")
      ->type_name("PATTERN")
      ->group("Layer");
  add_list(
      command, "--expert-tensor", args.expert_tensors,
      "names of the experts' tensors, with {layer} and {expert}: one, two (w1, w2) or three (w1, w3, w2), "
      "or one with {matrix}")
      ->type_name("PATTERN")
      ->group("Layer");
}

TensorNames tensor_names(const LayerArgs& args) {
  TensorNames names;
  names.gate = args.gate_tensor;
  for (const std::string& text : args.expert_tensors)
    for (std::string& name : split_commas(text)) names.experts.push_back(std::move(name));
  return names;
}

CheckpointLayer open_layer(const Safetensors& file, const LayerArgs& args, std::size_t layer) {
  if (args.activation.empty()) return CheckpointLayer(file, layer, tensor_names(args));
  const Activation activation = activation_named(args.activation);
  return CheckpointLayer(file, layer, tensor_names(args), &activation);
}

void add_layer(CLI::App& program, Command& command) {
  CLI::App* layer = add_command(
      program, "layer",
      "Sparse layers of large models: weights from safetensors files, rows from NumPy files.",
      "  moekit layer inspect data/mixtral_tiny.safetensors\n"
      "  moekit layer run data/mixtral_tiny.safetensors --input data/mixtral_tiny_x.npy -o y.npy\n",
      command.common);
  layer->require_subcommand(1);
  add_layer_run(*layer, command);
  add_layer_inspect(*layer, command);
}

}  // namespace moekit::cli
