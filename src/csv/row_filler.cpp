#include "row_filler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "disguise.hpp"
#include "message.hpp"

namespace moekit::csv {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

RowFiller::RowFiller(const RowInput& input, const Schema& schema, const RowOptions& options)
    : schema_(schema), options_(options), input_(input), decimal_(input.format().decimal) {
  find_columns();
  note_extra_columns();
  for (const Column& column : schema_.inputs)
    levels_.push_back(column.kind == ColumnKind::categorical ? LevelIndex(column.levels, decimal_)
                                                             : LevelIndex());
  if (classes()) labels_ = LevelIndex(schema_.target.labels, decimal_);
}

std::size_t RowFiller::find(const std::string& name) const {
  const auto it = std::find(input_.names().begin(), input_.names().end(), name);
  return it == input_.names().end() ? kNoColumn : static_cast<std::size_t>(it - input_.names().begin());
}

std::size_t RowFiller::demand(const std::string& name, const std::string& what) const {
  const std::size_t c = find(name);
  if (c == kNoColumn)
    refuse(input_.file(), 1,
           what + " '" + shown(name) + "' is not in the header" + suggestion(name, input_.names()));
  return c;
}

void RowFiller::find_columns() {
  std::vector<std::string> lacking;
  uses_.assign(input_.names().size(), CellUse::skip);
  input_at_.assign(input_.names().size(), kNoColumn);
  for (std::size_t i = 0; i < schema_.inputs.size(); ++i) {
    const std::size_t c = find(schema_.inputs[i].name);
    columns_.push_back(c);
    if (c == kNoColumn) {
      lacking.push_back(schema_.inputs[i].name);
    } else {
      input_at_[c] = i;
      uses_[c] = schema_.inputs[i].kind == ColumnKind::numeric ? CellUse::number : CellUse::text;
    }
  }
  if (!lacking.empty()) {
    const std::string which =
        lacking.size() == 1 ? "column '" + shown(lacking[0]) + "'" : "columns " + list_names(lacking);
    const std::string verb = lacking.size() == 1 ? " is" : " are";
    if (!options_.allow_missing_columns)
      refuse(input_.file(), 1,
             which + verb + " not in the header, but the model needs " +
                 (lacking.size() == 1 ? "it" : "them") + suggestion(lacking[0], input_.names()) +
                 "; or treat as missing values with --allow-missing-columns");
    notes.push_back(which + verb + " not in " + input_.file() + " and " + verb.substr(1) +
                    " taken as missing");
  }
  if (!schema_.offset.empty()) offset_ = demand(schema_.offset, "the offset");
  if (!schema_.weights.empty()) weights_ = find(schema_.weights);
  find_targets();
  if (weights_ != kNoColumn) uses_[weights_] = CellUse::number;
  if (offset_ != kNoColumn) uses_[offset_] = CellUse::number;
  find_carried();
  number_at_.assign(uses_.size(), kNoColumn);
  std::size_t numbers = 0;
  for (std::size_t c = 0; c < uses_.size(); ++c)
    if (uses_[c] == CellUse::number) number_at_[c] = numbers++;
}

void RowFiller::find_targets() {
  if (schema_.target.name.empty()) return;
  for (uword j = 0; j < schema_.targets(); ++j) {
    const std::string& name = schema_.target_at(j).name;
    targets_.push_back(options_.need_target ? demand(name, "the target") : find(name));
  }
  if (std::find(targets_.begin(), targets_.end(), kNoColumn) != targets_.end()) targets_.clear();
  for (const std::size_t c : targets_) uses_[c] = classes() ? CellUse::text : CellUse::number;
}

void RowFiller::find_carried() {
  const auto carry = [&](const std::string& name, std::size_t c) {
    carried.push_back(name);
    carried_columns_.push_back(c);
    uses_[c] = CellUse::text;  // its number, if it is one, is taken from the text
  };
  for (const std::string& name : options_.id) carry(name, demand(name, "the column"));
  if (options_.id.empty())
    for (const std::string& name : schema_.id) {
      const std::size_t c = find(name);
      if (c != kNoColumn)
        carry(name, c);
      else
        notes.push_back("the identifier '" + shown(name) + "' is not in " + input_.file() +
                        " and is left out");
    }
  for (const std::string& name : options_.carry) carry(name, demand(name, "the column"));
}

void RowFiller::note_extra_columns() {
  std::vector<std::string> extra;
  for (std::size_t c = 0; c < input_.names().size(); ++c)
    if (uses_[c] == CellUse::skip) extra.push_back(input_.names()[c]);
  if (extra.empty()) return;
  notes.push_back((extra.size() == 1 ? "a column that the model does not use is ignored: "
                                     : "columns that the model does not use are ignored: ") +
                  list_names(extra, 10));
}

void RowFiller::refuse_here(const ParsedRows& rows, uword row, std::size_t column,
                            const std::string& what) const {
  refuse_cell(input_.file(), rows.line[row], input_.names()[column], what);
}

std::string RowFiller::no_number(std::string_view text) const {
  return "'" + shown(text) + "' " + explain_disguise(find_disguise(text, decimal_), decimal_) +
         "; the model takes numbers here: mend it, or name it with --missing " + argument(text);
}

/// NaN for a missing value. A number column that is carried comes here too.
double RowFiller::number_of(const ParsedRows& rows, uword row, const TextCell& cell) const {
  const std::string_view text = trim(cell.text);
  double value = kNaN;
  if (input_.missing().match(text)) return kNaN;
  if (parse_number(text, decimal_, value) != NumberStatus::number)
    refuse_here(rows, row, cell.column, no_number(text));
  return value;
}

double RowFiller::label_of(const ParsedRows& rows, uword row, const TextCell& cell,
                           Findings& findings) const {
  if (input_.missing().match(trim(cell.text))) return kNaN;
  const std::uint32_t code = labels_.find(cell.text);
  if (code < schema_.target.labels.size()) return code;
  if (options_.need_target)
    refuse_here(rows, row, cell.column,
                "'" + shown(cell.text) + "' is not a label of the model" +
                    "; the labels are: " + list_names(schema_.target.labels));
  if (findings.unknown_labels++ == 0) {
    findings.first_unknown = shown(cell.text);
    findings.first_unknown_line = rows.line[row];
  }
  return kNaN;
}

std::uint32_t RowFiller::level_of(const TextCell& cell) const {
  const std::size_t i = input_at_[cell.column];
  return input_.missing().match(trim(cell.text)) ? static_cast<std::uint32_t>(schema_.inputs[i].levels.size())
                                                 : levels_[i].find(cell.text);
}

/// Numbers column by column, and missing values where cells may say otherwise.
void RowFiller::take_numbers(const ParsedRows& rows, BlockData& block) const {
  const uword n = rows.rows;
  block.rows = n;
  block.numeric.resize(schema_.numeric_inputs() * n);
  block.levels.resize(schema_.categorical_inputs() * n);
  block.target.resize(targets_.size() * n);
  block.weight.resize(weights_ == kNoColumn ? 0 : n);
  block.offset.resize(offset_ == kNoColumn ? 0 : n);
  block.line.assign(rows.line.begin(), rows.line.begin() + static_cast<std::ptrdiff_t>(n));
  block.carried.assign(carried_columns_.size(), {});
  const auto take = [&](std::size_t column, double* out) {
    if (column != kNoColumn && number_at_[column] != kNoColumn)
      std::copy_n(rows.column(number_at_[column]), n, out);
    else
      std::fill_n(out, n, kNaN);
  };
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const Column& column = schema_.inputs[i];
    if (column.kind == ColumnKind::numeric)
      take(columns_[i], block.numeric.data() + column.index * n);
    else
      std::fill_n(block.levels.data() + column.index * n, n,
                  static_cast<std::uint32_t>(column.levels.size()));
  }
  for (std::size_t j = 0; j < targets_.size(); ++j) take(targets_[j], block.target.data() + j * n);
  if (weights_ != kNoColumn) take(weights_, block.weight.data());
  if (offset_ != kNoColumn) take(offset_, block.offset.data());
}

