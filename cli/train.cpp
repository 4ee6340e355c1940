#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "app.hpp"
#include "checkpointing.hpp"
#include "fit_report.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/held_rows.hpp"
#include "moekit/model_io.hpp"
#include "moekit/standard_errors.hpp"
#include "output.hpp"
#include "ranks.hpp"
#include "text.hpp"
#include "training_table.hpp"

namespace moekit::cli {

namespace {

struct TrainArgs {
  FitArgs fit;
  std::string output, report, validation;
  double conformal = 0;  ///< 0: none
  std::string standard_errors = "auto";
  CheckpointArgs checkpoint;
  bool dry_run = false;
};

/// Rows on which the fit is judged, either cut off the table or read from a file of their own.
struct HeldOut {
  std::unique_ptr<const Source> rows;  ///< null: none

  Metrics metrics(const Model& model) const {
    Evaluator evaluator(model);
    BlockData buffer;
    for (std::size_t i = 0; i < rows->blocks(); ++i) evaluator.add(rows->read(i, buffer));
    return evaluator.metrics();
  }
};

/// Read before the fit, so that a bad file is not found out afterwards. It may take what the table leaves of
/// --memory.
std::unique_ptr<const Source> read_validation(const TrainArgs& args, const Table& table,
                                              const FitOptions& options, const Compute& compute,
                                              Console& console) {
  const std::string& path = args.validation;
  std::uint64_t memory = memory_for_rows(args.fit.memory, path);
  // 0 would be any.
  if (memory > 0) memory -= std::min(bytes_of(table.source), memory - 1);
  const bool positive = family_traits(family_of(options, table.schema)).positive;
  HeldRows held = read_held_rows(path, table.schema, memory, compute, positive);
  for (const std::string& note : held.notes) console.note(path + ": " + note);
  if (held.rows->rows() == 0)
    throw Error(Errc::data, path + ": no row with a target; give another validation file");
  return std::move(held.rows);
}

/// --init-column: its distinct texts are the regions.
void take_regions(const TrainArgs& args, const Table& table, FitOptions& options) {
  const Grouping regions = group_rows(table, args.fit.data, args.fit.init_column);
  if (args.fit.was_given("experts") && options.grow)
    throw Error(Errc::usage, "--init-column says how many experts there are; leave --experts auto out");
  if (args.fit.was_given("experts") && options.experts != regions.names.size())
    throw Error(Errc::usage, "--init-column: '" + args.fit.init_column + "' has " +
                                 counted(regions.names.size(), "region") + ", but --experts is " +
                                 std::to_string(options.experts) + "; leave --experts out");
  options.experts = regions.names.size();
  options.initial_region = regions.of_row;
}

/// Cuts the rows of an option off the table. Means, spreads and shares are those of the remaining rows.
MemorySource hold_out(double fraction, const std::string& option, const Common& common,
                      const Compute& compute, Table& table, FitOptions& options) {
  const Split split = split_rows(table.source.rows(), fraction, option, common.seed);
  MemorySource held = take_rows(table.source, split.held);
  table.source = take_rows(table.source, split.train);
  measure(table.schema, table.source, compute);
  if (options.initial_region.empty()) return held;
  std::vector<std::uint32_t> regions;
  for (const std::uint64_t row : split.train) regions.push_back(options.initial_region[row]);
  options.initial_region = std::move(regions);
  return held;
}

void add_note(std::string note, Table& table, Console& console) {
  console.note(note);
  table.notes.push_back(std::move(note));
}

/// Of nobody's choice: an expert wants some rows to itself, and as many as there are slopes.
void limit_experts(FitOptions& options, Table& table, Console& console) {
  constexpr std::uint64_t kRows = 15;
  constexpr std::size_t kOfLevels = 10;  // drawn together, a hundred levels are not as many slopes
  std::uint64_t slopes = 0;
  for (const Column& column : table.schema.inputs)
    slopes += std::clamp<std::size_t>(column.levels.size(), 2, kOfLevels + 1) - 1;
  const std::uint64_t most = std::max<std::uint64_t>(1, table.schema.rows / std::max(kRows, slopes));
  if (most >= options.experts) return;
  add_note(counted(table.schema.rows, "row") + " of " + counted(slopes, "slope") + " are few for " +
               std::to_string(options.experts) + " experts; taken: " + std::to_string(most) +
               " (--experts says otherwise)",
           table, console);
  options.experts = static_cast<uword>(most);
}

/// Normal experts give sizes that vary by more than their mean tails that are far too thin.
void suggest_family(const Target& target, Table& table, Console& console) {
  if (target.task == Task::regression && target.min > 0 && target.sd > target.mean)
    add_note(
        "'" + target.name + "' is above 0 and varies by more than its mean: --family gamma may fit it better",
        table, console);
}

void check_conformal(const Schema& schema) {
  const Target& target = schema.target;
  if (schema.targets() > 1)
    throw Error(Errc::usage, "--conformal makes the intervals of one target exact; leave it out");
  if (target.task == Task::classification)
    throw Error(Errc::usage, "--conformal makes intervals exact, and the target '" + target.name +
                                 "' is a class; leave it out");
}

void check_args(const TrainArgs& args) {
  if (args.output.empty() && !args.dry_run)
    throw Error(Errc::usage,
                "train needs -o MODEL, the file for the model (or --dry-run); see moekit train --help");
  std::vector<std::string> inputs = {args.fit.data};
  if (!args.validation.empty()) inputs.push_back(args.validation);
  check_output(args.output, inputs);
  check_output(args.report, inputs);
  check_output(args.checkpoint.path, inputs);
  if (!args.checkpoint.path.empty() &&
      (args.checkpoint.path == args.output || args.checkpoint.path == args.report))
    throw Error(Errc::usage, args.checkpoint.path + ": the checkpoint would be another output; name two");
  if (!args.report.empty() && args.report == args.output)
    throw Error(Errc::usage, args.report + ": model and report would be the same file; name two");
}

/// Rows that memory cannot hold are read again in every pass: what would copy them is refused.
void check_on_file(const TrainArgs& args, const FitOptions& options, double fraction) {
  const std::string option = fraction > 0                  ? "--validation SHARE"
                             : args.conformal > 0          ? "--conformal"
                             : options.ensemble > 1        ? "--ensemble"
                             : args.fit.init_column.size() ? "--init-column"
                                                           : "";
  if (option.empty()) return;
  throw Error(Errc::usage, args.fit.data + ": the table does not fit into --memory, and " + option +
                               " needs its rows there; give more --memory, or leave " + option + " out" +
                               (fraction > 0 ? " (a file for --validation is fine)" : ""));
}

/// Standard errors come after the fit; what keeps some of them away becomes a note of the model.
void add_standard_errors(const TrainArgs& args, const Table& table, const FitOptions& options, Model& model,
                         const Compute& compute, Console& console) {
  const ErrorChoice choice = parse_error_choice(args.standard_errors);
  const auto leave_out = [&](const std::string& why) {
    if (choice.automatic && !coefficients(model).empty())
      model.provenance.notes.push_back("standard errors were left out: " + why);
  };
  // Laplace's approximation and the sandwich need derivatives, which an L1 penalty lacks where coefficients
  // are 0.
  if (options.lasso > 0 && choice.automatic)
    return leave_out("under --lasso there is only the bootstrap; --standard-errors bootstrap asks for it");
  // They suppose the optimum of a likelihood that is smooth: not the end of a schedule, nor picks that jump.
  const Mixture& first = model.members.front();
  const bool smooth_optimum = options.hidden.empty() && !gate_traits(options.gate).network &&
                              !first.routing.active(first.count()) &&
                              options.gradient.loss == Loss::likelihood &&
                              (options.method == Method::em || options.method == Method::lbfgs);
  if (!smooth_optimum && (choice.automatic || choice.kind == ErrorKind::none))
    return leave_out(
        "they are of linear experts and gates at an optimum (--fit em or lbfgs, all experts, likelihood)");
  if (!smooth_optimum)
    throw Error(Errc::usage,
                "--standard-errors are of linear experts and gates at an optimum (--fit em or lbfgs, all "
                "experts, likelihood); give none");
  ErrorReport report = standard_errors(model, table.rows(), choice, options, compute,
                                       stoppable(progress_of_fit(console, "standard errors: ")));
  model.standard_errors = std::move(report.errors);
  for (std::string& note : report.notes) model.provenance.notes.push_back(std::move(note));
}

void save(const TrainArgs& args, const FitRecord& record) {
  write_text(args.output, model_text(record.model));
  if (!args.report.empty()) write_text(args.report, json_text(fit_report_json(record)));
}

int run_train(const TrainArgs& args, const Common& common, Console& console) {
  check_args(args);
  double fraction = 0;
  if (parse_number(args.validation, fraction) && !(fraction > 0 && fraction < 1))
    throw Error(Errc::usage, "--validation: " + args.validation + " is not a share between 0 and 1");
  const ErrorChoice errors = parse_error_choice(args.standard_errors);
  if (args.fit.fit.lasso > 0 && !errors.automatic && errors.kind != ErrorKind::none &&
      errors.kind != ErrorKind::bootstrap)
    throw Error(Errc::usage, "--standard-errors: under --lasso there is only the bootstrap; give bootstrap");
  Compute compute;
  compute.threads = threads_of_rank(common.threads);
  compute.comm = &ranks();
  if (compute.comm->size() > 1 && args.fit.data == "-")
    throw Error(Errc::usage, "standard input reaches one rank only; give a file");
  const std::unique_ptr<FitCheckpoint> checkpoint =
      args.dry_run ? nullptr : open_checkpoint(args.checkpoint, *compute.comm, console);
  Table table = read_training_table(args.fit, read_options(args.fit), common, console);
  FitOptions options = fit_options(args.fit, common, table.schema);
  for (std::string& note : unused_options(args.fit, options)) add_note(std::move(note), table, console);
  if (!args.fit.was_given("family") && table.schema.targets() == 1)
    suggest_family(table.schema.target, table, console);
  if (table.on_file) check_on_file(args, options, fraction);
  options.grow = args.fit.experts == "auto";
  if (!options.grow) options.experts = whole_numbers("--experts", {args.fit.experts}).front();
  if (!args.fit.was_given("experts") && args.fit.init_column.empty() && options.top_k == 0)
    limit_experts(options, table, console);
  if (!args.fit.init_column.empty()) take_regions(args, table, options);
  if (args.conformal > 0) check_conformal(table.schema);
  HeldOut held;
  MemorySource calibration;
  if (fraction > 0)
    held.rows =
        std::make_unique<MemorySource>(hold_out(fraction, "--validation", common, compute, table, options));
  if (args.conformal > 0)
    calibration = hold_out(args.conformal, "--conformal", common, compute, table, options);
  if (fraction == 0 && !args.validation.empty())
    held.rows = read_validation(args, table, options, compute, console);
  if (args.dry_run) {
    console.print("dry run: everything can be read, nothing was fitted\n");
    return 0;
  }

  options.validation = held.rows.get();
  options.checkpoint = checkpoint.get();
  FitReport report;
  Model model;
  run_with_checkpoint(checkpoint.get(), args.checkpoint, console, [&] {
    model = fit(table.schema, table.rows(), options, compute, stoppable(progress_of_fit(console, "fit: ")),
                &report);
    model.provenance.options = args.fit.given;
    if (args.conformal > 0) model.conformal = calibrate(model, calibration, compute);
    add_standard_errors(args, table, options, model, compute, console);
  });
  console.clear_progress();
  for (const std::string& note : model.provenance.notes) console.note(note);
  FitRecord record{model, report, table.rows_read, table.notes, std::nullopt};
  record.notes.insert(record.notes.end(), model.provenance.notes.begin(), model.provenance.notes.end());
  if (held.rows) record.held_out = held.metrics(model);
  if (compute.comm->rank() > 0) return 0;
  save(args, record);
  if (checkpoint) ::unlink(args.checkpoint.path.c_str());
  console.print(fit_summary(record, console.verbose()));
  return 0;
}

}  // namespace

void add_train(CLI::App& program, Command& command) {
  auto args = std::make_shared<TrainArgs>();
  CLI::App* sub = add_command(
      program, "train", "Fit a mixture of experts to a table.",
      "  moekit train data/mcycle.csv --target accel -o mcycle.moe\n"
      "  moekit train data/pb52_jacobs4.csv --target Vowel --drop Type,Speaker,Repetition -o vowels.moe\n"
      "  moekit train data/wages.csv --target wages --experts 3 --validation 0.2 -o wages.moe\n"
      "  moekit train data/boston.csv --target medv --conformal 0.25 -o boston.moe\n"
      "  moekit train data/mcycle.csv --target accel --gate tree --experts auto -o tree.moe\n"
      "  moekit train data/mcycle.csv --target accel --preset accurate -o a.moe\n"
      "  moekit train data/faithful.csv --target eruptions --experts 2 --ridge 0 --report fit.json -o f.moe\n"
      "  moekit train data/mcycle.csv --target accel --expert additive --noise linear --ensemble 5 -o c.moe\n"
      "  moekit train data/patents.csv --target Patents --drop Company,RDS --family poisson --experts 3 -o "
      "p.moe\n"
      "  moekit train data/mcycle.csv --target accel --fit lbfgs -o m.moe\n"
      "  moekit train data/iris.csv --target target --expert mlp:8 --experts 8 --top-k 2 --fit adam --epochs "
      "20 -o i.moe\n"
      "  moekit train data/diamonds.csv.gz --target price --dry-run\n"
      "  moekit train data/boston.csv --target medv,lstat --experts 2 -o two.moe\n",
      command.common);
  add_fit(*sub, args->fit);
  sub->add_option("--experts", args->fit.experts,
                  "number of experts, or auto: found by growing on rows held back (default: fewer where rows "
                  "are few)")
      ->type_name("K|auto")
      ->check(number_of_experts())
      ->capture_default_str()
      ->group("Model and fit");
  sub->add_option("--validation", args->validation,
                  "share of rows, or a file, kept out of the fit and scored in the summary (default: none)")
      ->type_name("SHARE|FILE")
      ->group("Model and fit");
  sub->add_option(
         "--conformal", args->conformal,
         "share of rows kept out of the fit to make intervals exact: split conformal (default: none)")
      ->type_name("SHARE")
      ->check(number_between(0, 1))
      ->group("Model and fit");
  sub->add_option("--standard-errors", args->standard_errors,
                  "of the coefficients: auto (information where that takes seconds at most), none, "
                  "information, sandwich, bootstrap, or bootstrap:B for B refits")
      ->type_name("KIND")
      ->check([](const std::string& text) {
        try {
          parse_error_choice(text);
        } catch (const Error& e) {
          return std::string(e.what());
        }
        return std::string();
      })
      ->capture_default_str()
      ->group("Model and fit");
  sub->add_option("-o,--output", args->output, "file for the model; needed unless --dry-run")
      ->type_name("MODEL")
      ->group("Output");
  sub->add_flag("--dry-run", args->dry_run, "read, type and check everything, fit nothing")->group("Output");
  sub->add_option("--report", args->report, "everything that the fit knows, as JSON (default: none)")
      ->type_name("FILE.json")
      ->group("Output");
  add_checkpoint(*sub, args->checkpoint);
  add_columns(*sub, args->fit.columns);
  sub->callback([args, sub, &command] {
    args->checkpoint.every_given = sub->get_option("--checkpoint-every")->count() > 0;
    args->fit.given = given_options(*sub);
    command.on_ranks = true;
    command.run = [args, &command](Console& console) { return run_train(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
