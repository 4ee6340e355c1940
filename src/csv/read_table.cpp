#include <algorithm>
#include <cmath>

#include "blockfile/stream_source.hpp"
#include "header.hpp"
#include "message.hpp"
#include "moekit/csv.hpp"
#include "roles.hpp"
#include "table_pass.hpp"
#include "text_rows.hpp"

namespace moekit {

namespace csv {

namespace {

constexpr std::size_t kMostLevels = 1000;
constexpr std::size_t kFreeLevels = 50;  // so many may even be most of the rows
constexpr std::size_t kGuessRows = 1000;
constexpr std::size_t kFewValues = 20;

/// A file to train from: what says how it is read stands in `format`, the rest is found in the file.
std::unique_ptr<RowInput> open_table(const std::string& path, const CsvFormat& asked) {
  CsvFormat format = asked;
  check_format(format);
  if (auto stored = blocks::open_block_rows(path, &asked, asked.missing)) return stored;
  auto text = std::make_unique<TextRows>(path, true);
  if (format.separator == 0) format.separator = find_separator(text->front(), format.decimal);
  text->set_format(format);
  text->read_names();
  return text;
}

/// Reads a table: guesses the kinds of columns from the first rows, reads on, and starts again when a later
/// row, or a rule about all rows, says otherwise. Two readings settle the inputs; a target may need a third.
class TableReader {
 public:
  TableReader(const std::string& path, const ReadOptions& options, const Compute& compute)
      : options_(options), compute_(compute), input_(open_table(path, options.format)) {}

  Table read();

 private:
  void open();
  void guess();
  ColumnState make_state(std::size_t column, ColumnKind kind) const;
  ColumnKind kind_of(const ColumnState& state) const;
  ColumnKind kind_of_target(const TablePass& pass) const;
  void check_levels(const ColumnState& state, std::uint64_t rows) const;
  void check_labels() const;
  void check_rows(const TablePass& pass) const;
  [[noreturn]] void refuse_odd(const ColumnState& state) const;
  Table finish(TablePass& pass);
  void add_notes(Table& table, const TablePass& pass,
                 const std::vector<std::vector<std::string>>& levels) const;
  bool count_target() const { return options_.task == Task::count; }
  Keeping keeping() const;

  const std::string& file() const { return input_->file(); }
  char decimal() const { return input_->format().decimal; }

