#pragma once
#include <optional>
#include <string>
#include <vector>

#include "disguise.hpp"
#include "levels.hpp"
#include "moekit/csv.hpp"
#include "number_range.hpp"
#include "roles.hpp"
#include "row_input.hpp"

namespace moekit::csv {

/// A cell that keeps a column from being numeric.
struct OddCell {
  std::uint64_t line = 0;
  std::string text;
  Disguise disguise = Disguise::none;
};

/// What the cells of a column are, over the rows that are used.
struct Tally {
  std::uint64_t present = 0, numbers = 0, odd = 0;  // odd: no number
  std::uint64_t disguised = 0, units = 0;           // parts of odd
  std::optional<OddCell> first;                     ///< the first that is no number

  void add_odd(std::string_view text, std::uint64_t line, std::uint64_t cells, char decimal);
  void add(std::string_view text, std::uint64_t line, std::uint64_t cells, char decimal);
};

/// What a column is read as in a pass over the file, and what the pass finds about it.
struct ColumnState {
  std::size_t column = kNoColumn;  ///< of the file
  std::string name;
  ColumnKind kind = ColumnKind::numeric;
  bool insist_numeric = false, insist_categorical = false;
  std::uint32_t index = 0;  ///< column of BlockData::numeric or BlockData::levels
  LevelCounter levels{0};
  Tally tally;
  std::optional<OddCell> overflow;  ///< the first text after too many levels
};

/// What becomes of the rows.
struct Keeping {
  bool rows = true;          ///< false: they are only looked at
  std::uint64_t memory = 0;  ///< most bytes of kept rows; 0: any
};

/// One reading of the rows, with a guess of the kind of each column. When the guess is wrong the tallies say
/// what is right, and the file has to be read again.
class TablePass {
 public:
  TablePass(RowInput& input, const Roles& roles, std::vector<ColumnState>& inputs, ColumnState& target,
            bool count_target, const Keeping& keeping);
  /// Reads the rows up to the end.
  void run(const Compute& compute);
  /// Completes the tallies.
  void finish_tallies();
  /// The blocks, with levels in their final order: `levels`, one list an input, and the labels of the target.
  MemorySource take_blocks(std::vector<std::vector<std::string>>& levels, std::vector<std::string>& labels);

  std::uint64_t rows = 0;  ///< used
  std::uint64_t rows_read = 0, without_target = 0, without_weight = 0;
  std::vector<NumberRange> ranges;    ///< of the numeric inputs, then of numeric targets, over the used rows
  std::vector<double> target_values;  ///< the first different values of a numeric target
  /// Of every piece of the file: how many rows of it are used.
  std::vector<std::uint32_t> used_of_piece;

 private:
  void add(const ParsedRows& rows);
  bool all_are_used(const ParsedRows& rows) const;
  void add_all();
  void add_each();
  void take_used();
  void take_numbers(uword first, uword count);
  void begin_block();
  void end_block();
  bool row_is_used();
  double number(std::size_t column) const { return now_->column(number_at_[column])[row_]; }
  uword slot() const { return n_ + used_.size(); }
  bool take_target();
  void note_target_value(double value);
  bool take_further_targets();
  void check_count(std::size_t column, double value) const;
  void take_cells();
  std::uint32_t take_text(ColumnState& state, const TextCell& cell);
  void take_odd(ColumnState& state, std::string_view text);
  const TextCell* cell_of(std::size_t column) const;
  [[noreturn]] void refuse_here(std::size_t column, const std::string& what) const;
  [[noreturn]] void refuse_number(std::size_t column, const std::string& demand) const;

  RowInput& input_;
  const Roles& roles_;
  const CsvFormat& format_;
  std::vector<ColumnState>& inputs_;
  ColumnState& target_;
  bool count_target_;
  Keeping keeping_;
  std::uint64_t kept_ = 0;                            // bytes
  std::vector<ColumnState*> input_at_;                // by column of the file
  std::vector<std::vector<std::size_t>> carried_at_;  // by column of the file: places in `carried`
  std::vector<std::size_t> number_at_;                // by column of the file: place among the number columns
  std::vector<CellUse> uses_;
  uword numeric_ = 0, categorical_ = 0;
  const ParsedRows* now_ = nullptr;  // the rows that are added
  uword row_ = 0;                    // among them
  std::vector<uword> used_;          // those of them that are used, and whose numbers are not taken yet
  BlockData block_;
  uword n_ = 0;
  std::vector<BlockData> blocks_;
};

}  // namespace moekit::csv
