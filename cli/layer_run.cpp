#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <optional>

#include "app.hpp"
#include "json_output.hpp"
#include "layer_options.hpp"
#include "moekit/error.hpp"
#include "moekit/layer.hpp"
#include "moekit/npy.hpp"
#include "output.hpp"
#include "routing_text.hpp"
#include "row_labels.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct LayerRunArgs {
  LayerArgs layer;
  std::string input, output, report, labels;
  std::string dtype = "f32";
  std::size_t top_k = 2;
  bool top_k_given = false;
};

/// Memory that the intermediate results of a piece of the rows may take.
constexpr std::size_t kPieceBytes = std::size_t{256} << 20;

std::size_t rows_at_once(const LayerShape& s, std::size_t picks) {
  const std::size_t row =
      4 * (s.inputs + s.outputs + s.experts + picks * (s.inputs + 2 * s.hidden + s.outputs));
  return std::clamp<std::size_t>(kPieceBytes / row, 256, 65536);
}

/// Adds the rows of a piece to the report, in float64 from the logits.
void add_rows(const Routing& routing, std::size_t experts, std::uint64_t first, const RowLabels& labels,
              RoutingTally& tally) {
  std::vector<double> p(experts), weight(routing.picks);
  for (std::size_t t = 0; t < routing.logits.size() / experts; ++t) {
    const float* logits = routing.logits.data() + t * experts;
    const double top = *std::max_element(logits, logits + experts);
    double sum = 0;
    for (std::size_t e = 0; e < experts; ++e) sum += p[e] = std::exp(logits[e] - top);
    for (double& v : p) v /= sum;
    std::copy_n(routing.weight.begin() + static_cast<std::ptrdiff_t>(t * routing.picks), routing.picks,
                weight.begin());
    RoutedRow row;
    row.pick = {routing.expert.data() + t * routing.picks, routing.picks};
    row.weight = weight;
    row.probability = p;
    if (!labels.of_row.empty()) row.label = labels.of_row[first + t];
    tally.add(row);
  }
}

void check_result(const std::vector<float>& y, std::size_t columns, std::uint64_t first,
                  const std::string& input) {
  for (std::size_t i = 0; i < y.size(); ++i)
    if (!std::isfinite(y[i]))
      throw Error(Errc::numeric, input + ": row " + std::to_string(first + i / columns) +
                                     " (from 0) has a result that float32 can't hold; scale the input down");
}

/// Runs all rows piece by piece; the seconds of the layer itself.
double run_rows(const Layer& layer, const NpyFile& x, const std::string& input, const RowLabels& labels,
                RoutingTally& tally, Console& console, std::ostream& out) {
  const LayerShape& shape = layer.shape();
  const std::size_t most = rows_at_once(shape, layer.options().picks);
  std::vector<float> in, y;
  Routing routing;
  double seconds = 0;
  write_npy_header(out, x.rows(), shape.outputs);
  for (std::uint64_t first = 0; first < x.rows(); first += most) {
    const std::size_t rows = std::min<std::uint64_t>(most, x.rows() - first);
    in.resize(rows * shape.inputs);
    y.resize(rows * shape.outputs);
    x.read(first, rows, in.data());
    const auto start = std::chrono::steady_clock::now();
    layer.forward(in.data(), rows, y.data(), &routing);
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    check_result(y, shape.outputs, first, input);
    add_rows(routing, shape.experts, first, labels, tally);
    out.write(reinterpret_cast<const char*>(y.data()),
              static_cast<std::streamsize>(y.size() * sizeof(float)));
    console.progress("layer: " + std::to_string(first + rows) + " rows");
  }
  console.clear_progress();
  return seconds;
}

Json report_json(const Layer& layer, std::size_t number, const RoutingReport& report) {
  const LayerShape& s = layer.shape();
  Json json{{"layer", number},      {"kind", expert_kind_name(s.kind)},
            {"inputs", s.inputs},   {"hidden", s.hidden},
            {"outputs", s.outputs}, {"dtype", weight_type_name(layer.options().type)}};
  json.update(routing_json(report, 0));
  return json;
}

