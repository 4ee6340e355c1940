#include "train/start_run.hpp"

#include "moekit/rng.hpp"
#include "train/descent.hpp"
#include "train/lbfgs.hpp"
#include "train/level.hpp"
#include "train/unit.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kParallelRows = 65536;  // below, starts run side by side; above, rows are shared out
constexpr int kRegionPasses = 3;
constexpr double kFirmness = 0.95;

}  // namespace

Penalty penalty_of(const FitOptions& o, const Schema& schema) {
  Penalty p;
  p.mode = o.ridge_mode;
  if (p.mode == Penalty::Mode::fixed && o.ridge == 0) p.mode = Penalty::Mode::none;
  p.ridge = o.ridge;
  p.lasso = o.lasso;
  // Of several targets the one with the finest grid: a floor is the same for all.
  if (p.mode != Penalty::Mode::none && schema.target.task == Task::regression) {
    p.noise_floor = schema.target.step / std::sqrt(12.0) / schema.target.sd;
    for (const Target& t : schema.further_targets)
      p.noise_floor = std::min(p.noise_floor, t.step / std::sqrt(12.0) / t.sd);
  }
  return p;
}

EmOptions em_options(const SearchTask& task, const Source& rows, int passes) {
  EmOptions o;
  o.penalty = task.penalty;
  o.max_passes = passes;
  const bool evidence = task.penalty.mode == Penalty::Mode::evidence;
  // Under the evidence a thousandth of a log unit is far below what the penalties decide; and what a part of
  // the rows says is only where to go on from.
  const double exact = rows.rows() < task.source.rows() ? 1e-7 : 3e-11;
  o.tolerance = task.options.tolerance > 0 ? task.options.tolerance : (evidence ? 5e-6 : exact);
  o.accelerate = task.penalty.lasso == 0;  // between two sparse places lies a dense one
  o.enough = evidence && task.options.tolerance == 0 ? 1e-3 : 0;
  return o;
}

Watch Progress::watch(int start) {
  return [this, start](int pass, double log_likelihood) {
    if (!call_) return true;
    const std::lock_guard lock(mutex_);
    if (!stopped_ && call_({start, starts_, pass, log_likelihood}) == Next::stop) stopped_ = true;
    return !stopped_;
  };
}

MemorySource sample_rows(const Source& source, std::uint64_t most, std::uint64_t seed) {
  Rng rng(seed, 0x5a3b1e);
  std::vector<std::uint64_t> rows;
  std::uint64_t wanted = most, left = source.rows();
  for (std::uint64_t i = 0; i < source.rows() && wanted > 0; ++i, --left)
    if (rng.below(left) < wanted) {
      rows.push_back(i);
      --wanted;
    }
  return take_rows(source, rows);
}

void fit_regions(Mixture& mixture, const SearchTask& task, const Source& rows, const Compute& compute,
                 const std::vector<std::uint32_t>& region) {
  begin_at_level(mixture, task.schema);
  PassSums sums;
  for (int pass = 0; pass < kRegionPasses; ++pass) {
    region_pass(mixture, task.schema, rows, compute, region, kFirmness, sums);
    mixture.gate->update(sums.gate, task.penalty);
    mixture.experts->update(sums.experts, task.penalty);
  }
}

EmResult climb(Mixture& mixture, const SearchTask& task, const Source& rows, const EmOptions& em,
               const Compute& compute, const Watch& watch, const Unit& unit) {
  const FitOptions& options = task.options;
  if (options.method == Method::em) return run_em(mixture, task.schema, rows, em, compute, watch, unit);
  if (options.method == Method::lbfgs)
    return run_lbfgs(mixture, task.schema, rows, em, options.gradient, compute, watch, unit);
  return run_descent(mixture, task.schema, rows, options, task.penalty, compute, watch, unit);
}

void run(Candidate& c, const SearchTask& task, const Source& rows, const Compute& compute, int passes,
         const Watch& watch) {
  const EmOptions em = em_options(task, rows, passes);
  const Unit unit =
      unit_of(task.options.checkpoint, c.mixture, task.schema, rows, compute, em, task.options.seed);
  const auto finished = [&](Archive& archive) {
    archive_mixture(archive, c.mixture);
    archive_result(archive, c.result);
  };
  if (!unit.restore(finished)) {
    c.result = climb(c.mixture, task, rows, em, compute, watch, unit);
    if (c.result.status != EmResult::Status::stopped) unit.finish(finished);
  }
  c.start.log_likelihood = c.result.log_likelihood + c.result.sums.weight * log_unit(task.schema);
  c.start.score = c.result.objective;
  c.start.iterations += c.result.passes;
}

void for_each_start(std::size_t count, std::uint64_t rows, const Compute& compute,
                    const std::function<void(std::size_t, const Compute&)>& one) {
  // Ranks share the rows of every pass, so they go through the starts together.
  if (rows > kParallelRows || compute.comm->size() > 1) {
    for (std::size_t i = 0; i < count; ++i) one(i, compute);
    return;
  }
  const Compute single{1, &one_rank()};
  parallel_for(count, compute, [&](std::size_t i) { one(i, single); });
}

}  // namespace moekit::train
