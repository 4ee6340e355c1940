#include "moekit/simulate.hpp"

#include <CLI/CLI.hpp>

#include "app.hpp"
#include "csv_writer.hpp"
#include "json_output.hpp"
#include "moekit/error.hpp"
#include "output.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct SimulateArgs {
  SimulateOptions options;
  std::string task = "regression";
  std::string output, truth;
  bool no_region = false, classes_given = false, noise_given = false;
};

/// Classes are texts, so that train takes them for classes.
std::string label(double code) { return "c" + std::to_string(static_cast<int>(code) + 1); }

Json matrix_json(const mat& matrix) {
  Json rows = Json::array();
  for (uword i = 0; i < matrix.n_rows; ++i) {
    Json row = Json::array();
    for (uword j = 0; j < matrix.n_cols; ++j) row.push_back(json_number(matrix(i, j)));
    rows.push_back(std::move(row));
  }
  return rows;
}

Json truth_json(const Simulation& simulation) {
  const SimulateOptions& o = simulation.options;
  Json json{{"rows", o.rows},
            {"inputs", o.inputs},
            {"experts", o.experts},
            {"task", std::string(task_name(o.task))}};
  const bool classes = o.task == Task::classification;
  if (classes) {
    json["labels"] = Json::array();
    for (uword c = 0; c < o.classes; ++c) json["labels"].push_back(label(static_cast<double>(c)));
  } else {
    json["noise"] = o.noise;
  }
  json["seed"] = o.seed;
  json["log_likelihood"] = json_number(simulation.log_likelihood);
  json["terms"] = Json::array({"intercept"});
  for (uword j = 1; j <= o.inputs; ++j) json["terms"].push_back("x" + std::to_string(j));
  json["gate"] = matrix_json(simulation.gate);  // terms x experts
  json["expert_coefficients"] = Json::array();  // experts x terms x outputs
  for (const mat& expert : simulation.experts) json["expert_coefficients"].push_back(matrix_json(expert));
  return json;
}

int run_simulate(const SimulateArgs& args, const Common& common, Console& console) {
  check_output(args.output, {});
  check_output(args.truth, {});
  if (!args.truth.empty() && args.truth == args.output)
    throw Error(Errc::usage, args.truth + ": rows and truth would be the same file; name two");
  const bool classes = args.task == "classification";
  if (args.classes_given && !classes)
    throw Error(Errc::usage, "--classes needs --task classification; a regression has none");
  if (args.noise_given && classes)
    throw Error(Errc::usage, "--noise needs --task regression; classes have none");
  SimulateOptions options = args.options;
  options.seed = common.seed;
  options.task = classes ? Task::classification : Task::regression;
  Simulation simulation(options);

  Output output(args.output);
  CsvWriter text;
  for (uword j = 1; j <= options.inputs; ++j) text.text("x" + std::to_string(j));
  text.text("y");
  if (!args.no_region) text.text("region");
  text.end_row();
  mat x;
  vec y;
  arma::uvec region;
  for (std::uint64_t first = 0; first < options.rows; first += kBlockRows) {
    simulation.rows(first, std::min<std::uint64_t>(kBlockRows, options.rows - first), x, y, region);
    for (uword i = 0; i < x.n_rows; ++i) {
      for (uword j = 0; j < x.n_cols; ++j) text.number(x(i, j));
      if (options.task == Task::classification) {
        text.text(label(y[i]));
      } else {
        text.number(y[i]);
      }
      if (!args.no_region) text.count(region[i] + 1);
      text.end_row();
    }
    output.stream() << text.str();
    text.clear();
    console.progress("simulate: " + std::to_string(first + x.n_rows) + " rows");
  }
  output.stream() << text.str();
  console.clear_progress();
  output.finish();
  if (!args.truth.empty()) write_text(args.truth, json_text(truth_json(simulation)));
  if (console.verbose())
    console.print(counted(options.rows, "row") + ", log-likelihood of the true model " +
                  brief(simulation.log_likelihood, 8) + "\n");
  return 0;
}

}  // namespace

void add_simulate(CLI::App& program, Command& command) {
  auto args = std::make_shared<SimulateArgs>();
  CLI::App* sub =
      add_command(program, "simulate", "Rows from a known mixture, for tests and teaching.",
                  "  moekit simulate -o sim.csv --rows 500 --truth truth.json\n"
                  "  moekit simulate --rows 5 --inputs 1 --experts 2 --noise 0.1 --seed 7\n"
                  "  moekit simulate -o classes.csv --task classification --classes 3 --no-region\n",
                  command.common);
  SimulateOptions& o = args->options;
  const auto add = [&](CLI::Option* option, const std::string& type, const Check& check) {
    return option->type_name(type)->check(check)->capture_default_str()->group("Mixture");
  };
  add(sub->add_option("--rows", o.rows, "rows to draw"), "N", whole_number(0));
  add(sub->add_option("--inputs", o.inputs, "inputs x1, x2, ...: standard normal"), "D",
      whole_number(1, 10000));
  add(sub->add_option("--experts", o.experts, "experts of the true mixture"), "K", whole_number(1, 10000));
  add(sub->add_option("--task", args->task, "regression or classification"), "TASK",
      one_of({"regression", "classification"}));
  CLI::Option* classes = add(sub->add_option("--classes", o.classes, "classes c1, c2, ... (classification)"),
                             "C", whole_number(2, 1000));
  CLI::Option* noise =
      add(sub->add_option("--noise", o.noise, "standard deviation of every expert (regression)"), "SD",
          number_above_zero());
  sub->add_flag("--no-region", args->no_region,
                "leave out the column region, the true expert (1-based) of each row")
      ->group("Output");
  sub->add_option("-o,--output", args->output, "file for the rows (default: standard output)")
      ->type_name("OUT.csv")
      ->group("Output");
  sub->add_option("--truth", args->truth, "the parameters that were drawn, as JSON (default: none)")
      ->type_name("FILE.json")
      ->group("Output");
  sub->callback([args, classes, noise, &command] {
    args->classes_given = classes->count() > 0;
    args->noise_given = noise->count() > 0;
    command.run = [args, &command](Console& console) { return run_simulate(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