void RowFiller::take_cells(const ParsedRows& rows, uword row, BlockData& block, Findings& findings) const {
  const uword n = block.rows;
  for (const TextCell& cell : rows.cells_of(row)) {
    const std::size_t c = cell.column;
    for (std::size_t j = 0; j < targets_.size(); ++j)
      if (c == targets_[j])
        block.target[j * n + row] =
            classes() ? label_of(rows, row, cell, findings) : number_of(rows, row, cell);
    if (c == weights_) block.weight[row] = number_of(rows, row, cell);
    if (c == offset_) block.offset[row] = number_of(rows, row, cell);
    if (input_at_[c] == kNoColumn) continue;
    const Column& column = schema_.inputs[input_at_[c]];
    if (column.kind == ColumnKind::numeric)
      block.numeric[column.index * n + row] = number_of(rows, row, cell);
    else
      block.levels[column.index * n + row] = level_of(cell);
  }
}

void RowFiller::check_row(const ParsedRows& rows, uword row, const BlockData& block) const {
  if (weights_ != kNoColumn && !(block.weight[row] >= 0))
    refuse_here(rows, row, weights_,
                std::isnan(block.weight[row]) ? "no value; every row needs a weight"
                                              : "a negative weight; a weight is 0 or more");
  if (offset_ != kNoColumn && std::isnan(block.offset[row]))
    refuse_here(rows, row, offset_, "no value; every row needs an offset");
  for (std::size_t j = 0; j < targets_.size(); ++j) {
    const double y = block.target[j * block.rows + row];
    if (schema_.target.task == Task::count && (y < 0 || (!std::isnan(y) && y != std::floor(y))))
      refuse_here(rows, row, targets_[j],
                  "the target is not a count (0, 1, 2, ...); the model predicts counts");
    if (options_.positive_target && y <= 0)
      refuse_here(rows, row, targets_[j], "the target is not above 0, as gamma experts need it");
  }
}

