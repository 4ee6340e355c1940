#include "table_pass.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "message.hpp"
#include "simd/statistics.hpp"

namespace moekit::csv {

namespace {

constexpr std::size_t kDistinctKept = 21;  // one more than a note about classification asks for

/// Closes the gaps that a block with fewer rows than room leaves between its columns.
template <class Data>
void shrink_columns(Data& data, uword columns, uword rows) {
  for (uword j = 1; j < columns; ++j)
    std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(j * kBlockRows), rows,
                data.begin() + static_cast<std::ptrdiff_t>(j * rows));
  data.resize(columns * rows);
  data.shrink_to_fit();
}

}  // namespace

void Tally::add_odd(std::string_view text, std::uint64_t line, std::uint64_t cells, char decimal) {
  const std::string_view trimmed = trim(text);
  const Disguise disguise = find_disguise(trimmed, decimal);
  odd += cells;
  if (disguise != Disguise::none) disguised += cells;
  if (disguise == Disguise::unit) units += cells;
  if (!first || line < first->line) first = OddCell{line, std::string(trimmed), disguise};
}

void Tally::add(std::string_view text, std::uint64_t line, std::uint64_t cells, char decimal) {
  double value;
  present += cells;
  if (parse_number(trim(text), decimal, value) == NumberStatus::number)
    numbers += cells;
  else
    add_odd(text, line, cells, decimal);
}

TablePass::TablePass(RowInput& input, const Roles& roles, std::vector<ColumnState>& inputs,
                     ColumnState& target, bool count_target, const Keeping& keeping)
    : input_(input),
      roles_(roles),
      format_(input.format()),
      inputs_(inputs),
      target_(target),
      count_target_(count_target),
      keeping_(keeping) {
  const std::size_t columns = roles.categorical.size();
  uses_.assign(columns, CellUse::skip);
  input_at_.assign(columns, nullptr);
  carried_at_.resize(columns);
  const auto use_of = [](ColumnKind kind) {
    return kind == ColumnKind::numeric ? CellUse::number : CellUse::text;
  };
  for (ColumnState& each : inputs_) {
    each.index = static_cast<std::uint32_t>(each.kind == ColumnKind::numeric ? numeric_++ : categorical_++);
    input_at_[each.column] = &each;
    uses_[each.column] = use_of(each.kind);
  }
  if (roles.target != kNoColumn) uses_[roles.target] = use_of(target.kind);
  for (const std::size_t column : roles.further_targets) uses_[column] = CellUse::number;
  if (roles.weights != kNoColumn) uses_[roles.weights] = CellUse::number;
  if (roles.offset != kNoColumn) uses_[roles.offset] = CellUse::number;
  for (std::size_t k = 0; k < roles.carried.size(); ++k) {
    uses_[roles.carried[k]] = CellUse::text;
    carried_at_[roles.carried[k]].push_back(k);
  }
  ranges.resize(numeric_ + 1 + roles.further_targets.size());
  number_at_.assign(columns, kNoColumn);
  std::size_t numbers = 0;
  for (std::size_t c = 0; c < columns; ++c)
    if (uses_[c] == CellUse::number) number_at_[c] = numbers++;
}

void TablePass::begin_block() {
  block_ = BlockData{};
  block_.numeric.resize(numeric_ * kBlockRows);
  block_.levels.resize(categorical_ * kBlockRows);
  if (roles_.target != kNoColumn) block_.target.resize((1 + roles_.further_targets.size()) * kBlockRows);
  if (roles_.weights != kNoColumn) block_.weight.resize(kBlockRows);
  if (roles_.offset != kNoColumn) block_.offset.resize(kBlockRows);
  block_.carried.resize(roles_.carried.size());
  n_ = 0;
}

