#include "rules/row_table.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace moekit::rules {

namespace {

/// A number from a up to, but not, b with as few digits as can be: people are to read it.
double between(double a, double b) {
  const double middle = a / 2 + b / 2;
  char text[32];
  for (int digits = 1; digits <= 16; ++digits) {
    std::snprintf(text, sizeof text, "%.*g", digits, middle);
    const double value = std::strtod(text, nullptr);
    if (value >= a && value < b) return value;
  }
  return a;
}

}  // namespace

RowTable::RowTable(const Schema& schema, const std::vector<Kept>& rows, uword count) : regions(count) {
  for (const Kept& row : rows) {
    region.push_back(row.region);
    weight.push_back(row.weight);
  }
  for (const Column& column : schema.inputs)
    if (column.kind == ColumnKind::numeric)
      add_numeric(column, rows);
    else
      add_levels(column, rows);
}

void RowTable::add_numeric(const Column& column, const std::vector<Kept>& rows) {
  Input input;
  input.column = &column;
  std::vector<double> values;
  for (const Kept& row : rows)
    if (const double x = row.numeric[column.index]; !std::isnan(x)) values.push_back(x);
  std::sort(values.begin(), values.end());
  // A cut stands behind each value, or behind those at even places where there are too many.
  std::vector<double> different(values);
  different.erase(std::unique(different.begin(), different.end()), different.end());
  const std::size_t gaps = different.empty() ? 0 : different.size() - 1;
  if (gaps <= kMostCuts) {
    for (std::size_t i = 0; i < gaps; ++i) input.cuts.push_back(between(different[i], different[i + 1]));
  } else {
    for (std::size_t c = 1; c <= kMostCuts; ++c) {
      const double at = values[c * (values.size() - 1) / (kMostCuts + 1)];
      const auto next = std::upper_bound(different.begin(), different.end(), at);
      if (next == different.end()) break;
      const double cut = between(at, *next);
      if (input.cuts.empty() || cut > input.cuts.back()) input.cuts.push_back(cut);
    }
  }
  input.codes = static_cast<std::uint16_t>(input.cuts.size() + 1);
  for (const Kept& row : rows) {
    const double x = row.numeric[column.index];
    input.code.push_back(
        std::isnan(x) ? kMissing
                      : static_cast<std::uint16_t>(std::lower_bound(input.cuts.begin(), input.cuts.end(), x) -
                                                   input.cuts.begin()));
  }
  add(std::move(input));
}

void RowTable::add(Input input) {
  input.has_missing = std::find(input.code.begin(), input.code.end(), kMissing) != input.code.end();
  inputs.push_back(std::move(input));
}

void RowTable::add_levels(const Column& column, const std::vector<Kept>& rows) {
  Input input;
  input.column = &column;
  input.codes = static_cast<std::uint16_t>(std::min<std::size_t>(column.levels.size(), kMissing));
  for (const Kept& row : rows) {
    const std::uint32_t code = row.levels[column.index];
    input.code.push_back(code < input.codes ? static_cast<std::uint16_t>(code) : kMissing);
  }
  add(std::move(input));
}

}  // namespace moekit::rules
