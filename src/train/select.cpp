#include "train/select.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moekit/error.hpp"
#include "same_experts.hpp"
#include "train/arrange.hpp"
#include "train/grow.hpp"
#include "train/level.hpp"
#include "train/outliers.hpp"
#include "train/starts.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kDearPass = 20'000'000;       // rows x features x experts: finish one start only
constexpr std::uint64_t kFinishAllWork = 20'000'000;  // rows x features x experts x restarts: finish all
constexpr int kSamplePasses = 100,
              kRacePasses = 24;  // on the sample: all of them, and before stragglers leave
constexpr double kCatchUp = 5;   // a straggler may speed up so many times and still be seen off
constexpr double kNear = 0.05;   // a place by its score: no other optimum of a sample is so much alike
constexpr double kHopeless = 5;  // behind by so many standard errors of the sample

void refuse(Candidate& c, const std::string& reason) {
  c.start.refused = true;
  c.start.reason = reason;
}

/// Under the evidence no expert can shrink to a spike; the other fits are judged at convergence.
void judge(Candidate& c, const SearchTask& task) {
  if (!std::isfinite(c.result.objective)) return refuse(c, "not a number");
  if (family_traits(c.mixture.experts->name()).heavy_tails && c.mixture.count() > 1) {
    const MemorySource rows = sample_rows(task.source, kSampleRows, task.options.seed);
    const std::string reason = serves_outliers(c.mixture, task.schema, rows);
    if (!reason.empty()) return refuse(c, reason);
  }
  if (task.penalty.mode == Penalty::Mode::evidence || c.mixture.count() == 1) return;
  for (uword k = 0; k < c.mixture.count(); ++k) {
    const std::string reason = c.mixture.experts->degenerate(k, c.result.sums.rows[k]);
    if (reason.empty()) continue;
    if (++c.degenerate == 1) refuse(c, reason);
  }
  // Without a penalty such a place is a saddle, where EM stands still; fewer experts are as likely.
  if (task.penalty.mode == Penalty::Mode::none && c.degenerate == 0 && same_experts(c.mixture)) {
    c.degenerate = 1;
    refuse(c, "two experts are the same");
  }
}

/// Can an M step fit parameters to a partition? Networks begin at random.
bool closed(const Mixture& m) { return m.gate->closed_step() && m.experts->closed_step(); }

constexpr std::uint64_t kWeightStream = 0x77656967;

void random_weights(Mixture& m, std::uint64_t seed, std::uint64_t start) {
  m.gate->randomise(Rng(seed, kWeightStream, 2 * start));
  m.experts->randomise(Rng(seed, kWeightStream, 2 * start + 1));
}

/// The starts of a search, in turn; what begins from given parameters comes after them.
std::vector<std::string> kinds_of_starts(const SearchTask& task, const Mixture& prototype) {
  if (!task.options.initial_region.empty()) return {"given"};
  if (!closed(prototype))
    return std::vector<std::string>(std::max(1, task.options.restarts), "random weights");
  if (prototype.count() == 1) return {"single"};
  const std::vector<std::string>& kinds =
      gate_traits(prototype.gate->name()).hierarchy ? hierarchy_start_kinds() : start_kinds();
  std::vector<std::string> all;
  for (int i = 0; i < std::max(1, task.options.restarts); ++i) all.push_back(kinds[i % kinds.size()]);
  if (task.grown && task.grown->count() == prototype.count()) all.push_back("growth path");
  return all;
}

/// A tree of regions that a flat gate has found: a poor cut near the root is hard to mend later, while a flat
/// gate moves all regions at once.
void fit_flat_first(Mixture& mixture, const SearchTask& task, const Source& rows, const Compute& compute,
                    const StartData& data, const std::vector<std::uint32_t>& region, const Watch& watch) {
  constexpr int kFlatPasses = 60, kGatePasses = 8;
  Candidate flat{{}, mixture, {}};
  const GateShape shape{mixture.count(), mixture.gate_basis.groups()};
  flat.mixture.gate = Value<GateFamily>(make_gate("softmax", shape));
  fit_regions(flat.mixture, task, rows, compute, region);
  run(flat, task, rows, compute, kFlatPasses, watch);
  mixture.experts = flat.mixture.experts;
  const mat shares = responsibilities(flat.mixture, task.schema, rows);
  Arrangement tree = arrange_experts(data.x, shares);
  for (Field& field : mixture.gate->fields()) {
    if (field.name == "place") std::ranges::copy(tree.place, field.values.begin());
    if (field.name == "depth") std::ranges::copy(tree.depth, field.values.begin());
  }
  PassSums sums;
  for (int pass = 0; pass < kGatePasses; ++pass) {
    given_pass(mixture, task.schema, rows, compute, shares, sums);
    mixture.gate->update(sums.gate, task.penalty);
  }
}

