#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "moekit/fit.hpp"
#include "train/em.hpp"

namespace moekit::train {

/// A start on its way: its line in the table of starts, its parameters and how its fit went.
struct Candidate {
  Start start;
  Mixture mixture;
  EmResult result;
  uword degenerate = 0;  ///< experts that it was refused for
};

/// What the search of one K needs to know.
struct SearchTask {
  const Schema& schema;
  const Source& source;
  const FitOptions& options;
  const Compute& compute;
  const OnIteration& on_iteration;
  Penalty penalty;
  const Mixture* grown = nullptr;  ///< parameters to begin one more start from, or null
};

/// The penalty that options mean for a target.
Penalty penalty_of(const FitOptions& options, const Schema& schema);

/// How the rows of a task, or some of them, are climbed: tolerances go by the kind of penalty.
EmOptions em_options(const SearchTask& task, const Source& rows, int passes);

/// Progress and the wish to stop, from many threads.
class Progress {
 public:
  Progress(const OnIteration& call, int starts) : call_(call), starts_(starts) {}
  Watch watch(int start);
  bool stopped() const { return stopped_; }

 private:
  const OnIteration& call_;
  int starts_;
  std::mutex mutex_;
  bool stopped_ = false;
};

inline constexpr std::uint64_t kSampleRows = 16384;  ///< starts and short runs see at most so many rows
inline constexpr int kShortPasses = 12;

/// Rows for the starts: all, or a random sample in the order of the rows.
MemorySource sample_rows(const Source& source, std::uint64_t most, std::uint64_t seed);

/// Parameters from a partition: a few M steps with fixed responsibilities.
void fit_regions(Mixture& mixture, const SearchTask& task, const Source& rows, const Compute& compute,
                 const std::vector<std::uint32_t>& region);

/// By the method of the options, from the mixture's parameters.
EmResult climb(Mixture& mixture, const SearchTask& task, const Source& rows, const EmOptions& em,
               const Compute& compute, const Watch& watch, const Unit& unit);

/// Goes on with EM for so many passes at most.
void run(Candidate& c, const SearchTask& task, const Source& rows, const Compute& compute, int passes,
         const Watch& watch);

/// Calls one(i, compute) for every task of `rows` rows: side by side on one thread each while there are few
/// rows, in turn on all threads when the rows are worth sharing out.
void for_each_start(std::size_t count, std::uint64_t rows, const Compute& compute,
                    const std::function<void(std::size_t, const Compute&)>& one);

}  // namespace moekit::train
