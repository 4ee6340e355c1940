#include <algorithm>
#include <cmath>
#include <limits>

#include "disguise.hpp"
#include "header.hpp"
#include "levels.hpp"
#include "message.hpp"
#include "moekit/csv.hpp"
#include "roles.hpp"
#include "row_scanner.hpp"
#include "text_input.hpp"

namespace moekit {

namespace {

using namespace csv;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

class RowReader::Impl {
 public:
  Impl(const std::string& path, const Schema& schema, const RowOptions& options)
      : schema_(schema), options_(options), input_(path, false), scanner_(input_) {
    open_format();
    header_ = read_header(scanner_);
    find_columns();
    note_extra_columns();
    for (const Column& column : schema_.inputs)
      levels_.push_back(column.kind == ColumnKind::categorical ? LevelIndex(column.levels, format_.decimal)
                                                               : LevelIndex());
    if (classes()) labels_ = LevelIndex(schema_.target.labels, format_.decimal);
  }

  bool next(BlockData& block);
  bool has_target() const { return !targets_.empty(); }
  bool has_weights() const { return weights_ != kNoColumn; }

  std::uint64_t without_target = 0;
  std::vector<std::string> carried, notes;

 private:
  bool classes() const { return schema_.target.task == Task::classification; }
  void open_format();
  std::size_t known_columns(char separator);
  std::size_t find(const std::string& name) const;
  std::size_t demand(const std::string& name, const std::string& what) const;
  void find_columns();
  void find_targets();
  void find_carried();
  void note_extra_columns();
  void prepare(BlockData& block);
  void take_cells(BlockData& block, uword n);
  double number_of(const TextCell& cell) const;
  double label_of(const TextCell& cell);
  void check_row(const BlockData& block, uword n) const;
  bool lacks_target(const BlockData& block, uword n) const;
  void shrink(BlockData& block, uword n) const;
  std::string no_number(std::string_view text) const;
  [[noreturn]] void refuse_here(std::size_t column, const std::string& what) const {
    refuse_cell(scanner_.file(), scanner_.line(), header_[column], what);
  }

  const Schema schema_;
  const RowOptions options_;
  CsvFormat format_;
  TextInput input_;
  RowScanner scanner_;
  std::vector<std::string> header_;
  std::size_t weights_ = kNoColumn, offset_ = kNoColumn;
  std::vector<std::size_t> targets_;   // all of the model's, or none: a part of them says nothing
  std::vector<std::size_t> columns_;   // of the inputs
  std::vector<std::size_t> input_at_;  // by column of the file
  std::vector<std::size_t> carried_columns_;
  std::vector<CellUse> uses_;
  std::vector<LevelIndex> levels_;
  LevelIndex labels_;
  std::uint64_t rows_read_ = 0, unknown_labels_ = 0, first_unknown_line_ = 0;
  std::string first_unknown_;
  bool ended_ = false;
};

/// How many of the columns that the model needs the header holds under this separator.
std::size_t RowReader::Impl::known_columns(char separator) {
  scanner_.set_format(separator, format_.decimal, MissingTokens{});
  std::size_t place = 0;
  std::vector<TextCell> cells;
  if (!scanner_.peek(place, std::numeric_limits<std::size_t>::max(), cells)) return 0;
  return static_cast<std::size_t>(std::count_if(cells.begin(), cells.end(), [&](const TextCell& cell) {
    return schema_.find(trim(cell.text)) != nullptr;
  }));
}

void RowReader::Impl::open_format() {
  format_ = options_.format.value_or(schema_.format);
  check_format(format_);
  const bool chosen = options_.format && options_.format->separator;
  if (!chosen) {
    scanner_.window();
    const char model = schema_.format.separator == format_.decimal ? '\0' : schema_.format.separator;
    const char found = find_separator(scanner_, format_.decimal);
    const std::size_t known = model ? known_columns(model) : 0;
    format_.separator =
        !model || (known < schema_.inputs.size() && known_columns(found) > known) ? found : model;
  }
  scanner_.set_format(format_.separator, format_.decimal, MissingTokens(format_.missing, format_.decimal));
}

std::size_t RowReader::Impl::find(const std::string& name) const {
  const auto it = std::find(header_.begin(), header_.end(), name);
  return it == header_.end() ? kNoColumn : static_cast<std::size_t>(it - header_.begin());
}

std::size_t RowReader::Impl::demand(const std::string& name, const std::string& what) const {
  const std::size_t c = find(name);
  if (c == kNoColumn)
    refuse(scanner_.file(), 1,
           what + " '" + shown(name) + "' is not in the header" + suggestion(name, header_));
  return c;
}

void RowReader::Impl::find_columns() {
  std::vector<std::string> lacking;
  uses_.assign(header_.size(), CellUse::skip);
  input_at_.assign(header_.size(), kNoColumn);
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
      refuse(scanner_.file(), 1,
             which + verb + " not in the header, but the model needs " +
                 (lacking.size() == 1 ? "it" : "them") + suggestion(lacking[0], header_) +
                 "; or treat as missing values with --allow-missing-columns");
    notes.push_back(which + verb + " not in " + scanner_.file() + " and " + verb.substr(1) +
                    " taken as missing");
  }
  if (!schema_.offset.empty()) offset_ = demand(schema_.offset, "the offset");
  if (!schema_.weights.empty()) weights_ = find(schema_.weights);
  find_targets();
  if (weights_ != kNoColumn) uses_[weights_] = CellUse::number;
  if (offset_ != kNoColumn) uses_[offset_] = CellUse::number;
  find_carried();
  scanner_.set_uses(uses_);
}

void RowReader::Impl::find_targets() {
  if (schema_.target.name.empty()) return;
  for (uword j = 0; j < schema_.targets(); ++j) {
    const std::string& name = schema_.target_at(j).name;
    targets_.push_back(options_.need_target ? demand(name, "the target") : find(name));
  }
  if (std::find(targets_.begin(), targets_.end(), kNoColumn) != targets_.end()) targets_.clear();
  for (const std::size_t c : targets_) uses_[c] = classes() ? CellUse::text : CellUse::number;
}

void RowReader::Impl::find_carried() {
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
        notes.push_back("the identifier '" + shown(name) + "' is not in " + scanner_.file() +
                        " and is left out");
    }
  for (const std::string& name : options_.carry) carry(name, demand(name, "the column"));
}