/// Every start with its short run, on the rows it was drawn from.
std::vector<Candidate> short_runs(const SearchTask& task, const Mixture& prototype, const Source& rows,
                                  Progress& progress) {
  const std::vector<std::string> kinds = kinds_of_starts(task, prototype);
  const bool hierarchy = gate_traits(prototype.gate->name()).hierarchy;
  const bool drawn = prototype.count() > 1 && task.options.initial_region.empty() && closed(prototype);
  const StartData data = drawn ? start_data(prototype, task.schema, rows) : StartData{};
  // Picks of a gate that knows nothing yet would keep experts from their rows: routing begins when it does.
  Mixture dense = prototype;
  dense.routing = RoutingRule{};
  std::vector<Candidate> all(kinds.size(), Candidate{{}, dense, {}});
  for_each_start(all.size(), rows.rows(), task.compute, [&](std::size_t i, const Compute& own) {
    Candidate& c = all[i];
    c.start.kind = kinds[i];
    const Watch watch = progress.watch(static_cast<int>(i));
    if (kinds[i] == "random weights") {
      random_weights(c.mixture, task.options.seed, i);
    } else if (kinds[i] == "growth path") {
      c.mixture = *task.grown;
    } else if (kinds[i] == "grown") {
      Grower grower(task, dense, rows, own, i, watch);
      grower.grow_to(prototype.count());
      grower.improve();
      c.mixture = grower.mixture();
    } else {
      std::vector<std::uint32_t> region(rows.rows(), 0);
      if (!task.options.initial_region.empty())
        region = task.options.initial_region;
      else if (drawn)
        region = draw_start(kinds[i], data, prototype.count(), Rng(task.options.seed, 1 + i));
      if (drawn && hierarchy)
        fit_flat_first(c.mixture, task, rows, own, data, region, watch);
      else
        fit_regions(c.mixture, task, rows, own, region);
    }
    run(c, task, rows, own, kShortPasses, watch);
    c.mixture.routing = c.mixture.count() == prototype.count() ? prototype.routing : RoutingRule{};
    if (c.mixture.count() < prototype.count()) return refuse(c, "fewer experts could be told apart");
    if (!std::isfinite(c.start.score)) refuse(c, "not a number");
  });
  return all;
}

std::uint64_t work_of_pass(const Mixture& m, std::uint64_t rows) {
  return rows * (m.gate_basis.size() + m.expert_basis.size()) * m.count();
}

/// The best few so far: at least `least`, and at least one in `part`.
std::vector<std::size_t> best_few(const std::vector<Candidate>& all, std::size_t least, std::size_t part) {
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (all[a].start.refused != all[b].start.refused) return all[b].start.refused;
    return all[a].start.score > all[b].start.score;
  });
  while (!order.empty() && all[order.back()].start.refused) order.pop_back();
  order.resize(std::min(order.size(), std::max(least, (all.size() + part - 1) / part)));
  return order;
}

/// Whom to finish: the best few of the short runs, all if that costs little.
std::vector<std::size_t> finalists(const std::vector<Candidate>& all, std::uint64_t rows) {
  const bool cheap = work_of_pass(all[0].mixture, rows) * all.size() <= kFinishAllWork;
  return best_few(all, 3, cheap ? 1 : 3);
}

void finish(std::vector<Candidate>& all, const std::vector<std::size_t>& chosen, const SearchTask& task,
            const Source& rows, int passes, Progress& progress) {
  for_each_start(chosen.size(), rows.rows(), task.compute, [&](std::size_t i, const Compute& own) {
    Candidate& c = all[chosen[i]];
    run(c, task, rows, own, passes, progress.watch(static_cast<int>(chosen[i])));
    c.start.finished = true;
    judge(c, task);
  });
}

