#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace moekit::cli {

/// Which fold every row is in: 0 .. count - 1, none of them empty.
struct Folds {
  std::uint32_t count = 0;
  std::vector<std::uint32_t> of_row;

  std::vector<std::uint64_t> rows_in(std::uint32_t fold) const;
  std::vector<std::uint64_t> rows_outside(std::uint32_t fold) const;
};

/// Deals whole groups to `count` folds in an order drawn from the seed, each to the fold with the fewest
/// rows. There are at most as many folds as groups. group_of_row: 0 .. groups - 1.
Folds deal_groups(const std::vector<std::uint32_t>& group_of_row, std::uint32_t groups, std::uint32_t count,
                  std::uint64_t seed);
/// Deals single rows, in an order drawn from the seed, so that every fold gets its part of every stratum
/// (the class of each row; all 0 for regression).
Folds deal_rows(const std::vector<std::uint32_t>& stratum_of_row, std::uint32_t count, std::uint64_t seed);

}  // namespace moekit::cli
