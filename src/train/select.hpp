#pragma once
#include "train/start_run.hpp"

namespace moekit::train {

/// Short runs from several kinds of start, the best few finished (Biernacki, Celeux & Govaert 2003), the
/// degenerate refused. Candidates come back best first; those refused or not finished stand after them.
/// `prototype`: K experts, parameters at zero.
std::vector<Candidate> search(const SearchTask& task, const Mixture& prototype, bool& stopped);

/// Share of rows that two partitions put differently, regions matched greedily by overlap.
double partition_difference(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b,
                            std::size_t regions);

}  // namespace moekit::train