void TablePass::run(const Compute& compute) {
  begin_block();
  for_each_piece(input_, uses_, compute, [this](const RawRows&, const ParsedRows& parsed) -> Deliver {
    return [this, &parsed] { add(parsed); };
  });
  if (n_ == 0) return;
  shrink_columns(block_.numeric, numeric_, n_);
  shrink_columns(block_.levels, categorical_, n_);
  if (!block_.target.empty()) shrink_columns(block_.target, 1 + roles_.further_targets.size(), n_);
  for (auto* column : {&block_.weight, &block_.offset})
    if (!column->empty()) column->resize(n_);
  end_block();
}

void TablePass::add(const ParsedRows& parsed) {
  now_ = &parsed;
  const std::uint64_t before = rows + n_;
  if (all_are_used(parsed))
    add_all();
  else
    add_each();
  used_of_piece.push_back(static_cast<std::uint32_t>(rows + n_ - before));
}

/// Whether nothing but numbers stands in the rows, and none that has to be there is missing.
bool TablePass::all_are_used(const ParsedRows& parsed) const {
  if (!parsed.cells.empty() || categorical_ > 0 || count_target_ || roles_.weights != kNoColumn ||
      target_.kind == ColumnKind::categorical)
    return false;
  const auto complete = [&](std::size_t column) {
    if (column == kNoColumn) return true;
    const double* const cells = parsed.column(number_at_[column]);
    return std::none_of(cells, cells + parsed.rows, [](double v) { return std::isnan(v); });
  };
  return complete(roles_.target) && complete(roles_.offset) &&
         std::all_of(roles_.further_targets.begin(), roles_.further_targets.end(), complete);
}

void TablePass::add_all() {
  rows_read += now_->rows;
  if (roles_.target != kNoColumn)
    for (row_ = 0; row_ < now_->rows && target_values.size() < kDistinctKept; ++row_)
      note_target_value(number(roles_.target));
  for (uword first = 0; first < now_->rows;) {
    const uword count = std::min(now_->rows - first, kBlockRows - n_);
    take_numbers(first, count);
    first += count;
    if (n_ == kBlockRows) end_block();
  }
}

void TablePass::add_each() {
  for (row_ = 0; row_ < now_->rows; ++row_) {
    ++rows_read;
    if (!row_is_used()) continue;
    take_cells();
    if (roles_.offset != kNoColumn && std::isnan(number(roles_.offset)))
      refuse_number(roles_.offset, "every row needs an offset");
    used_.push_back(row_);
    if (slot() < kBlockRows) continue;
    take_used();
    end_block();
  }
  take_used();
}

/// Copies the numbers of the used rows into the block.
void TablePass::take_used() {
  for (std::size_t i = 0; i < used_.size();) {
    std::size_t end = i + 1;
    while (end < used_.size() && used_[end] == used_[end - 1] + 1) ++end;
    take_numbers(used_[i], end - i);
    i = end;
  }
  used_.clear();
}

/// Copies the numbers of rows that follow each other into the block.
void TablePass::take_numbers(uword first, uword count) {
  const auto take = [&](std::size_t column, auto& to, uword place) {
    const double* const from = now_->column(number_at_[column]) + first;
    std::copy_n(from, count, to.data() + place * kBlockRows + n_);
    return from;
  };
  const auto look_at = [&](const double* cells, NumberRange& range) {
    simd::extremes(cells, count, range.min, range.max);
  };
  for (ColumnState& input : inputs_)
    if (input.kind == ColumnKind::numeric) {
      const double* const cells = take(input.column, block_.numeric, input.index);
      look_at(cells, ranges[input.index]);
      input.tally.numbers += static_cast<std::uint64_t>(
          std::count_if(cells, cells + count, [](double v) { return !std::isnan(v); }));
    }
  if (roles_.target != kNoColumn && target_.kind == ColumnKind::numeric)
    look_at(take(roles_.target, block_.target, 0), ranges[numeric_]);
  for (std::size_t j = 0; j < roles_.further_targets.size(); ++j)
    look_at(take(roles_.further_targets[j], block_.target, j + 1), ranges[numeric_ + j + 1]);
  if (roles_.weights != kNoColumn) take(roles_.weights, block_.weight, 0);
  if (roles_.offset != kNoColumn) take(roles_.offset, block_.offset, 0);
  n_ += count;
}

