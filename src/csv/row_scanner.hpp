#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "missing.hpp"
#include "row_input.hpp"

namespace moekit::csv {

/// Cuts text in memory into rows and cells, RFC 4180, and turns the cells of number columns into doubles on
/// the way: one pass, without a copy or an allocation a cell. A line feed and more bytes that can be read
/// stand behind the text.
///
/// Blank lines are skipped in a table of several columns; in a table of one column they are missing values.
class RowScanner {
 public:
  /// `file`: its name in messages.
  explicit RowScanner(std::string file) : file_(std::move(file)) { set_format(',', '.', MissingTokens{}); }

  /// How the next rows are cut.
  void set_format(char separator, char decimal, const MissingTokens& missing);
  /// What the columns are for; also their number.
  void set_uses(std::vector<CellUse> uses);
  /// Names for messages.
  void set_names(std::vector<std::string> names) { names_ = std::move(names); }
  /// Where the numbers of a column go: number_out(c)[slot] for the slot of next().
  double*& number_out(std::size_t column) { return out_[column]; }

  /// The text to read; `line` is the number of its first line. `whole`: it ends where a row does, or the
  /// file.
  void set_text(const char* begin, std::size_t size, std::uint64_t line, bool whole);
  /// Reads one row; false at the end. Numbers, and NaN for missing and for what is no number, go to slot
  /// `slot`.
  bool next(std::size_t slot);
  /// The cells of text columns, and those of number columns that are present but no number. They hold until
  /// the next set_text(), the list until the next row.
  const std::vector<TextCell>& cells() const { return cells_; }
  /// The line where the row begins.
  std::uint64_t line() const { return row_line_; }
  const MissingTokens& missing() const { return missing_; }
  const std::string& file() const { return file_; }

  /// The next record as texts, whatever its length; false at the end. For headers.
  bool next_record(std::vector<std::string>& fields);
  /// Reads a record as texts without moving on: `place` starts at 0; false when it is broken or not whole.
  /// Blank lines are passed over.
  bool peek(std::size_t& place, std::size_t columns, std::vector<TextCell>& cells);
  /// Like peek, only counting the fields under a separator; 0 when the record is broken or not whole.
  std::size_t peek_fields(std::size_t& place, char separator);

 private:
  struct Cell {
    const char* begin = nullptr;
    const char* end = nullptr;
    bool escaped = false;
  };

  bool skip_blank();
  const char* scan_row(const char* p, std::size_t slot);
  const char* scan_cell(const char* p, Cell& cell);
  const char* scan_quoted(const char* p, Cell& cell);
  const char* end_of_line(const char* p);
  const char* slow_number(const char* p, std::size_t column, std::size_t slot);
  void keep_text(const Cell& cell, std::size_t column);
  [[noreturn]] void wrong_count(std::size_t fields) const;
  void check_nul(const char* begin, const char* end) const;
  std::string column_name(std::size_t c) const;

  std::string file_;
  const char* position_ = nullptr;
  const char* end_ = nullptr;
  bool at_end_ = true;  // nothing follows end_
  bool has_nul_ = false;

  char separator_ = ',', decimal_ = '.';
  MissingTokens missing_;
  std::vector<CellUse> uses_;
  std::vector<double*> out_;
  std::vector<std::string> names_;
  bool stops_[256] = {};

  std::vector<TextCell> cells_;
  std::deque<std::string> unescaped_;
  std::uint64_t line_ = 1, row_line_ = 1;
  std::uint64_t inner_lines_ = 0;  // line feeds inside quotes, in the row being read
  bool peeking_ = false;
};

}  // namespace moekit::csv
