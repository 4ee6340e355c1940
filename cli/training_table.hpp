#pragma once
#include <string>
#include <vector>

#include "console.hpp"
#include "options.hpp"

namespace moekit::cli {

/// Reads the table, prints the types found and the reader's notes.
Table read_training_table(const FitArgs& args, const ReadOptions& options, const Common& common,
                          Console& console);

/// The texts of a carried column, one a row.
std::vector<std::string> carried_texts(const Table& table, const std::string& column);

/// Numbers for texts: 0, 1, ... in the order of the distinct texts, numeric if all are numbers, else by
/// bytes.
struct Grouping {
  std::vector<std::string> names;
  std::vector<std::uint32_t> of_row;
};
/// Errors: Errc::data for an empty text, naming file and line.
Grouping group_rows(const Table& table, const std::string& file, const std::string& column);

/// Where rows are cut off a table, for --validation or --conformal: drawn by the seed, for each option apart;
/// both parts in file order.
struct Split {
  std::vector<std::uint64_t> train, held;
};
/// Errors: Errc::usage when one part would be empty.
Split split_rows(std::uint64_t rows, double fraction, const std::string& option, std::uint64_t seed);

/// "fit: start 3 of 10, pass 120, log-likelihood -431.2" for the progress line.
OnIteration progress_of_fit(Console& console, const std::string& before);

}  // namespace moekit::cli