void TablePass::end_block() {
  block_.rows = n_;
  rows += n_;
  if (!keeping_.rows) {
    for (auto& texts : block_.carried) texts.clear();
    n_ = 0;
    return;
  }
  kept_ += sizeof(double) *
               (block_.numeric.size() + block_.target.size() + block_.weight.size() + block_.offset.size()) +
           sizeof(std::uint32_t) * block_.levels.size();
  if (keeping_.memory > 0 && kept_ > keeping_.memory)
    throw Error(Errc::usage,
                input_.file() +
                    ": the table does not fit into --memory; import it once, then train from the "
                    "block file: moekit convert " +
                    (input_.file() == "standard input" ? "-" : argument(input_.file())) + " -o data.mkb");
  blocks_.push_back(std::move(block_));
  begin_block();
}

const TextCell* TablePass::cell_of(std::size_t column) const {
  for (const TextCell& cell : now_->cells_of(row_))
    if (cell.column == column) return &cell;
  return nullptr;
}

void TablePass::refuse_here(std::size_t column, const std::string& what) const {
  refuse_cell(input_.file(), now_->line[row_], input_.names()[column], what);
}

void TablePass::refuse_number(std::size_t column, const std::string& demand) const {
  const TextCell* cell = cell_of(column);
  if (!cell) refuse_here(column, "no value; " + demand);
  const std::string_view text = trim(cell->text);
  refuse_here(column, "'" + shown(text) + "' " +
                          explain_disguise(find_disguise(text, format_.decimal), format_.decimal) + "; " +
                          demand);
}

bool TablePass::row_is_used() {
  if (roles_.weights != kNoColumn) {
    const double w = number(roles_.weights);
    if (std::isnan(w)) refuse_number(roles_.weights, "every row needs a weight; 0 leaves it out");
    if (w < 0) {
      char text[32];
      const auto end = std::to_chars(text, text + sizeof text, w).ptr;
      refuse_here(roles_.weights, "'" + std::string(text, end) + "' is negative; a weight is 0 or more");
    }
    if (w == 0) {
      ++without_weight;
      return false;
    }
  }
  if (roles_.target != kNoColumn && !(take_target() && take_further_targets())) {
    ++without_target;
    return false;
  }
  return true;
}

/// False when the row has no target.
bool TablePass::take_target() {
  if (target_.kind == ColumnKind::categorical) {
    const TextCell* cell = cell_of(roles_.target);
    if (input_.missing().match(trim(cell->text))) return false;
    block_.target[slot()] = take_text(target_, *cell);
    return true;
  }
  const double value = number(roles_.target);
  if (std::isnan(value)) {
    const TextCell* odd = cell_of(roles_.target);
    if (!odd) return false;
    take_odd(target_, odd->text);
    return true;
  }
  check_count(roles_.target, value);
  note_target_value(value);
  return true;
}

void TablePass::note_target_value(double value) {
  if (target_values.size() < kDistinctKept &&
      std::find(target_values.begin(), target_values.end(), value) == target_values.end())
    target_values.push_back(value);
}

void TablePass::check_count(std::size_t column, double value) const {
  if (!count_target_ || (value >= 0 && value == std::floor(value))) return;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  refuse_here(column,
              "'" + std::string(text, end) + "' is not a count (0, 1, 2, ...); use --task regression");
}

/// False when the row lacks one of them.
bool TablePass::take_further_targets() {
  for (std::size_t j = 0; j < roles_.further_targets.size(); ++j) {
    const std::size_t column = roles_.further_targets[j];
    const double value = number(column);
    if (std::isnan(value)) {
      if (cell_of(column)) refuse_number(column, "several targets have to be numbers");
      return false;
    }
    check_count(column, value);
  }
  return true;
}