/// Of those that ran kRacePasses on the sample: who has not arrived but may still overtake the best. The
/// marks of the others who have not arrived are taken back.
std::vector<std::size_t> within_reach(std::vector<Candidate>& all, const std::vector<std::size_t>& raced) {
  double best = -arma::datum::inf;
  for (const std::size_t i : raced)
    if (!all[i].start.refused) best = std::max(best, all[i].start.score);
  constexpr double left = static_cast<double>(kSamplePasses - kRacePasses) / kRacePasses;
  std::vector<std::size_t> next;
  for (const std::size_t i : raced) {
    Candidate& c = all[i];
    if (c.start.refused || c.result.status == EmResult::Status::converged) continue;
    const double gain = c.result.trace.back() - c.result.trace.front();
    if (c.start.score + kCatchUp * left * gain >= best)
      next.push_back(i);
    else
      c.start.finished = false;
  }
  return next;
}

/// Did both arrive at the same place of the sample?
bool met(const Candidate& a, const Candidate& b) {
  return a.result.status == EmResult::Status::converged && b.result.status == EmResult::Status::converged &&
         std::abs(a.start.score - b.start.score) < kNear;
}

/// A start that is finished on all rows, and those that met it on the sample.
struct Finalist {
  std::size_t start;
  std::vector<std::size_t> companions;
};

/// Of those that were finished on a sample the two best places, one if passes are dear or the second has no
/// hope; the marks are taken back.
std::vector<Finalist> best_places(std::vector<Candidate>& all, const SearchTask& task,
                                  std::uint64_t sampled) {
  const std::size_t most = work_of_pass(all[0].mixture, task.source.rows()) > kDearPass ? 1 : 2;
  // Where the log densities of a row under two models differ by about 1, their sums do by the root of the
  // rows.
  const double hopeless = kHopeless * std::sqrt(static_cast<double>(sampled));
  std::vector<Finalist> places;
  for (const std::size_t i : best_few(all, all.size(), 1)) {
    if (!all[i].start.finished) continue;
    const auto same =
        std::ranges::find_if(places, [&](const Finalist& place) { return met(all[place.start], all[i]); });
    if (same != places.end())
      same->companions.push_back(i);
    else if (places.size() < most &&
             (places.empty() || all[places[0].start].start.score - all[i].start.score < hopeless))
      places.push_back({i, {}});
  }
  for (Candidate& c : all) c.start.finished = false;
  return places;
}

/// On all rows; who met on the sample shares the result.
void finish_places(std::vector<Candidate>& all, const std::vector<Finalist>& places, const SearchTask& task,
                   Progress& progress) {
  std::vector<std::size_t> chosen;
  for (const Finalist& place : places) chosen.push_back(place.start);
  finish(all, chosen, task, task.source, task.options.max_iterations, progress);
  for (const Finalist& place : places)
    for (const std::size_t i : place.companions) {
      const Start own = all[i].start;
      all[i] = all[place.start];
      all[i].start.kind = own.kind;
      all[i].start.iterations = own.iterations;
    }
}

/// While every finished start was refused, the next best are finished: a short run is nobody's model.
void finish_until_one_stands(std::vector<Candidate>& all, const SearchTask& task, Progress& progress) {
  const auto stands = [](const Candidate& c) { return c.start.finished && !c.start.refused; };
  while (!progress.stopped() && std::none_of(all.begin(), all.end(), stands)) {
    std::vector<std::size_t> next = best_few(all, 3, all.size());
    if (next.empty()) return;
    finish(all, next, task, task.source, task.options.max_iterations, progress);
  }
}

void compare_partitions(std::vector<Candidate>& all, const SearchTask& task, const Source& rows) {
  std::vector<std::uint32_t> best;
  for (Candidate& c : all) {
    if (!c.start.finished) continue;
    const auto own = hard_partition(c.mixture, task.schema, rows);
    if (best.empty()) best = own;
    c.start.difference = partition_difference(best, own, c.mixture.count());
  }
}

