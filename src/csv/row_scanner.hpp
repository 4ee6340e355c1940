#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "missing.hpp"
#include "moekit/csv.hpp"
#include "text_input.hpp"

namespace moekit::csv {

/// What a row's cell in a column is for.
enum class CellUse : std::uint8_t { skip, number, text };

/// A cell as text: trimmed unless quoted, doubled quotes undone. Valid until the next row is read.
struct TextCell {
  std::size_t column;
  std::string_view text;
  bool quoted;
};

/// Cuts text into rows and cells, RFC 4180, and turns the cells of number columns into doubles on the way:
/// one pass over a buffer, without a copy or an allocation a cell. Rows that are longer than the buffer make
/// it grow.
///
/// Blank lines are skipped in a table of several columns; in a table of one column they are missing values,
/// unless nothing follows them.
class RowScanner {
 public:
  explicit RowScanner(TextInput& input);

  /// How the next rows are cut. Before the first row and after restart().
  void set_format(char separator, char decimal, const MissingTokens& missing);
  /// What the columns are for; also their number.
  void set_uses(std::vector<CellUse> uses);
  /// Names for messages.
  void set_names(std::vector<std::string> names) { names_ = std::move(names); }
  const std::vector<std::string>& names() const { return names_; }
  /// Where the numbers of a column go: number_out(c)[slot] for the slot of next().
  double*& number_out(std::size_t column) { return out_[column]; }

  /// Reads one row; false at the end. Numbers, and NaN for missing and for what is no number, go to slot
  /// `slot`.
  bool next(std::size_t slot);
  /// The cells of text columns, and those of number columns that are present but no number.
  const std::vector<TextCell>& cells() const { return cells_; }
  /// The line where the row begins.
  std::uint64_t line() const { return row_line_; }
  const MissingTokens& missing() const { return missing_; }
  const std::string& file() const { return input_.name(); }

  /// The next record as texts, whatever its length; false at the end. For headers.
  bool next_record(std::vector<std::string>& fields);

  /// Bytes from the current place on, as far as they are in memory (about a MiB), and whether that is all.
  std::string_view window();
  bool window_is_all() const { return at_end_; }
  /// Reads a record of the window as texts without moving on: `place` starts at 0; false when it is broken or
  /// not whole. Blank lines are passed over.
  bool peek(std::size_t& place, std::size_t columns, std::vector<TextCell>& cells);
  /// Like peek, only counting the fields under a separator; 0 when the record is broken or not whole.
  std::size_t peek_fields(std::size_t& place, char separator);

  /// Back to the first byte of the file.
  void restart();

 private:
  struct Cell {
    const char* begin = nullptr;
    const char* end = nullptr;
    bool quoted = false, escaped = false;
  };

  bool refill();
  void skip_mark();
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

  TextInput& input_;
  std::vector<char> buffer_;
  const char* position_ = nullptr;
  const char* end_ = nullptr;  // a line feed stands here, and padding after it
  bool at_end_ = false;        // nothing follows end_
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
  std::uint64_t blank_rows_ = 0;   // one column: missing values still to be given out
  bool peeking_ = false;
};

}  // namespace moekit::csv
