#pragma once
#include <functional>
#include <string>
#include <vector>

#include "moekit/fit.hpp"
#include "train/em.hpp"

namespace moekit::train {

/// The penalty that options mean for a target (defined beside fit()).
Penalty penalty_of(const FitOptions& options, const Schema& schema);

/// A start on its way: its line in the table of starts, its parameters and how its fit went.
struct Candidate {
  Start start;
  Mixture mixture;
  EmResult result;
};

/// What the search of one K needs to know.
struct SearchTask {
  const Schema& schema;
  const Source& source;
  const FitOptions& options;
  const Compute& compute;
  const OnIteration& on_iteration;
  Penalty penalty;
};

/// How the rows of a task are climbed: tolerances go by the kind of penalty.
EmOptions em_options(const SearchTask& task, int passes);

/// Short runs from several kinds of start, the best few finished (Biernacki, Celeux & Govaert 2003), the
/// degenerate refused. Candidates come back best first; those refused or not finished stand after them.
/// `prototype`: K experts, parameters at zero.
std::vector<Candidate> search(const SearchTask& task, const Mixture& prototype, bool& stopped);

/// Calls one(i, compute) for every start: side by side on one thread each while there are few rows, in turn
/// on all threads when the rows are worth sharing out.
void for_each_start(std::size_t count, std::uint64_t rows, const Compute& compute,
                    const std::function<void(std::size_t, const Compute&)>& one);

/// Share of rows that two partitions put differently, regions matched greedily by overlap.
double partition_difference(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b,
                            std::size_t regions);

}  // namespace moekit::train
