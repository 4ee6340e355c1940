#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>

#include "app.hpp"
#include "checkpointing.hpp"
#include "cv_checkpoint.hpp"
#include "cv_table.hpp"
#include "folds.hpp"
#include "interrupt.hpp"
#include "moekit/error.hpp"
#include "moekit/fit_identity.hpp"
#include "output.hpp"
#include "text.hpp"
#include "training_table.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kMostFolds = 1000;

struct CvArgs {
  FitArgs fit;
  std::vector<std::string> experts = {"1,2,4,8"};
  std::uint32_t folds = 10;
  bool folds_given = false;
  std::string group, fold_column;
  bool json = false;
  CheckpointArgs checkpoint;
};

/// The numbers of experts to compare, K = 1 always among them, rising; then 0 if auto is asked for.
std::vector<uword> expert_counts(const CvArgs& args, const Grouping& regions) {
  std::vector<std::string> numbers = split_commas(join(args.experts, ","));
  const bool automatic = std::erase(numbers, "auto") > 0;
  std::vector<uword> counts = whole_numbers("--experts", numbers);
  if (automatic && !args.fit.init_column.empty())
    throw Error(Errc::usage, "--init-column says how many experts there are; leave --experts auto out");
  if (!regions.names.empty()) {
    // A starting region for each row fixes K.
    const uword k = regions.names.size();
    if (!args.fit.was_given("experts")) counts = {k};
    for (const uword count : counts)
      if (count != 1 && count != k)
        throw Error(Errc::usage, "--init-column: '" + args.fit.init_column + "' has " + counted(k, "region") +
                                     ", so --experts can only be " + std::to_string(k));
  }
  counts.push_back(1);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  if (automatic) counts.push_back(0);
  return counts;
}

Folds given_folds(const CvArgs& args, const Table& table) {
  const Grouping grouping = group_rows(table, args.fit.data, args.fold_column);
  if (grouping.names.size() < 2)
    throw Error(Errc::data, "--fold-column: '" + args.fold_column + "' holds one fold only ('" +
                                grouping.names[0] + "'); two or more are needed");
  if (grouping.names.size() > kMostFolds)
    throw Error(Errc::data, "--fold-column: '" + args.fold_column + "' holds " +
                                std::to_string(grouping.names.size()) +
                                " different values, so it names no folds; at most " +
                                std::to_string(kMostFolds) + " are taken");
  return {static_cast<std::uint32_t>(grouping.names.size()), grouping.of_row};
}

/// The class of every row, so that folds get their part of each; 0 for regression.
std::vector<std::uint32_t> strata(const Table& table) {
  std::vector<std::uint32_t> of_row(table.source.rows(), 0);
  if (table.schema.target.task != Task::classification) return of_row;
  for (std::size_t b = 0; b < table.source.blocks(); ++b) {
    const BlockData& block = table.source.data(b);
    for (uword i = 0; i < block.rows; ++i)
      of_row[block.first + i] = static_cast<std::uint32_t>(block.target[i]);
  }
  return of_row;
}

Folds make_folds(const CvArgs& args, const Table& table, const Grouping& groups, std::uint64_t seed,
                 Console& console) {
  if (!args.fold_column.empty()) return given_folds(args, table);
  const bool grouped = !groups.names.empty();
  const std::uint64_t units = grouped ? groups.names.size() : table.source.rows();
  const std::string noun = grouped ? "group" : "row";
  if (units < 2)
    throw Error(Errc::data,
                "cross-validation needs two " + noun + "s at least, and there is one; give more data");
  if (units < args.folds)
    console.note("there are only " + counted(units, noun) + ": " + std::to_string(units) +
                 " folds instead of " + std::to_string(args.folds));
  return grouped ? deal_groups(groups.of_row, static_cast<std::uint32_t>(units), args.folds, seed)
                 : deal_rows(strata(table), args.folds, seed);
}

/// Everything that the folds of one K share.
struct CvTask {
  const CvArgs& args;
  const Table& table;
  const Folds& folds;
  const Grouping& regions;
  FitOptions options;
  Compute compute;
  Console& console;
  FitCheckpoint* checkpoint = nullptr;
};