void RowReader::Impl::note_extra_columns() {
  std::vector<std::string> extra;
  for (std::size_t c = 0; c < header_.size(); ++c)
    if (uses_[c] == CellUse::skip) extra.push_back(header_[c]);
  if (extra.empty()) return;
  notes.push_back((extra.size() == 1 ? "a column that the model does not use is ignored: "
                                     : "columns that the model does not use are ignored: ") +
                  list_names(extra, 10));
}

void RowReader::Impl::prepare(BlockData& block) {
  block.numeric.assign(schema_.numeric_inputs() * kBlockRows, kNaN);
  block.levels.resize(schema_.categorical_inputs() * kBlockRows);
  const auto size = [](std::size_t column) { return column == kNoColumn ? 0 : kBlockRows; };
  block.target.assign(targets_.size() * kBlockRows, kNaN);
  block.weight.assign(size(weights_), kNaN);
  block.offset.assign(size(offset_), kNaN);
  block.line.resize(kBlockRows);
  block.carried.assign(carried_columns_.size(), {});
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const Column& column = schema_.inputs[i];
    if (column.kind == ColumnKind::categorical)
      std::fill_n(block.levels.begin() + static_cast<std::ptrdiff_t>(column.index * kBlockRows), kBlockRows,
                  static_cast<std::uint32_t>(column.levels.size()));
    else if (columns_[i] != kNoColumn)
      scanner_.number_out(columns_[i]) = block.numeric.data() + column.index * kBlockRows;
  }
  for (std::size_t j = 0; j < targets_.size(); ++j)
    scanner_.number_out(targets_[j]) = block.target.data() + j * kBlockRows;
  if (weights_ != kNoColumn) scanner_.number_out(weights_) = block.weight.data();
  if (offset_ != kNoColumn) scanner_.number_out(offset_) = block.offset.data();
}

std::string RowReader::Impl::no_number(std::string_view text) const {
  return "'" + shown(text) + "' " + explain_disguise(find_disguise(text, format_.decimal), format_.decimal) +
         "; the model takes numbers here: mend it, or name it with --missing " + argument(text);
}

/// NaN for a missing value. A number column that is carried comes here too.
double RowReader::Impl::number_of(const TextCell& cell) const {
  const std::string_view text = trim(cell.text);
  double value = kNaN;
  if (scanner_.missing().match(text)) return kNaN;
  if (parse_number(text, format_.decimal, value) != NumberStatus::number)
    refuse_here(cell.column, no_number(text));
  return value;
}

double RowReader::Impl::label_of(const TextCell& cell) {
  if (scanner_.missing().match(trim(cell.text))) return kNaN;
  const std::uint32_t code = labels_.find(cell.text);
  if (code < schema_.target.labels.size()) return code;
  if (options_.need_target)
    refuse_here(cell.column, "'" + shown(cell.text) + "' is not a label of the model" +
                                 "; the labels are: " + list_names(schema_.target.labels));
  if (unknown_labels_++ == 0) {
    first_unknown_ = shown(cell.text);
    first_unknown_line_ = scanner_.line();
  }
  return kNaN;
}

