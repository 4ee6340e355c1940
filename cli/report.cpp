#include <CLI/CLI.hpp>

#include "app.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "output.hpp"
#include "report_assets.hpp"
#include "report_data.hpp"
#include "report_page.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct ReportArgs {
  std::string model, data, output;
  std::vector<std::string> id;
  ReadingArgs reading;
};

int run_report(const ReportArgs& args, const Common& common, Console& console) {
  const Model model = load_model(args.model);
  RowOptions options = row_options(args.reading, model);
  options.id = column_names(args.id, args.data, options.format.value_or(model.schema.format));
  RowReader reader(args.data, model.schema, options);
  for (const std::string& note : reader.notes()) console.note(note);
  check_output(args.output, {args.model, args.data});

  ReportData report(model, reader.carried(), common.seed);
  Diagnoser diagnoser(model);
  Compute compute;
  compute.threads = common.threads;
  std::uint64_t rows = 0;
  scan_rows(
      reader, model, compute,
      [&](Scored& scored) {
        describe(diagnoser, {}, scored);
        report.measure(scored);
      },
      [&](Scored& scored) {
        report.add(scored);
        diagnoser.add(scored.rows.view(), scored.prediction, scored.diagnosis);
        rows += scored.rows.rows;
        console.progress("report: " + std::to_string(rows) + " rows");
      });
  if (rows == 0) throw Error(Errc::data, args.data + ": has no rows; give rows to report on");
  console.clear_progress();
  if (kReportPlots.empty())
    console.note("this program was built without npm: the report has plain pictures, no interactive plots");
  write_text(args.output, report_page(report.json(diagnoser.diagnosis(compute), compute)));
  if (console.verbose()) console.print(counted(rows, "row") + " scored by " + args.model + "\n");
  return 0;
}

}  // namespace

void add_report(CLI::App& program, Command& command) {
  auto args = std::make_shared<ReportArgs>();
  CLI::App* sub =
      add_command(program, "report", "The partition as one HTML page: what was fitted, where, and how well.",
                  "  moekit report mcycle.moe data/mcycle.csv -o mcycle.html\n"
                  "  moekit report vowels.moe data/pb52_jacobs4.csv -o vowels.html --id Speaker\n",
                  command.common);
  sub->add_option("MODEL", args->model, "model file that train wrote")->required();
  add_data(*sub, args->data);
  sub->add_option("-o,--output", args->output, "the page: one file that opens in a browser, without network")
      ->type_name("FILE.html")
      ->required()
      ->group("Output");
  add_list(*sub, "--id", args->id, "columns that name a row (default: those of training)")
      ->type_name("A,B")
      ->group("Output");
  add_reading(*sub, args->reading, "the model's");
  sub->callback([args, &command] {
    command.run = [args, &command](Console& console) { return run_report(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
