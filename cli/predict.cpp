#include <CLI/CLI.hpp>
#include <optional>

#include "app.hpp"
#include "metrics_text.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "output.hpp"
#include "prediction_rows.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

struct PredictArgs {
  std::string model, data, output;
  std::vector<std::string> quantiles, id;
  double interval = 0;  ///< 0: none
  std::optional<uword> top_k;
  bool regions = false, density = false, components = false, flags = false;
  ReadingArgs reading;
};

/// The routing of every member with another number of picks.
void set_top_k(uword top_k, Model& model) {
  if (model.neurons.count > 0)
    throw Error(Errc::usage,
                "--top-k: the neurons of a product-key gate are picked as they were in training");
  for (Mixture& member : model.members) {
    if (top_k > member.count())
      throw Error(Errc::usage, "--top-k " + std::to_string(top_k) + " is more than the model's " +
                                   counted(member.count(), "expert"));
    member.routing.top_k = top_k;
  }
}

int run_predict(const PredictArgs& args, const Common& common, Console& console) {
  PredictColumns columns;
  columns.quantiles = probabilities("--quantiles", args.quantiles);
  if (args.interval > 0) columns.interval = args.interval;
  columns.regions = args.regions;
  columns.density = args.density;
  columns.components = args.components;
  columns.flags = args.flags;
  check_output(args.output, {args.model, args.data});

  Model model = load_model(args.model);
  if (args.top_k) set_top_k(*args.top_k, model);
  RowOptions options = row_options(args.reading, model);
  if (!args.density) options.positive_target = false;  // the target is not looked at
  options.id = column_names(args.id, args.data, options.format.value_or(model.schema.format));
  RowReader reader(args.data, model.schema, options);
  const PredictionRows table(model, columns, reader.carried());
  for (const std::string& note : reader.notes()) console.note(note);
  if (args.density && !reader.has_target())
    console.note("log_density is empty: the data lack " + target_names(model.schema));

  if (columns.interval)
    if (const std::string note = conformal_note(model.conformal, *columns.interval); !note.empty())
      console.note(note);

  Output output(args.output);
  CsvWriter header;
  table.header(header);
  output.stream() << header.str();
  std::uint64_t rows = 0;
  Compute compute;
  compute.threads = common.threads;
  scan_rows(
      reader, model, compute,
      [&](Scored& scored) {
        CsvWriter text;
        table.rows(scored, text);
        scored.text = text.take();
      },
      [&](Scored& scored) {
        output.stream() << scored.text;
        rows += scored.rows.rows;
        console.progress("predict: " + std::to_string(rows) + " rows");
      });
  console.clear_progress();
  output.finish();
  if (console.verbose()) console.print(counted(rows, "row") + " scored\n");
  return 0;
}

}  // namespace

void add_predict(CLI::App& program, Command& command) {
  auto args = std::make_shared<PredictArgs>();
  CLI::App* sub = add_command(program, "predict", "Score new rows: prediction, spread, regions.",
                              "  moekit predict mcycle.moe data/mcycle.csv\n"
                              "  moekit predict mcycle.moe data/mcycle.csv --interval 0.9 -o scored.csv\n"
                              "  moekit predict mcycle.moe data/mcycle.csv --flags --components\n"
                              "  moekit predict vowels.moe data/pb52_jacobs4.csv --regions --id Speaker\n"
                              "  cat data/mcycle.csv | moekit predict mcycle.moe - --quantiles 0.1,0.5,0.9\n",
                              command.common);
  sub->add_option("MODEL", args->model, "model file that train wrote")->required();
  add_data(*sub, args->data);
  sub->add_option("-o,--output", args->output, "file for the result (default: standard output)")
      ->type_name("OUT.csv")
      ->group("Output");
  add_list(*sub, "--quantiles", args->quantiles,
           "columns q0.05 and so on: quantiles of the predictive mixture")
      ->type_name("0.05,0.5")
      ->group("Output");
  sub->add_option("--interval", args->interval,
                  "columns lower and upper: central interval of this probability, exact after train "
                  "--conformal")
      ->type_name("P")
      ->check(number_between(0, 1))
      ->group("Output");
  sub->add_flag("--regions", args->regions, "columns expert (1-based) and gate_1, gate_2, ...")
      ->group("Output");
  sub->add_flag("--components", args->components,
                "columns mean_1, mean_2, ...: every expert's own prediction")
      ->group("Output");
  sub->add_flag(
         "--flags", args->flags,
         "columns multimodal (the prediction has several peaks) and out_of_region (the row is far from "
         "all training rows)")
      ->group("Output");
  sub->add_option("--top-k", args->top_k, "experts that answer for a row; 0: all (default: as in training)")
      ->type_name("K")
      ->check(whole_number(0, 100000))
      ->group("Output");
  sub->add_flag("--density", args->density, "column log_density, where the target is present")
      ->group("Output");
  add_list(*sub, "--id", args->id, "columns to carry to the output (default: those of training)")
      ->type_name("A,B")
      ->group("Output");
  add_reading(*sub, args->reading, "the model's");
  sub->callback([args, &command] {
    command.run = [args, &command](Console& console) { return run_predict(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