/// Where there are no more experts than picks: every expert answers, and there is nothing to balance.
void make_dense(FitOptions& options) {
  options.top_k = options.shared_experts = 0;
  options.gate_score = RoutingRule::Score::softmax;
  GradientOptions& g = options.gradient;
  g.balance = {Balance::automatic};
  g.z_loss = g.capacity = 0;
  g.noisy = g.expert_choice = false;
}

/// One K on one fold. Scaling, spreads and shares are measured on the training rows of the fold; the levels
/// and labels are those of the whole table.
FoldResult fit_fold(const CvTask& task, uword experts, std::uint32_t fold,
                    const std::vector<std::uint64_t>& inside, HeldOutScores& scores) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::uint64_t> outside = task.folds.rows_outside(fold);
  const MemorySource train = take_rows(task.table.source, outside),
                     held = take_rows(task.table.source, inside);
  Schema schema = task.table.schema;
  measure(schema, train, task.compute);
  FitOptions options = task.options;
  options.grow = experts == 0;
  if (!options.grow) options.experts = experts;
  if (options.top_k >= experts) make_dense(options);
  if (experts > 1 && !task.regions.names.empty())
    for (const std::uint64_t row : outside) options.initial_region.push_back(task.regions.of_row[row]);
  const std::string where = "cv: " + (options.grow ? "auto" : counted(experts, "expert")) + ", fold " +
                            std::to_string(fold + 1) + " of " + std::to_string(task.folds.count) + ", ";
  const Model model =
      fit(schema, train, options, task.compute, stoppable(progress_of_fit(task.console, where)));
  if (interrupted()) throw Halted();  // a fit that was stopped is no result; those before it are kept
  scores.add(model, held, inside, task.compute);
  FoldResult result;
  result.fitted = experts_of(model);
  result.found = model.members.front().count();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

/// One K over all folds.
CvResult cross_validate(const CvTask& task, uword experts) {
  CvResult result(experts, task.table.source.rows());
  for (std::uint32_t fold = 0; fold < task.folds.count; ++fold) {
    const std::vector<std::uint64_t> inside = task.folds.rows_in(fold);
    FoldResult one;
    if (!take_fold(task.checkpoint, experts, fold, inside, result.scores, one)) {
      one = fit_fold(task, experts, fold, inside, result.scores);
      keep_fold(task.checkpoint, experts, fold, inside, result.scores, one);
    }
    result.fewer += one.fitted < experts;
    if (result.automatic()) result.found.push_back(one.found);
    result.seconds += one.seconds;
  }
  return result;
}

/// Everything that the figures depend on.
void begin_checkpoint(const CvTask& task, const std::vector<uword>& counts) {
  FitOptions options = task.options;
  options.initial_region = task.regions.of_row;
  const Table& table = task.table;
  begin_cv(*task.checkpoint,
           fit_identity(options, table.schema, table.source,
                        fingerprint(table.schema, table.source, task.compute), task.compute),
           counts, task.folds);
  const std::size_t done = folds_kept(*task.checkpoint, counts, task.folds.count);
  if (done > 0)
    task.console.note(task.args.checkpoint.path + ": " + std::to_string(done) + " of " +
                      counted(counts.size() * task.folds.count, "fit") + " done");
}

std::vector<CvResult> cross_validate_all(const CvTask& task, const std::vector<uword>& counts) {
  std::vector<CvResult> results;
  for (const uword experts : counts) {
    results.push_back(cross_validate(task, experts));
    if (results.back().fewer)
      task.console.note(counted(experts, "expert") + ": in " + counted(results.back().fewer, "fold") +
                        " fewer were fitted");
  }
  return results;
}

void check_args(const CvArgs& args) {
  if (!args.fold_column.empty() && args.folds_given)
    throw Error(Errc::usage, "--folds and --fold-column both say what the folds are; leave one out");
  if (!args.fold_column.empty() && !args.group.empty())
    throw Error(Errc::usage, "--group and --fold-column both say which rows stay together; leave one out");
  check_output(args.checkpoint.path, {args.fit.data});
}

