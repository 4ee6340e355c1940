#pragma once
#include <vector>

#include "train/start_run.hpp"

namespace moekit::train {

/// How many experts there should be, and how it was found.
struct Growth {
  Mixture mixture;               ///< of the chosen size, fitted to part of the rows
  std::vector<GrowthStep> path;  ///< by size, rising
};

/// Finds the number of experts: a mixture grows expert by expert on part of the rows while the rows held back
/// gain more than one standard error; then it loses, one by one, the experts that are missed least. Chosen is
/// the smallest size whose held-out log-likelihood is at most one standard error (of the difference, row by
/// row) below the best; one expert is always among them. A fifth of the rows is held back; of few rows every
/// fifth in turn. `prototype`: parameters at zero, any number of experts.
Growth grow_by_held_out(const SearchTask& task, const Mixture& prototype, bool& stopped);

}  // namespace moekit::train
