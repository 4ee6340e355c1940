#pragma once
#include <string>
#include <vector>

#include "levels.hpp"
#include "moekit/csv.hpp"
#include "roles.hpp"
#include "row_input.hpp"

namespace moekit::csv {

/// Rows of a file as a model's schema sees them: columns by name, levels as codes.
class RowFiller {
 public:
  /// What has to be said of a block beside its rows.
  struct Findings {
    std::uint64_t without_target = 0;  ///< rows that were left out
    std::uint64_t unknown_labels = 0, first_unknown_line = 0;
    std::string first_unknown;
  };

  /// Errors: Errc::data for a column that is needed and lacks.
  RowFiller(const RowInput& input, const Schema& schema, const RowOptions& options);
  /// Fills the block with the rows that count. Errors: Errc::data with line and column. For several threads.
  Findings fill(const ParsedRows& rows, BlockData& block) const;

  const std::vector<CellUse>& uses() const { return uses_; }
  bool has_target() const { return !targets_.empty(); }
  bool has_weights() const { return weights_ != kNoColumn; }
  std::vector<std::string> carried, notes;

 private:
  bool classes() const { return schema_.target.task == Task::classification; }
  std::size_t find(const std::string& name) const;
  std::size_t demand(const std::string& name, const std::string& what) const;
  void find_columns();
  void find_targets();
  void find_carried();
  void note_extra_columns();
  void take_numbers(const ParsedRows& rows, BlockData& block) const;
  void take_cells(const ParsedRows& rows, uword row, BlockData& block, Findings& findings) const;
  double number_of(const ParsedRows& rows, uword row, const TextCell& cell) const;
  double label_of(const ParsedRows& rows, uword row, const TextCell& cell, Findings& findings) const;
  std::uint32_t level_of(const TextCell& cell) const;
  void check_row(const ParsedRows& rows, uword row, const BlockData& block) const;
  bool is_used(const BlockData& block, uword row) const;
  void keep_rows(const std::vector<uword>& kept, BlockData& block) const;
  std::string no_number(std::string_view text) const;
  [[noreturn]] void refuse_here(const ParsedRows& rows, uword row, std::size_t column,
                                const std::string& what) const;

  const Schema schema_;
  const RowOptions options_;
  const RowInput& input_;
  const char decimal_;
  std::size_t weights_ = kNoColumn, offset_ = kNoColumn;
  std::vector<std::size_t> targets_;    // all of the model's, or none: a part of them says nothing
  std::vector<std::size_t> columns_;    // of the inputs
  std::vector<std::size_t> input_at_;   // by column of the file
  std::vector<std::size_t> number_at_;  // by column of the file: place among the number columns
  std::vector<std::size_t> carried_columns_;
  std::vector<CellUse> uses_;
  std::vector<LevelIndex> levels_;
  LevelIndex labels_;
};

}  // namespace moekit::csv
