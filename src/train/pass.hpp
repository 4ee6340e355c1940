#pragma once
#include <span>
#include <vector>

#include "moekit/model.hpp"

namespace moekit::train {

/// Everything one pass over the rows adds up at the current parameters.
struct PassSums {
  double log_likelihood = 0;  ///< weighted, on the standardised target
  double log_input = 0;       ///< of the features, under a gate that has a density of them
  double weight = 0;          ///< sum of row weights
  double joint() const { return log_likelihood + log_input; }
  std::vector<double> rows;  ///< K: sum of responsibilities of each expert
  std::vector<double> gate, experts;
};

/// E step and the sums of both M steps, in one pass.
void em_pass(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
             PassSums& out);

/// The same with responsibilities given by a region for each row: `firmness` for the row's region, the rest
/// shared by all. region: one of 0 .. K - 1 for each row of the source.
void region_pass(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
                 std::span<const std::uint32_t> region, double firmness, PassSums& out);

/// The same with given responsibilities: n x K, rows in the order of the source, not times weight.
void given_pass(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
                const mat& responsibility, PassSums& out);

/// Responsibilities of every row: n x K.
mat responsibilities(const Mixture& mixture, const Schema& schema, const Source& source);

/// The most responsible expert of each row.
std::vector<std::uint32_t> hard_partition(const Mixture& mixture, const Schema& schema, const Source& source);

}  // namespace moekit::train
