#include "moekit/evaluate.hpp"

#include <CLI/CLI.hpp>

#include "app.hpp"
#include "metrics_text.hpp"
#include "moekit/model_io.hpp"
#include "output.hpp"
#include "scan.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

struct EvaluateArgs {
  std::string model, data;
  bool json = false;
  ReadingArgs reading;
};

int run_evaluate(const EvaluateArgs& args, const Common& common, Console& console) {
  const Model model = load_model(args.model);
  RowOptions options = row_options(args.reading, model);
  options.need_target = true;
  options.skip_rows_without_target = true;
  RowReader reader(args.data, model.schema, options);
  for (const std::string& note : reader.notes()) console.note(note);

  Evaluator evaluator(model);
  Compute compute;
  compute.threads = common.threads;
  std::uint64_t rows = 0;
  scan_rows(
      reader, model, compute, [](Scored&) {},
      [&](Scored& scored) {
        evaluator.add(scored.rows.view(), scored.prediction);
        rows += scored.rows.rows;
        console.progress("evaluate: " + std::to_string(rows) + " rows");
      });
  if (reader.rows_without_target())
    console.note(counted(reader.rows_without_target(), "row") + " without " + target_names(model.schema) +
                 " left out");
  if (const std::string note = conformal_note(model.conformal, 0.9); !note.empty()) console.note(note);
  const Metrics metrics = evaluator.metrics();
  console.clear_progress();
  if (console.verbose()) console.print(counted(rows, "row") + " scored by " + args.model + "\n");
  write_standard_output(args.json ? json_text(metrics_json(metrics)) : metrics_text(metrics));
  return 0;
}

}  // namespace

void add_evaluate(CLI::App& program, Command& command) {
  auto args = std::make_shared<EvaluateArgs>();
  CLI::App* sub = add_command(program, "evaluate", "Metrics on rows whose target is known.",
                              "  moekit evaluate mcycle.moe data/mcycle.csv\n"
                              "  moekit evaluate vowels.moe data/pb52_jacobs4.csv --json\n",
                              command.common);
  sub->add_option("MODEL", args->model, "model file that train wrote")->required();
  add_data(*sub, args->data);
  sub->add_flag("--json", args->json, "one JSON object instead of a table")->group("Output");
  add_reading(*sub, args->reading, "the model's");
  sub->callback([args, &command] {
    command.run = [args, &command](Console& console) { return run_evaluate(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