int run_cv(const CvArgs& args, const Common& common, Console& console) {
  check_args(args);
  (void)expert_counts(args, {});  // refused before the table is read
  const std::unique_ptr<FitCheckpoint> checkpoint = open_checkpoint(args.checkpoint, one_rank(), console);
  ReadOptions reading = read_options(args.fit);
  for (const std::string& column : {args.group, args.fold_column})
    if (!column.empty()) reading.carry.push_back(column);
  const Table table = read_training_table(args.fit, reading, common, console);
  if (table.on_file)
    throw Error(Errc::usage, args.fit.data +
                                 ": the table does not fit into --memory, and cv copies its rows into folds; "
                                 "give more --memory, or train --validation another file");
  Grouping regions, groups;
  if (!args.fit.init_column.empty()) regions = group_rows(table, args.fit.data, args.fit.init_column);
  if (!args.group.empty()) groups = group_rows(table, args.fit.data, args.group);
  const Folds folds = make_folds(args, table, groups, common.seed, console);

  CvTask task{args, table, folds, regions, fit_options(args.fit, common, table.schema), {}, console};
  for (const std::string& note : unused_options(args.fit, task.options)) console.note(note);
  task.compute.threads = common.threads;
  task.checkpoint = checkpoint.get();
  const std::vector<uword> counts = expert_counts(args, regions);
  std::vector<CvResult> results;
  run_with_checkpoint(checkpoint.get(), args.checkpoint, console, [&] {
    if (checkpoint) begin_checkpoint(task, counts);
    results = cross_validate_all(task, counts);
  });
  console.clear_progress();
  const CvTable comparison(table.schema, folds.count, std::move(results), groups.of_row);
  write_standard_output(args.json ? json_text(comparison.json()) : comparison.text(console));
  if (checkpoint) ::unlink(args.checkpoint.path.c_str());
  return 0;
}

}  // namespace

void add_cv(CLI::App& program, Command& command) {
  auto args = std::make_shared<CvArgs>();
  CLI::App* sub =
      add_command(program, "cv", "Compare numbers of experts by cross-validation.",
                  "  moekit cv data/mcycle.csv --target accel --experts 2,4 --folds 5\n"
                  "  moekit cv data/pb52_jacobs4.csv --target Vowel --drop Type,Repetition --group Speaker "
                  "--experts 2,4 --folds 5\n"
                  "  moekit cv data/faithful.csv --target eruptions --experts 2 --json\n"
                  "  moekit cv data/mcycle.csv --target accel --experts 2,auto --folds 3\n",
                  command.common);
  add_fit(*sub, args->fit);
  add_list(*sub, "--experts", args->experts,
           "numbers of experts to compare; 1 is always added; auto: found in each "
           "fold on rows held back (default: 1,2,4,8)")
      ->type_name("1,2,auto")
      ->group("Cross-validation");
  CLI::Option* folds = sub->add_option("--folds", args->folds, "number of folds")
                           ->type_name("N")
                           ->check(whole_number(2, kMostFolds))
                           ->capture_default_str()
                           ->group("Cross-validation");
  sub->add_option("--group", args->group, "column whose equal values stay together in a fold (default: none)")
      ->type_name("COLUMN")
      ->group("Cross-validation");
  sub->add_option("--fold-column", args->fold_column,
                  "column that says which fold a row is in (default: none)")
      ->type_name("COLUMN")
      ->group("Cross-validation");
  sub->add_flag("--json", args->json, "one JSON object instead of a table")->group("Output");
  args->checkpoint.every = "0s";  // after each fit
  add_checkpoint_file(*sub, args->checkpoint,
                      "file for --resume that keeps the scores of finished fits; removed when the table is "
                      "printed",
                      "take the finished fits from the checkpoint of an interrupted cv, to the same figures");
  add_columns(*sub, args->fit.columns);
  sub->callback([args, sub, folds, &command] {
    args->fit.given = given_options(*sub);
    args->folds_given = folds->count() > 0;
    command.run = [args, &command](Console& console) { return run_cv(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