/// Where starts begin: all rows, or a sample of many.
class StartingRows {
 public:
  explicit StartingRows(const SearchTask& task)
      : all_(task.source), sampled_(task.source.rows() > kSampleRows && task.options.initial_region.empty()) {
    if (sampled_) sample_ = sample_rows(task.source, kSampleRows, task.options.seed);
  }
  bool sampled() const { return sampled_; }
  const Source& rows() const { return sampled_ ? static_cast<const Source&>(sample_) : all_; }

 private:
  const Source& all_;
  bool sampled_;
  MemorySource sample_;
};

/// Short runs of every start; the best are finished.
std::vector<Candidate> short_then_best(const SearchTask& task, const Mixture& prototype,
                                       const StartingRows& start, Progress& progress) {
  const Source& rows = start.rows();
  std::vector<Candidate> all = short_runs(task, prototype, rows, progress);
  if (start.sampled()) {
    // Passes over the sample are cheaper: only the two that get furthest there see all rows.
    const std::vector<std::size_t> raced = finalists(all, rows.rows());
    finish(all, raced, task, rows, kRacePasses, progress);
    finish(all, within_reach(all, raced), task, rows, kSamplePasses - kRacePasses, progress);
    finish_places(all, best_places(all, task, rows.rows()), task, progress);
  } else {
    finish(all, finalists(all, rows.rows()), task, rows, task.options.max_iterations, progress);
  }
  finish_until_one_stands(all, task, progress);
  return all;
}

/// Mini-batches: every start runs its epochs once, from random weights, and the best is kept.
std::vector<Candidate> descend(const SearchTask& task, const Mixture& prototype, Progress& progress) {
  std::vector<Candidate> all(static_cast<std::size_t>(std::max(1, task.options.restarts)),
                             Candidate{{}, prototype, {}});
  const Mixture constant = constant_expert(task, prototype);
  for (std::size_t i = 0; i < all.size() && !progress.stopped(); ++i) {
    Candidate& c = all[i];
    c.start.kind = "random weights";
    random_weights(c.mixture, task.options.seed, i);
    add_level(c.mixture, constant);
    run(c, task, task.source, task.compute, 0, progress.watch(static_cast<int>(i)));
    c.start.finished = true;
    if (!std::isfinite(c.result.objective)) {
      refuse(c, "not a number");
    } else if (const std::string note = note_of_descent(c, constant, task); !note.empty()) {
      c.result.notes.push_back(note);
    }
  }
  return all;
}

}  // namespace

double partition_difference(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b,
                            std::size_t regions) {
  if (a.empty()) return 0;
  std::vector<std::uint64_t> table(regions * regions, 0);
  for (std::size_t i = 0; i < a.size(); ++i) ++table[a[i] * regions + b[i]];
  std::uint64_t same = 0;
  std::vector<bool> row(regions, false), column(regions, false);
  for (std::size_t m = 0; m < regions; ++m) {
    std::size_t r = regions, c = 0;
    for (std::size_t i = 0; i < regions; ++i)
      for (std::size_t j = 0; j < regions; ++j)
        if (!row[i] && !column[j] && (r == regions || table[i * regions + j] > table[r * regions + c])) {
          r = i;
          c = j;
        }
    row[r] = column[c] = true;
    same += table[r * regions + c];
  }
  return 1 - static_cast<double>(same) / static_cast<double>(a.size());
}

std::vector<Candidate> search(const SearchTask& task, const Mixture& prototype, bool& stopped) {
  const bool in_batches = task.options.method == Method::adam || task.options.method == Method::sgd;
  Progress progress(task.on_iteration, std::max(1, task.options.restarts));
  const StartingRows start(task);
  std::vector<Candidate> all =
      in_batches ? descend(task, prototype, progress) : short_then_best(task, prototype, start, progress);
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    const auto rank = [](const Candidate& c) { return c.start.refused ? 2 : (c.start.finished ? 0 : 1); };
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return a.start.score > b.start.score;
  });
  if (all.size() > 1) compare_partitions(all, task, start.rows());
  stopped = progress.stopped();
  return all;
}

}  // namespace moekit::train