  const ReadOptions& options_;
  const Compute& compute_;
  std::unique_ptr<RowInput> input_;
  std::vector<std::string> header_;
  Roles roles_;
  std::vector<ColumnState> inputs_;
  ColumnState target_;
};

void TableReader::open() {
  header_ = input_->names();
  roles_ = assign_roles(file(), header_, options_);
}

/// A block file whose rows memory cannot hold stays where it is.
Keeping TableReader::keeping() const {
  const auto* stored = dynamic_cast<const blocks::BlockRows*>(input_.get());
  if (!stored || options_.memory == 0) return {true, options_.memory};
  const std::uint64_t columns = roles_.inputs.size() + roles_.further_targets.size() +
                                (roles_.target != kNoColumn) + (roles_.weights != kNoColumn) +
                                (roles_.offset != kNoColumn);
  return {stored->stored()->rows() * columns * sizeof(double) <= options_.memory, 0};
}

ColumnState TableReader::make_state(std::size_t column, ColumnKind kind) const {
  ColumnState state;
  state.column = column;
  state.name = header_[column];
  state.kind = kind;
  state.insist_numeric = roles_.numeric[column];
  state.insist_categorical = roles_.categorical[column];
  state.levels = LevelCounter(state.insist_categorical ? LevelCounter::kNone : kMostLevels);
  return state;
}

/// Numeric until a cell of the first rows says otherwise.
void TableReader::guess() {
  const std::vector<bool> number = input_->seem_numbers();
  const auto kind = [&](std::size_t c) {
    const bool numeric = roles_.numeric[c] || (number[c] && !roles_.categorical[c]);
    return numeric ? ColumnKind::numeric : ColumnKind::categorical;
  };
  for (const std::size_t c : roles_.inputs) inputs_.push_back(make_state(c, kind(c)));
  if (roles_.target == kNoColumn) return;
  target_ = make_state(roles_.target, kind(roles_.target));
  if (options_.task == Task::classification) {
    target_.kind = ColumnKind::categorical;
  } else if (options_.task) {
    target_.insist_numeric = true;
    target_.kind = ColumnKind::numeric;
  }
}

void TableReader::refuse_odd(const ColumnState& state) const {
  const OddCell& odd = *state.tally.first;
  const std::string value = argument(odd.text), name = argument(state.name);
  std::string what = "'" + shown(odd.text) + "' " + explain_disguise(odd.disguise, decimal());
  if (odd.disguise == Disguise::none)
    what += "; name it with --missing " + value + " or insist with --categorical " + name;
  else
    what += "; or name it with --missing " + value + ", leave the column out with --drop " + name +
            ", or insist with --categorical " + name;
  refuse_cell(file(), odd.line, state.name, what);
}

/// The kind that all used rows agree with. Errors: Errc::data for a column that is nearly numeric.
ColumnKind TableReader::kind_of(const ColumnState& state) const {
  if (state.insist_categorical) return ColumnKind::categorical;
  const Tally& tally = state.tally;
  if (tally.odd == 0) return ColumnKind::numeric;
  if (state.insist_numeric) refuse_odd(state);
  // A unit may be a part of a label (4WD), but nothing else that is disguised can.
  const std::uint64_t nearly = tally.numbers + tally.disguised - tally.units;
  const bool all = tally.numbers + tally.disguised == tally.present;
  if (all || 10 * tally.numbers >= 9 * tally.present ||
      (tally.disguised > tally.units && 10 * nearly >= 9 * tally.present))
    refuse_odd(state);
  return ColumnKind::categorical;
}

ColumnKind TableReader::kind_of_target(const TablePass& pass) const {
  if (options_.task == Task::classification || target_.insist_categorical) return ColumnKind::categorical;
  const ColumnKind kind = kind_of(target_);
  if (kind == ColumnKind::categorical || options_.task) return kind;
  if (target_.kind == ColumnKind::numeric)
    return pass.target_values.size() == 2 ? ColumnKind::categorical : ColumnKind::numeric;
  std::vector<std::string> texts, different;
  for (const LevelCounter::Level& level : target_.levels.levels()) texts.push_back(level.text);
  order_levels(texts, decimal(), different);
  return different.size() == 2 ? ColumnKind::categorical : ColumnKind::numeric;
}

void TableReader::check_levels(const ColumnState& state, std::uint64_t rows) const {
  if (state.insist_categorical || state.kind == ColumnKind::numeric) return;
  const auto& levels = state.levels.levels();
  const std::string name = argument(state.name);
  const std::string fix = " (an identifier or a date?); use --id " + name + ", --drop " + name +
                          " or insist with --categorical " + name;
  if (state.overflow)
    refuse_cell(file(), state.overflow->line, state.name,
                "'" + shown(state.overflow->text) + "' is one of over " + std::to_string(kMostLevels) +
                    " different texts" + fix);
  if (levels.size() > kFreeLevels && 2 * levels.size() > rows)
    refuse_cell(file(), levels.back().line, state.name,
                "'" + shown(levels.back().text) + "' is one of " + std::to_string(levels.size()) +
                    " different texts in " + std::to_string(rows) + " rows" + fix);
}

void TableReader::check_labels() const {
  if (target_.kind == ColumnKind::categorical && target_.overflow)
    refuse_cell(
        file(), target_.overflow->line, target_.name,
        "'" + shown(target_.overflow->text) + "' is one of over " + std::to_string(kMostLevels) +
            " different labels; choose another target, --task regression if they are numbers, or insist with "
            "--categorical " +
            argument(target_.name));
}

void TableReader::check_rows(const TablePass& pass) const {
  if (pass.rows_read == 0) refuse(file(), 1, "a header and no rows; add rows");
  if (pass.rows > 0) return;
  if (pass.without_target > 0)
    refuse_cell(file(), 1, header_[roles_.target],
                "no row " + std::string(pass.without_weight ? "with a weight over 0 " : "") +
                    "has a target; choose another --target");
  refuse_cell(file(), 1, header_[roles_.weights], "every weight is 0; choose other --weights");
}

Table TableReader::read() {
  open();
  guess();
  for (;;) {
    TablePass pass(*input_, roles_, inputs_, target_, count_target(), keeping());
    pass.run(compute_);
    check_rows(pass);
    pass.finish_tallies();
    bool changed = false;
    const auto settle_one = [&](ColumnState& state, ColumnKind kind) {
      if (kind == state.kind) return;
      state.kind = kind;
      changed = true;
    };
    for (ColumnState& input : inputs_) settle_one(input, kind_of(input));
    if (roles_.target != kNoColumn) settle_one(target_, kind_of_target(pass));
    if (!changed) return finish(pass);
    const auto fresh = [&](ColumnState& state) {
      ColumnState next = make_state(state.column, state.kind);
      next.insist_numeric = state.insist_numeric;
      state = std::move(next);
    };
    for (ColumnState& input : inputs_) fresh(input);
    if (roles_.target != kNoColumn) fresh(target_);
    input_->restart();
  }
}

Table TableReader::finish(TablePass& pass) {
  for (const ColumnState& input : inputs_) check_levels(input, pass.rows);
  if (roles_.target != kNoColumn) check_labels();
  Table table;
  Schema& schema = table.schema;
  std::vector<std::vector<std::string>> levels;
  table.source = pass.take_blocks(levels, schema.target.labels);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    Column column;
    column.name = inputs_[i].name;
    column.kind = inputs_[i].kind;
    column.index = inputs_[i].index;
    column.levels = levels[i];
    schema.inputs.push_back(std::move(column));
  }
  schema.target.name = options_.target;
  if (roles_.target != kNoColumn)
    schema.target.task = target_.kind == ColumnKind::categorical ? Task::classification
                         : count_target()                        ? Task::count
                                                                 : Task::regression;
  for (const std::string& name : options_.further_targets) {
    Target target;
    target.name = name;
    target.task = schema.target.task;
    schema.further_targets.push_back(std::move(target));
  }
  schema.id = options_.id;
  schema.weights = options_.weights;
  schema.offset = options_.offset;
  schema.format = input_->format();
  table.carried = options_.id;
  table.carried.insert(table.carried.end(), options_.carry.begin(), options_.carry.end());
  table.rows_read = pass.rows_read;
  table.rows_without_target = pass.without_target;
  table.rows_without_weight = pass.without_weight;
  if (!keeping().rows) {
    if (!options_.carry.empty())
      throw Error(Errc::usage, file() + ": the table does not fit into --memory, and column '" +
                                   shown(options_.carry[0]) +
                                   "' is wanted with its texts; give more --memory");
    std::unique_ptr<blocks::BlockRows> stored(dynamic_cast<blocks::BlockRows*>(input_.release()));
    table.on_file = std::make_shared<blocks::StreamSource>(std::move(stored), schema, pass.used_of_piece);
  }
  measure(schema, table.rows(), compute_, pass.ranges);
  add_notes(table, pass, levels);
  return table;
}

std::string count_rows(std::uint64_t n, const std::string& one, const std::string& many) {
  return std::to_string(n) + (n == 1 ? " row " + one : " rows " + many);
}

void TableReader::add_notes(Table& table, const TablePass& pass,
                            const std::vector<std::vector<std::string>>& levels) const {
  std::vector<std::string>& notes = table.notes;
  if (pass.without_target)
    notes.push_back(count_rows(pass.without_target, "has", "have") + " no target and " +
                    (pass.without_target == 1 ? "is" : "are") + " left out");
  if (pass.without_weight)
    notes.push_back(count_rows(pass.without_weight, "has", "have") + " weight 0 and " +
                    (pass.without_weight == 1 ? "is" : "are") + " left out");
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const std::string name = "column '" + shown(inputs_[i].name) + "'";
    if (table.schema.inputs[i].missing >= 1) notes.push_back(name + " has no value in any row");
    if (levels[i].size() < inputs_[i].levels.levels().size())
      notes.push_back(name + ": numbers written in several ways (1 and 1.0) count as one level");
  }
  if (roles_.target == kNoColumn) return;
  const std::string target = "the target '" + shown(target_.name) + "'";
  const std::vector<std::string>& labels = table.schema.target.labels;
  if (target_.kind == ColumnKind::categorical) {
    if (labels.size() < target_.levels.levels().size())
      notes.push_back(target + ": numbers written in several ways (1 and 1.0) count as one label");
    if (!options_.task)
      notes.push_back(target + (target_.tally.odd ? " is text" : " has two values") + ": classification");
    return;
  }
  if (options_.task) return;
  const std::vector<double>& values = pass.target_values;
  const bool few_whole =
      values.size() > 2 && values.size() <= kFewValues &&
      std::all_of(values.begin(), values.end(), [](double v) { return v == std::floor(v); });
  notes.push_back(
      target + " is numeric: regression" +
      (few_whole
           ? " (it has only " + std::to_string(values.size()) +
                 " different values, all whole; to tell them apart as classes, use --task classification)"
           : ""));
}

}  // namespace

}  // namespace csv

Table read_table(const std::string& path, const ReadOptions& options, const Compute& compute) {
  ReadOptions settled = options;
  if (!options.further_targets.empty()) {
    if (options.task == Task::classification)
      throw Error(Errc::usage, "--task classification takes one target; several targets have to be numbers");
    if (!settled.task) settled.task = Task::regression;
  }
  Compute local;  // every rank reads its own
  local.threads = compute.threads;
  return csv::TableReader(path, settled, local).read();
}

}  // namespace moekit
