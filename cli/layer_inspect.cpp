#include <CLI/CLI.hpp>
#include <filesystem>
#include <optional>

#include "app.hpp"
#include "json_output.hpp"
#include "layer_options.hpp"
#include "moekit/error.hpp"
#include "output.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct LayerInspectArgs {
  LayerArgs layer;
  bool layer_given = false, json = false;
};

/// A layer of the file, or why it can't be used.
struct LayerFound {
  std::size_t number = 0;
  std::optional<CheckpointLayer> layer;
  std::string problem;
};

std::vector<LayerFound> find_layers(const Safetensors& file, const LayerInspectArgs& args) {
  std::vector<std::size_t> numbers = layers_of(file);
  if (args.layer_given || !tensor_names(args.layer).empty()) numbers = {args.layer.layer};
  std::vector<LayerFound> found;
  for (const std::size_t number : numbers) {
    found.push_back({number, std::nullopt, ""});
    try {
      found.back().layer.emplace(open_layer(file, args.layer, number));
    } catch (const Error& error) {
      if (args.layer_given || error.code() == Errc::usage) throw;
      found.back().problem = error.what();
    }
  }
  return found;
}

std::string shape_text(const TensorInfo& t) {
  std::vector<std::string> parts;
  for (const std::uint64_t n : t.shape) parts.push_back(std::to_string(n));
  return "[" + join(parts, ", ") + "]";
}

Json layer_json(const LayerFound& found) {
  Json json{{"layer", found.number}};
  if (!found.layer) {
    json["problem"] = found.problem;
    return json;
  }
  const LayerShape shape = found.layer->shape();
  json["experts"] = shape.experts;
  json["inputs"] = shape.inputs;
  json["hidden"] = shape.hidden;
  json["outputs"] = shape.outputs;
  json["kind"] = expert_kind_name(shape.kind);
  json["activation"] =
      shape.kind == ExpertKind::linear ? Json(nullptr) : Json(activation_name(shape.activation));
  json["dtype"] = found.layer->dtype();
  json["gate"] = found.layer->gate_name();
  json["layout"] = found.layer->layout();
  json["unused"] = found.layer->unused();
  return json;
}

Json inspect_json(const Safetensors& file, const std::vector<LayerFound>& layers) {
  Json json;
  json["layers"] = Json::array();
  for (const LayerFound& found : layers) json["layers"].push_back(layer_json(found));
  json["tensors"] = Json::array();
  for (const TensorInfo& t : file.tensors())
    json["tensors"].push_back({{"name", t.name},
                               {"dtype", t.dtype},
                               {"shape", t.shape},
                               {"bytes", t.end - t.begin},
                               {"file", std::filesystem::path(file.files()[t.file]).filename().string()}});
  return json;
}

std::string layers_text(const std::vector<LayerFound>& layers) {
  TextTable table;
  using enum TextTable::Align;
  for (const char* heading : {"layer", "experts", "inputs", "hidden", "outputs"})
    table.column(heading, right);
  for (const char* heading : {"kind", "activation", "dtype", "gate"}) table.column(heading);
  std::string notes;
  for (const LayerFound& found : layers) {
    if (!found.layer) {
      notes += "layer " + std::to_string(found.number) + " can't be run: " + found.problem + "\n";
      continue;
    }
    const LayerShape s = found.layer->shape();
    const bool linear = s.kind == ExpertKind::linear;
    table.row({std::to_string(found.number), std::to_string(s.experts), std::to_string(s.inputs),
               linear ? "-" : std::to_string(s.hidden), std::to_string(s.outputs),
               std::string(expert_kind_name(s.kind)),
               linear ? "-" : std::string(activation_name(s.activation)), found.layer->dtype(),
               shorten(found.layer->gate_name(), 60)});
    if (const std::size_t n = found.layer->unused().size())
      notes += "layer " + std::to_string(found.number) + ": " + counted(n, "tensor") + " not used, such as " +
               shorten(found.layer->unused().front(), 60) + "\n";
  }
  return (table.rows() ? table.text() : "") + notes;
}

std::string inspect_text(const Safetensors& file, const std::vector<LayerFound>& layers,
                         const Console& console) {
  const std::size_t most = console.verbose() ? SIZE_MAX : 40;
  TextTable table;
  table.column("tensor");
  table.column("dtype");
  table.column("shape");
  std::uint64_t bytes = 0;
  for (const TensorInfo& t : file.tensors()) {
    bytes += t.end - t.begin;
    if (table.rows() < most) table.row({shorten(t.name, 80), t.dtype, shape_text(t)});
  }
  std::string text = console.out_heading(file.path()) + ": " + counted(file.tensors().size(), "tensor") +
                     ", " + brief(static_cast<double>(bytes) / 1e6) + " MB" +
                     (file.files().size() > 1 ? ", in " + counted(file.files().size(), "file") : "") +
                     "\n\n" + console.out_heading("Layers") + "\n";
  text += layers.empty() ? "none under the known names; name one with --gate-tensor and --expert-tensor\n"
                         : layers_text(layers);
  text += "\n" + console.out_heading("Tensors") + "\n" + table.text();
  if (file.tensors().size() > most)
    text += "... and " + counted(file.tensors().size() - most, "more tensor") + "; -v shows them\n";
  return text;
}

int run_layer_inspect(const LayerInspectArgs& args, Console& console) {
  const Safetensors file(args.layer.weights);
  const std::vector<LayerFound> layers = find_layers(file, args);
  write_standard_output(args.json ? json_text(inspect_json(file, layers))
                                  : inspect_text(file, layers, console));
  return 0;
}

}  // namespace

void add_layer_inspect(CLI::App& layer, Command& command) {
  auto args = std::make_shared<LayerInspectArgs>();
  CLI::App* sub = add_command(layer, "inspect", "Tensors and layers of a checkpoint.",
                              "  moekit layer inspect data/mixtral_tiny.safetensors\n"
                              "  moekit layer inspect data/mixtral_tiny.safetensors --layer 0 --json\n",
                              command.common);
  add_layer_options(*sub, args->layer);
  sub->add_flag("--json", args->json, "one JSON object instead of a text")->group("Output");
  sub->callback([args, sub, &command] {
    args->layer_given = sub->get_option("--layer")->count() > 0;
    command.run = [args](Console& console) { return run_layer_inspect(*args, console); };
  });
}

}  // namespace moekit::cli
