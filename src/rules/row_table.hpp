#pragma once
#include <cstdint>
#include <vector>

#include "moekit/predict.hpp"

namespace moekit::rules {

/// A row that was kept.
struct Kept {
  std::uint64_t key = 0;
  double weight = 1;
  std::uint32_t region = 0;
  std::vector<double> numeric;        // NaN: missing
  std::vector<std::uint32_t> levels;  // number of levels: missing or new
};

/// Rows as the tree sees them: every input as a column of small codes. A numeric input is cut at values
/// between neighbours, at most kMostCuts of them, evenly over the rows.
class RowTable {
 public:
  static constexpr std::uint16_t kMissing = 0xffff;
  static constexpr std::size_t kMostCuts = 255;

  RowTable(const Schema& schema, const std::vector<Kept>& rows, uword regions);

  struct Input {
    const Column* column = nullptr;
    std::vector<double> cuts;  // numeric: code c means cuts[c - 1] < x <= cuts[c]
    std::uint16_t codes = 0;   // how many there are beside kMissing
    bool has_missing = false;
    std::vector<std::uint16_t> code;  // rows
    bool numeric() const { return column->kind == ColumnKind::numeric; }
  };

  std::size_t rows() const { return region.size(); }
  std::vector<Input> inputs;
  std::vector<std::uint32_t> region;
  std::vector<double> weight;
  uword regions = 0;

 private:
  void add(Input input);
  void add_numeric(const Column& column, const std::vector<Kept>& rows);
  void add_levels(const Column& column, const std::vector<Kept>& rows);
};

}  // namespace moekit::rules
