#pragma once
#include <vector>

#include "moekit/diagnose.hpp"

namespace moekit::cli {

/// The inputs of a row that nobody measured: where a model is looked at.
struct TypicalRow {
  std::vector<double> numeric;        ///< by Column::index
  std::vector<std::uint32_t> levels;  ///< by Column::index
  /// Sets an input; of a category the level nearest to `value`.
  void set(const Column& column, double value);
};

/// Means and most frequent levels of the training rows.
TypicalRow typical_row(const Schema& schema);
/// The same of region k in the diagnosed rows.
TypicalRow typical_row(const Schema& schema, const Region& region);

/// Calls use(block, first) for blocks of `count` rows made by row(i), few enough at a time for any number of
/// inputs.
template <class Row, class Use>
void in_blocks(const Schema& schema, std::size_t count, const Row& row, const Use& use) {
  constexpr std::size_t kMostCells = 4'000'000;
  const std::size_t most = std::clamp(kMostCells / (schema.inputs.size() + 1), std::size_t{1},
                                      static_cast<std::size_t>(kBlockRows));
  BlockData data;
  for (std::size_t first = 0; first < count; first += most) {
    data.rows = std::min(most, count - first);
    data.numeric.resize(data.rows * schema.numeric_inputs());
    data.levels.resize(data.rows * schema.categorical_inputs());
    for (std::size_t i = 0; i < data.rows; ++i) {
      const TypicalRow of = row(first + i);
      for (std::size_t j = 0; j < of.numeric.size(); ++j) data.numeric[j * data.rows + i] = of.numeric[j];
      for (std::size_t j = 0; j < of.levels.size(); ++j) data.levels[j * data.rows + i] = of.levels[j];
    }
    use(data.view(), first);
  }
}

}  // namespace moekit::cli
