#include "standard_errors/bootstrap.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "moekit/diagnose.hpp"
#include "moekit/rng.hpp"
#include "standard_errors/match_experts.hpp"
#include "train/select.hpp"

namespace moekit::errors {

namespace {

constexpr std::uint64_t kStream = 0xb0075;
/// A refit that stops early stays near where it began, and the spread is too small.
constexpr double kTolerance = 1e-9;
/// Fewer replicates say nothing of a spread.
constexpr int kFewest = 10;
/// Up to so many rows replicates run side by side; above, the rows of a pass are shared out.
constexpr std::uint64_t kParallelRows = 65536;

/// As many draws as there are rows, with replacement.
std::vector<std::uint32_t> draw_counts(std::uint64_t rows, std::uint64_t seed, std::uint64_t replicate) {
  Rng rng(seed, kStream, replicate);
  std::vector<std::uint32_t> counts(rows, 0);
  for (std::uint64_t i = 0; i < rows; ++i) ++counts[rng.below(rows)];
  return counts;
}

vec estimates(const Model& model) {
  std::vector<double> all;
  for (const Coefficient& c : coefficients(model)) all.push_back(c.estimate);
  return vec(all);
}

bool usable(const Mixture& m, const train::EmResult& result, const Penalty& penalty) {
  if (!std::isfinite(result.objective)) return false;
  if (penalty.mode == Penalty::Mode::evidence || m.count() == 1) return true;
  for (uword k = 0; k < m.count(); ++k)
    if (!m.experts->degenerate(k, result.sums.rows[k]).empty()) return false;
  return true;
}

/// The coefficients of one replicate less those of the model; empty if its fit was refused.
vec replicate_shift(const Model& model, const vec& centre, const Resampled& rows, const Source& source,
                    const FitOptions& fit, const Compute& compute) {
  const OnIteration silent;
  const train::SearchTask task{model.schema, rows,   fit,
                               compute,      silent, train::penalty_of(fit, model.schema)};
  train::EmOptions em = train::em_options(task, rows, fit.max_iterations);
  em.tolerance = std::min(em.tolerance, kTolerance);
  em.enough = 0;
  Mixture m = model.members.front();
  train::EmResult result;
  const train::Unit unit = train::unit_of(fit.checkpoint, m, model.schema, rows, compute, em, fit.seed);
  const auto finished = [&](Archive& archive) {
    train::archive_mixture(archive, m);
    train::archive_result(archive, result);
  };
  if (!unit.restore(finished)) {
    result = train::run_em(m, model.schema, rows, em, compute, {}, unit);
    unit.finish(finished);
  }
  if (!usable(m, result, task.penalty)) return {};
  m.select(match_experts(model.members.front(), m, model.schema, source, compute));
  Model refit;
  refit.schema = model.schema;
  refit.family = model.family;
  refit.gate_family = model.gate_family;
  refit.members.push_back(std::move(m));
  const vec shift = estimates(refit) - centre;
  return shift.is_finite() ? shift : vec();
}

}  // namespace

Block Resampled::read(std::size_t i, BlockData& buffer) const {
  Block block = source_.read(i, buffer);
  std::vector<double> weight(block.rows);
  for (uword row = 0; row < block.rows; ++row)
    weight[row] = (block.weight ? block.weight[row] : 1.0) * counts_[block.first + row];
  buffer.weight = std::move(weight);
  block.weight = buffer.weight.data();
  return block;
}

Bootstrap bootstrap(const Model& model, const Source& source, int replicates, const FitOptions& fit,
                    const Compute& compute, const OnIteration& on_iteration) {
  const vec centre = estimates(model);
  std::vector<vec> shifts(replicates);
  std::mutex mutex;
  bool stopped = false;
  int done = 0;
  const auto one = [&](std::size_t i, const Compute& own) {
    {
      const std::lock_guard lock(mutex);
      if (!stopped && on_iteration)
        stopped = on_iteration({static_cast<int>(i), replicates, done, model.provenance.log_likelihood}) ==
                  Next::stop;
      if (stopped) return;
    }
    const Resampled rows(source, draw_counts(source.rows(), fit.seed, i));
    shifts[i] = replicate_shift(model, centre, rows, source, fit, own);
    const std::lock_guard lock(mutex);
    ++done;
  };
  if (source.rows() > kParallelRows || compute.comm->size() > 1) {
    for (int i = 0; i < replicates; ++i) one(i, compute);
  } else {
    const Compute single{1, &one_rank()};
    parallel_for(replicates, compute, [&](std::size_t i) { one(i, single); });
  }

  Bootstrap out;
  vec mean(centre.n_elem, arma::fill::zeros);
  for (const vec& s : shifts)
    if (!s.is_empty()) mean += s, ++out.replicates;
  out.refused = done - out.replicates;
  if (out.replicates < kFewest) return out;
  mean /= out.replicates;
  vec squares(centre.n_elem, arma::fill::zeros);
  for (const vec& s : shifts)
    if (!s.is_empty()) squares += arma::square(s - mean);
  out.deviation = arma::sqrt(squares / (out.replicates - 1));
  return out;
}

}  // namespace moekit::errors
