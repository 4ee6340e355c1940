#include "typical_row.hpp"

#include <algorithm>
#include <cmath>

namespace moekit::cli {

void TypicalRow::set(const Column& column, double value) {
  if (column.kind == ColumnKind::numeric) {
    numeric[column.index] = value;
    return;
  }
  const double last = static_cast<double>(column.levels.size()) - 1;
  levels[column.index] = static_cast<std::uint32_t>(std::clamp(std::round(value), 0.0, std::max(0.0, last)));
}

TypicalRow typical_row(const Schema& schema) {
  TypicalRow row;
  row.numeric.resize(schema.numeric_inputs());
  row.levels.resize(schema.categorical_inputs());
  for (const Column& column : schema.inputs) {
    if (column.kind == ColumnKind::numeric) {
      row.numeric[column.index] = column.mean;
      continue;
    }
    const auto end = column.shares.begin() + static_cast<std::ptrdiff_t>(column.levels.size());
    row.levels[column.index] =
        static_cast<std::uint32_t>(std::max_element(column.shares.begin(), end) - column.shares.begin());
  }
  return row;
}

TypicalRow typical_row(const Schema& schema, const Region& region) {
  TypicalRow row = typical_row(schema);
  // RegionColumns come in the order of the inputs, one a numeric column and one a level.
  auto entry = region.columns.begin();
  for (const Column& column : schema.inputs) {
    if (column.kind == ColumnKind::numeric) {
      if (entry->missing < 1 && std::isfinite(entry->mean)) row.numeric[column.index] = entry->mean;
      ++entry;
      continue;
    }
    double most = 0;
    for (std::uint32_t l = 0; l < column.levels.size(); ++l, ++entry)
      if (entry->mean > most) {
        most = entry->mean;
        row.levels[column.index] = l;
      }
  }
  return row;
}

}  // namespace moekit::cli