bool RowFiller::is_used(const BlockData& block, uword row) const {
  if (options_.skip_rows_without_weight && has_weights() && block.weight[row] == 0) return false;
  if (!options_.skip_rows_without_target) return true;
  for (std::size_t j = 0; j < targets_.size(); ++j)
    if (std::isnan(block.target[j * block.rows + row])) return false;
  return true;
}

/// Closes the gaps that the other rows leave.
void RowFiller::keep_rows(const std::vector<uword>& kept, BlockData& block) const {
  const uword n = block.rows, m = kept.size();
  const auto columns = [&](auto& data, uword count) {
    if (data.empty()) return;
    for (uword j = 0; j < count; ++j)
      for (uword i = 0; i < m; ++i) data[j * m + i] = data[j * n + kept[i]];
    data.resize(count * m);
  };
  columns(block.numeric, schema_.numeric_inputs());
  columns(block.levels, schema_.categorical_inputs());
  columns(block.target, targets_.size());
  columns(block.weight, 1);
  columns(block.offset, 1);
  columns(block.line, 1);
  block.rows = m;
}

RowFiller::Findings RowFiller::fill(const ParsedRows& rows, BlockData& block) const {
  Findings findings;
  take_numbers(rows, block);
  const bool checks =
      has_weights() || offset_ != kNoColumn || schema_.target.task == Task::count || options_.positive_target;
  const bool skips = options_.skip_rows_without_target || options_.skip_rows_without_weight;
  if (rows.cells.empty() && !checks && !skips && carried_columns_.empty()) return findings;
  std::vector<uword> kept;
  for (uword row = 0; row < rows.rows; ++row) {
    take_cells(rows, row, block, findings);
    if (checks) check_row(rows, row, block);
    if (skips && !is_used(block, row)) {
      ++findings.without_target;
      continue;
    }
    kept.push_back(row);
    const auto cells = rows.cells_of(row);
    for (std::size_t k = 0; k < carried_columns_.size(); ++k) {
      const auto cell = std::find_if(cells.begin(), cells.end(), [&](const TextCell& each) {
        return each.column == carried_columns_[k];
      });
      block.carried[k].emplace_back(cell->text);
    }
  }
  if (kept.size() < rows.rows) keep_rows(kept, block);
  return findings;
}

}  // namespace moekit::csv
