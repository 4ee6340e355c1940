#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "missing.hpp"
#include "moekit/block.hpp"
#include "moekit/schema.hpp"

namespace moekit::csv {

/// What a row's cell in a column is for.
enum class CellUse : std::uint8_t { skip, number, text };

/// A cell as text: trimmed unless quoted, doubled quotes undone.
struct TextCell {
  static constexpr std::uint32_t kNoCode = 0xFFFFFFFFu;
  std::size_t column;
  std::string_view text;
  std::uint32_t code = kNoCode;  ///< equal codes of a column are equal texts (block files)
};

/// What up to kBlockRows rows of a file hold, in their order.
struct ParsedRows {
  /// Columns a power of two apart would share few lines of the cache, which a row of numbers needs all at
  /// once.
  static constexpr std::size_t kColumnRoom = kBlockRows + 24;

  uword rows = 0;
  std::vector<double> numbers;  ///< number columns in the order of the file, kColumnRoom each; NaN: no number
  std::vector<TextCell>
      cells;  ///< of text columns, and those of number columns that are present but no number
  std::vector<std::uint32_t> first_cell;  ///< rows + 1: where the cells of each row begin
  std::vector<std::uint64_t> line;        ///< where each row begins

  std::span<const TextCell> cells_of(uword row) const {
    return {cells.data() + first_cell[row], cells.data() + first_cell[row + 1]};
  }
  const double* column(std::size_t number) const { return numbers.data() + number * kColumnRoom; }
};

/// Rows as they are stored, cut off the file but not read yet.
struct RawRows {
  std::shared_ptr<const std::vector<char>> buffer;  ///< of text: holds it, and more
  const char* text = nullptr;                       ///< in the buffer; more text or padding follows
  std::size_t size = 0;                             ///< of the text
  std::uint64_t line = 1;                           ///< of text: the number of its first line
  std::uint64_t first = 0;                          ///< number of its first row, from 0
  std::uint64_t block = 0;                          ///< of a block file: which block
};

/// Reads raw rows. For one thread.
class RowParser {
 public:
  virtual ~RowParser() = default;
  /// Valid until the next call, and as long as `raw`. Errors: Errc::data with line and column.
  virtual const ParsedRows& parse(const RawRows& raw) = 0;
};

/// The rows of a table, kBlockRows at a time. Cutting them off the file is serial, parsing is not.
class RowInput {
 public:
  virtual ~RowInput() = default;
  /// Its name in messages.
  const std::string& file() const { return file_; }
  const std::vector<std::string>& names() const { return names_; }
  const CsvFormat& format() const { return format_; }
  const MissingTokens& missing() const { return missing_; }

  /// Cuts off the next rows; false at the end. Every piece but the last holds kBlockRows rows.
  virtual bool take(RawRows& raw) = 0;
  /// Back to the first row.
  virtual void restart() = 0;
  virtual std::unique_ptr<RowParser> parser(const std::vector<CellUse>& uses) const = 0;
  /// Which columns seem to be numbers: a guess.
  virtual std::vector<bool> seem_numbers() = 0;

 protected:
  explicit RowInput(std::string file) : file_(std::move(file)) {}
  std::string file_;
  std::vector<std::string> names_;
  CsvFormat format_;
  MissingTokens missing_;
};

/// Takes and parses all pieces, on several threads. `use` is called on the thread that parsed a piece, and
/// what it returns one piece at a time in the order of the file. Exceptions come in that order too: the first
/// error of the file is the one that is thrown.
using Deliver = std::function<void()>;
void for_each_piece(RowInput& input, const std::vector<CellUse>& uses, const Compute& compute,
                    const std::function<Deliver(const RawRows&, const ParsedRows&)>& use);

/// The place behind a line of blanks, or null when there is more in it. `end`: of the text.
const char* blank_line_end(const char* p, const char* end, char separator);

}  // namespace moekit::csv