void TablePass::take_odd(ColumnState& state, std::string_view text) {
  if (state.insist_numeric)
    refuse_number(state.column,
                  "leave it out with --missing " + argument(trim(text)) + ", or don't ask for numbers there");
  state.tally.add_odd(text, now_->line[row_], 1, format_.decimal);
}

/// The provisional code of a present text.
std::uint32_t TablePass::take_text(ColumnState& state, const TextCell& cell) {
  const std::size_t known = state.levels.levels().size();
  const std::uint32_t code = state.levels.add(cell.text, now_->line[row_]);
  if (code == LevelCounter::kNone) {
    state.tally.add(cell.text, now_->line[row_], 1, format_.decimal);
    if (!state.overflow) state.overflow = OddCell{now_->line[row_], std::string(cell.text)};
  } else if (state.levels.levels().size() > known && !valid_utf8(cell.text)) {
    refuse_here(state.column,
                "'" + shown(cell.text) + "' is not valid UTF-8; convert the file: iconv -f LATIN1 -t UTF-8");
  }
  return code;
}

void TablePass::take_cells() {
  for (const TextCell& cell : now_->cells_of(row_)) {
    for (const std::size_t k : carried_at_[cell.column]) block_.carried[k].emplace_back(cell.text);
    ColumnState* const input = input_at_[cell.column];
    if (!input) continue;
    if (input->kind == ColumnKind::numeric) {
      take_odd(*input, cell.text);
    } else {
      const bool present = !input_.missing().match(trim(cell.text));
      block_.levels[input->index * kBlockRows + slot()] =
          present ? take_text(*input, cell) : LevelCounter::kNone;
    }
  }
}

void TablePass::finish_tallies() {
  const auto add_levels = [&](ColumnState& state) {
    for (const LevelCounter::Level& level : state.levels.levels())
      state.tally.add(level.text, level.line, level.rows, format_.decimal);
  };
  for (ColumnState& input : inputs_) {
    if (input.kind == ColumnKind::categorical) {
      add_levels(input);
    } else {
      input.tally.present = input.tally.numbers + input.tally.odd;
    }
  }
  if (roles_.target == kNoColumn) return;
  if (target_.kind == ColumnKind::categorical) {
    add_levels(target_);
  } else {
    target_.tally.present = rows;
    target_.tally.numbers = rows - target_.tally.odd;
  }
}

MemorySource TablePass::take_blocks(std::vector<std::vector<std::string>>& levels,
                                    std::vector<std::string>& labels) {
  const auto order = [&](const ColumnState& state, std::vector<std::string>& sorted) {
    std::vector<std::string> texts;
    for (const LevelCounter::Level& level : state.levels.levels()) texts.push_back(level.text);
    return order_levels(texts, format_.decimal, sorted);
  };
  std::vector<std::vector<std::uint32_t>> codes(inputs_.size());
  levels.assign(inputs_.size(), {});
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i].kind == ColumnKind::categorical) codes[i] = order(inputs_[i], levels[i]);
  const bool classes = roles_.target != kNoColumn && target_.kind == ColumnKind::categorical;
  const std::vector<std::uint32_t> label_codes =
      classes ? order(target_, labels) : std::vector<std::uint32_t>{};
  MemorySource source;
  for (BlockData& block : blocks_) {
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (inputs_[i].kind != ColumnKind::categorical) continue;
      std::uint32_t* code = block.levels.data() + inputs_[i].index * block.rows;
      const auto none = static_cast<std::uint32_t>(levels[i].size());
      for (uword r = 0; r < block.rows; ++r)
        code[r] = code[r] == LevelCounter::kNone ? none : codes[i][code[r]];
    }
    if (classes)
      for (double& y : block.target) y = label_codes[static_cast<std::size_t>(y)];
    source.push(std::move(block));
  }
  blocks_.clear();
  return source;
}

}  // namespace moekit::csv