void RowReader::Impl::take_cells(BlockData& block, uword n) {
  for (const TextCell& cell : scanner_.cells()) {
    const std::size_t c = cell.column;
    for (std::size_t j = 0; j < targets_.size(); ++j)
      if (c == targets_[j]) block.target[j * kBlockRows + n] = classes() ? label_of(cell) : number_of(cell);
    if (c == weights_) block.weight[n] = number_of(cell);
    if (c == offset_) block.offset[n] = number_of(cell);
    if (input_at_[c] == kNoColumn) continue;
    const Column& column = schema_.inputs[input_at_[c]];
    if (column.kind == ColumnKind::numeric)
      block.numeric[column.index * kBlockRows + n] = number_of(cell);
    else
      block.levels[column.index * kBlockRows + n] = scanner_.missing().match(trim(cell.text))
                                                        ? static_cast<std::uint32_t>(column.levels.size())
                                                        : levels_[input_at_[c]].find(cell.text);
  }
}

void RowReader::Impl::check_row(const BlockData& block, uword n) const {
  if (weights_ != kNoColumn && !(block.weight[n] >= 0))
    refuse_here(weights_, std::isnan(block.weight[n]) ? "no value; every row needs a weight"
                                                      : "a negative weight; a weight is 0 or more");
  if (offset_ != kNoColumn && std::isnan(block.offset[n]))
    refuse_here(offset_, "no value; every row needs an offset");
  if (schema_.target.task != Task::count) return;
  for (std::size_t j = 0; j < targets_.size(); ++j) {
    const double y = block.target[j * kBlockRows + n];
    if (y < 0 || (!std::isnan(y) && y != std::floor(y)))
      refuse_here(targets_[j], "the target is not a count (0, 1, 2, ...); the model predicts counts");
  }
}

bool RowReader::Impl::lacks_target(const BlockData& block, uword n) const {
  for (std::size_t j = 0; j < targets_.size(); ++j)
    if (std::isnan(block.target[j * kBlockRows + n])) return true;
  return false;
}

void RowReader::Impl::shrink(BlockData& block, uword n) const {
  const auto columns = [&](auto& data, uword count) {
    for (uword j = 1; j < count; ++j)
      std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(j * kBlockRows), n,
                  data.begin() + static_cast<std::ptrdiff_t>(j * n));
    data.resize(count * n);
  };
  columns(block.numeric, schema_.numeric_inputs());
  columns(block.levels, schema_.categorical_inputs());
  columns(block.target, targets_.size());
  for (auto* column : {&block.weight, &block.offset})
    if (!column->empty()) column->resize(n);
  block.line.resize(n);
}

bool RowReader::Impl::next(BlockData& block) {
  if (ended_) return false;
  const std::uint64_t first = rows_read_ - without_target;
  prepare(block);
  uword n = 0;
  while (n < kBlockRows && scanner_.next(n)) {
    ++rows_read_;
    take_cells(block, n);
    check_row(block, n);
    if (options_.skip_rows_without_target && lacks_target(block, n)) {
      ++without_target;
      continue;
    }
    for (std::size_t k = 0; k < carried_columns_.size(); ++k) {
      const auto& cells = scanner_.cells();
      const auto cell = std::find_if(cells.begin(), cells.end(), [&](const TextCell& each) {
        return each.column == carried_columns_[k];
      });
      block.carried[k].emplace_back(cell->text);
    }
    block.line[n] = scanner_.line();
    ++n;
  }
  ended_ = n < kBlockRows;
  if (ended_ && rows_read_ == 0) refuse(scanner_.file(), 1, "a header and no rows; add rows");
  if (ended_ && unknown_labels_ > 0)
    notes.push_back(
        (unknown_labels_ == 1
             ? "1 row has a label that the model does not know ('"
             : std::to_string(unknown_labels_) + " rows have labels that the model does not know (first '") +
        first_unknown_ + "' in line " + std::to_string(first_unknown_line_) + "): taken as missing");
  block.first = first;
  block.rows = n;
  if (n < kBlockRows) shrink(block, n);
  return n > 0;
}

RowReader::RowReader(const std::string& path, const Schema& schema, const RowOptions& options)
    : impl_(std::make_unique<Impl>(path, schema, options)) {}
RowReader::~RowReader() = default;
RowReader::RowReader(RowReader&&) noexcept = default;

bool RowReader::next(BlockData& block) { return impl_->next(block); }
bool RowReader::has_target() const { return impl_->has_target(); }
bool RowReader::has_weights() const { return impl_->has_weights(); }
std::uint64_t RowReader::rows_without_target() const { return impl_->without_target; }
const std::vector<std::string>& RowReader::carried() const { return impl_->carried; }
const std::vector<std::string>& RowReader::notes() const { return impl_->notes; }

}  // namespace moekit
