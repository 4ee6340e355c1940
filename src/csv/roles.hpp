#pragma once
#include <limits>
#include <string>
#include <vector>

#include "moekit/csv.hpp"

namespace moekit::csv {

inline constexpr std::size_t kNoColumn = std::numeric_limits<std::size_t>::max();

/// What the columns of a training file are for.
struct Roles {
  std::size_t target = kNoColumn, weights = kNoColumn, offset = kNoColumn;
  std::vector<std::size_t> further_targets;
  std::vector<std::size_t> inputs;         ///< in the order of the file
  std::vector<std::size_t> carried;        ///< ids, then carry; a column may be among both
  std::vector<bool> categorical, numeric;  ///< for each column of the file: the user insists
};

/// Errors: Errc::usage for a column in two roles, Errc::data for a name that the header does not hold.
Roles assign_roles(const std::string& file, const std::vector<std::string>& header,
                   const ReadOptions& options);

}  // namespace moekit::csv
