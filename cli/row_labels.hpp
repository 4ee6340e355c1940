#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace moekit::cli {

/// A label for each row, as numbers of distinct texts in numeric order if all are numbers, else by bytes.
struct RowLabels {
  std::vector<std::string> names;
  std::vector<std::uint32_t> of_row;
};

/// One label a line. Errors: Errc::no_input; Errc::data for an empty line, more than 10,000 distinct labels,
/// or another number of lines than rows.
RowLabels read_labels(const std::string& path, std::uint64_t rows);

}  // namespace moekit::cli