/// `weights`: the files that hold them.
void check_files(const LayerRunArgs& args, std::vector<std::string> weights) {
  std::vector<std::string> inputs = std::move(weights);
  inputs.push_back(args.input);
  if (!args.labels.empty()) inputs.push_back(args.labels);
  check_output(args.output, inputs);
  if (args.report.empty()) return;
  check_output(args.report, inputs);
  if (args.report == args.output)
    throw Error(Errc::usage, args.report + ": result and report would be the same file; name two");
}

int run_layer(const LayerRunArgs& args, const Common& common, Console& console) {
  check_files(args, {args.layer.weights});
  const Safetensors file(args.layer.weights);
  check_files(args, file.files());  // of an index: what it names
  const CheckpointLayer weights = open_layer(file, args.layer, args.layer.layer);
  const NpyFile x(args.input);
  const LayerShape shape = weights.shape();
  if (x.columns() != shape.inputs)
    throw Error(Errc::data, args.input + ": " + counted(x.columns(), "column") + ", but layer " +
                                std::to_string(args.layer.layer) + " of " + args.layer.weights + " takes " +
                                std::to_string(shape.inputs));
  const RowLabels labels = args.labels.empty() ? RowLabels{} : read_labels(args.labels, x.rows());
  if (!weights.unused().empty())
    console.note(counted(weights.unused().size(), "tensor") + " of the layer not used, such as '" +
                 shorten(weights.unused().front(), 60) + "': the result lacks what they would add");

  LayerOptions options;
  options.type = weight_type_named(args.dtype);
  options.picks = args.top_k_given ? args.top_k : std::min(args.top_k, shape.experts);
  options.compute.threads = common.threads;
  const Layer layer(weights, options);
  RoutingTally tally(shape.experts, options.picks, labels.names);
  Output output(args.output);
  const double seconds = run_rows(layer, x, args.input, labels, tally, console, output.stream());
  const RoutingReport report = tally.report();
  output.finish();
  if (!args.report.empty()) write_text(args.report, json_text(report_json(layer, args.layer.layer, report)));
  console.print(counted(x.rows(), "row") + ", " +
                counted(shape.experts, std::string(expert_kind_name(shape.kind)) + " expert") + ", top " +
                std::to_string(options.picks) + ", " + args.dtype + ", " + seconds_text(seconds) + "\n" +
                routing_text(report, 0, 80, 16));
  return 0;
}

}  // namespace

void add_layer_run(CLI::App& layer, Command& command) {
  auto args = std::make_shared<LayerRunArgs>();
  CLI::App* sub = add_command(
      layer, "run", "Run the rows of a NumPy file through one layer.",
      "  moekit layer run data/mixtral_tiny.safetensors --input data/mixtral_tiny_x.npy -o y.npy\n"
      "  moekit layer run data/mixtral_tiny.safetensors --layer 0 --top-k 1 --dtype bf16 "
      "--input data/mixtral_tiny_x.npy -o y.npy --report routing.json\n",
      command.common);
  add_layer_options(*sub, args->layer);
  sub->add_option("--input", args->input, "rows x inputs, float32 or float64, C order")
      ->required()
      ->type_name("X.npy")
      ->group("Layer");
  CLI::Option* top_k = sub->add_option("--top-k", args->top_k, "experts of a row, the largest logits")
                           ->type_name("K")
                           ->check(whole_number(1, 1000000))
                           ->capture_default_str()
                           ->group("Layer");
  sub->add_option("--dtype", args->dtype,
                  "how weights are kept and multiplied: f32, bf16, or int8 (blocks of 32 with a scale)")
      ->type_name("TYPE")
      ->check(one_of({"f32", "bf16", "int8"}))
      ->capture_default_str()
      ->group("Layer");
  sub->add_option("-o,--output", args->output, "rows x outputs, float32")
      ->required()
      ->type_name("Y.npy")
      ->group("Output");
  sub->add_option("--report", args->report, "the routing report, as JSON (default: none)")
      ->type_name("FILE.json")
      ->group("Output");
  sub->add_option("--labels", args->labels,
                  "text file with a label a row (class, token type): the report then says what experts and "
                  "labels tell of each other (default: none)")
      ->type_name("FILE")
      ->group("Output");
  sub->callback([args, top_k, &command] {
    args->top_k_given = top_k->count() > 0;
    command.run = [args, &command](Console& console) { return run_layer(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
