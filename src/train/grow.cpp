#include "train/grow.hpp"

#include <algorithm>
#include <cmath>

#include "train/starts.hpp"

namespace moekit::train {

namespace {

constexpr int kLocalPasses = 25;              // EM on the rows of one expert
constexpr int kRefinePasses = 30;             // of all experts, after a split
constexpr int kSharePasses = 3;               // M steps with the responsibilities of the split
constexpr int kExchanges = 8, kFailures = 3;  // tries of improve(), and how many in a row may fail
constexpr double kCounts = 0.02;              // a row belongs to an expert from this responsibility on
constexpr double kLeastRows = 10;             // an expert that answers for fewer is not split
constexpr double kIdle = 1e-3;                // of an equal share: an expert below is dropped
constexpr double kStale = 0.1;                // a proposal is made anew when its rows changed by more
constexpr const char* kKinds[] = {"tree", "lines", "k-means", "tree", "slices", "residuals"};

/// The chosen rows with weights of their own.
MemorySource weighted_rows(const Source& rows, const std::vector<std::uint64_t>& chosen,
                           const std::vector<double>& weight) {
  MemorySource out = take_rows(rows, chosen);
  std::size_t at = 0;
  for (std::size_t b = 0; b < out.blocks(); ++b) {
    BlockData& block = out.data(b);
    const auto begin = weight.begin() + static_cast<std::ptrdiff_t>(at);
    block.weight.assign(begin, begin + static_cast<std::ptrdiff_t>(block.rows));
    at += block.rows;
  }
  return out;
}

vec weights_of(const Source& rows) {
  vec out(rows.rows(), arma::fill::ones);
  BlockData buffer;
  for (std::size_t b = 0; b < rows.blocks(); ++b) {
    const Block block = rows.read(b, buffer);
    for (uword i = 0; block.weight && i < block.rows; ++i) out[block.first + i] = block.weight[i];
  }
  return out;
}

Mixture with_experts(Mixture prototype, uword experts) {
  prototype.select(std::vector<uword>{0});
  prototype.select(std::vector<uword>(experts, 0));
  return prototype;
}

}  // namespace

Grower::Grower(const SearchTask& task, const Mixture& prototype, const Source& rows, const Compute& compute,
               std::uint64_t stream, Watch watch)
    : task_(task),
      rows_(rows),
      compute_(compute),
      stream_(stream),
      watch_(std::move(watch)),
      one_(with_experts(prototype, 1)),
      two_(with_experts(prototype, 2)),
      now_{{}, one_, {}},
      row_weight_(weights_of(rows)),
      proposal_(1) {
  fit_regions(now_.mixture, task, rows, compute, std::vector<std::uint32_t>(rows.rows(), 0));
  run(now_, task, rows, compute, kRefinePasses, watch_);
}

/// Fits `c` to the rows from a partition; its log-likelihood less the parameters that it takes.
double Grower::fit_alone(Candidate& c, const Source& rows, const std::vector<std::uint32_t>& region) const {
  const Compute single{1, &one_rank()};
  fit_regions(c.mixture, task_, rows, single, region);
  run(c, task_, rows, single, kLocalPasses, watch_);
  const double worth = c.result.sums.joint() - c.mixture.effective_parameters();
  return std::isfinite(worth) ? worth : -std::numeric_limits<double>::infinity();
}

void Grower::propose(uword j, Proposal& to) const {
  std::vector<std::uint64_t> chosen;
  std::vector<double> weight;
  double total = 0;
  for (uword i = 0; i < responsibility_.n_rows; ++i) {
    const double w = responsibility_(i, j) * row_weight_[i];
    total += w;
    if (responsibility_(i, j) < kCounts || !(w > 0)) continue;
    chosen.push_back(i);
    weight.push_back(w);
  }
  to = Proposal{};
  to.weight = total;
  if (chosen.size() < kLeastRows || !(total > 0)) return;
  const MemorySource local = weighted_rows(rows_, chosen, weight);
  Candidate whole{{}, one_, {}};
  const double before = fit_alone(whole, local, std::vector<std::uint32_t>(chosen.size(), 0));
  const StartData data = start_data(two_, task_.schema, local);
  for (std::size_t t = 0; t < std::size(kKinds); ++t) {
    Candidate c{{}, two_, {}};
    const Rng rng(task_.options.seed, 0x67726f77 + stream_, (mixture().count() << 32) + (j << 8) + t);
    const double gain = fit_alone(c, local, draw_start(kKinds[t], data, 2, rng)) - before;
    if (!(gain > to.gain)) continue;
    to.gain = gain;
    to.pair = std::move(c.mixture);
  }
}

/// Expert j becomes two, the second of them the last.
void Grower::take(uword j, const Mixture& pair) {
  std::vector<uword> from(mixture().count());
  for (uword k = 0; k < from.size(); ++k) from[k] = k;
  from.push_back(j);
  const mat part = responsibilities(pair, task_.schema, rows_);
  mat shared = arma::join_rows(responsibility_, responsibility_.col(j) % part.col(1));
  shared.col(j) %= part.col(0);
  now_.mixture.select(from);
  PassSums sums;
  for (int pass = 0; pass < kSharePasses; ++pass) {
    given_pass(now_.mixture, task_.schema, rows_, compute_, shared, sums);
    now_.mixture.gate->update(sums.gate, task_.penalty);
    now_.mixture.experts->update(sums.experts, task_.penalty);
  }
  proposal_[j] = Proposal{};
  proposal_.emplace_back();
}

/// Goes on with some of the experts.
void Grower::keep(const std::vector<uword>& experts) {
  std::vector<Proposal> proposal;
  for (const uword k : experts) proposal.push_back(std::move(proposal_[k]));
  proposal_ = std::move(proposal);
  now_.mixture.select(experts);
  run(now_, task_, rows_, compute_, kRefinePasses, watch_);
}

void Grower::drop_idle() {
  const std::vector<double>& rows = now_.result.sums.rows;
  const double least = kIdle * now_.result.sums.weight / static_cast<double>(rows.size());
  std::vector<uword> kept;
  for (uword k = 0; k < rows.size(); ++k)
    if (rows[k] >= least) kept.push_back(k);
  if (kept.size() < rows.size() && !kept.empty()) keep(kept);
}

bool Grower::split() {
  if (!std::isfinite(now_.start.score)) return false;
  responsibility_ = responsibilities(mixture(), task_.schema, rows_);
  const vec weight = (row_weight_.t() * responsibility_).t();
  std::vector<uword> stale;
  for (uword k = 0; k < proposal_.size(); ++k)
    if (!(std::abs(weight[k] - proposal_[k].weight) <= kStale * proposal_[k].weight)) stale.push_back(k);
  parallel_for(stale.size(), compute_, [&](std::size_t i) { propose(stale[i], proposal_[stale[i]]); });
  const auto best = std::ranges::max_element(proposal_, {}, &Proposal::gain);
  if (!best->pair.gate) return false;
  const Mixture pair = best->pair;
  const auto chosen = static_cast<uword>(best - proposal_.begin());
  best->gain = -std::numeric_limits<double>::infinity();  // tried: not again, should this be undone
  best->pair = Mixture{};
  proposal_before_ = proposal_;
  const Candidate before = now_;
  take(chosen, pair);
  run(now_, task_, rows_, compute_, kRefinePasses, watch_);
  if (!std::isfinite(now_.start.score)) {
    now_ = before;
    proposal_ = proposal_before_;
    return false;
  }
  drop_idle();
  return true;
}

void Grower::drop() {
  const uword count = mixture().count();
  const auto others = [&](uword k) {
    std::vector<uword> kept;
    for (uword j = 0; j < count; ++j)
      if (j != k) kept.push_back(j);
    return kept;
  };
  std::vector<double> left(count);
  parallel_for(count, compute_, [&](std::size_t k) {
    const Compute single{1, &one_rank()};
    Mixture without = mixture();
    without.select(others(k));
    PassSums sums;
    em_pass(without, task_.schema, rows_, single, sums);
    left[k] = sums.joint() - without.effective_parameters();
  });
  keep(others(static_cast<uword>(std::ranges::max_element(left) - left.begin())));
}

bool Grower::grow_to(uword experts) {
  // An expert that is dropped each time must not keep this going for ever.
  for (uword step = 0; mixture().count() < experts && step < 2 * experts; ++step)
    if (!split()) return false;
  return mixture().count() >= experts;
}

void Grower::improve() {
  constexpr double kEnough = 0.5;  // log units
  int failures = 0;
  for (int i = 0; i < kExchanges && failures < kFailures; ++i) {
    const Candidate before = now_;
    const double worth_before = worth();
    const uword count = mixture().count();
    if (!split()) {
      now_ = before;
      return;
    }
    std::vector<Proposal> proposal = proposal_before_;
    while (mixture().count() > count) drop();
    if (mixture().count() == count && worth() > worth_before + kEnough) {
      failures = 0;
      continue;
    }
    ++failures;
    now_ = before;
    proposal_ = std::move(proposal);
  }
}

}  // namespace moekit::train
