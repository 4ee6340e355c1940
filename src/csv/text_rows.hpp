#pragma once
#include <string>
#include <vector>

#include "row_input.hpp"
#include "row_scanner.hpp"
#include "text_input.hpp"

namespace moekit::csv {

/// The rows of a CSV or TSV file. Finding where rows end needs only line feeds and quotes, which takes a
/// tenth of the time of parsing; it is exact: quotes count where RowScanner lets them open a cell.
///
/// First peek at front() to find the format, then set_format() and read_names().
class TextRows final : public RowInput {
 public:
  TextRows(const std::string& path, bool restartable);

  /// A scanner over the text from the current place on, as far as it is in memory (about a MiB).
  RowScanner& front();
  /// Errors: Errc::usage for marks that can't be told apart.
  void set_format(const CsvFormat& format);
  void read_names();

  bool take(RawRows& raw) override;
  void restart() override;
  std::unique_ptr<RowParser> parser(const std::vector<CellUse>& uses) const override;
  std::vector<bool> seem_numbers() override;

 private:
  /// Where a row ends. `end` is null when more text is needed first.
  struct RowEnd {
    const char* end;
    bool blank = false, quoted = false;
  };

  void begin();
  std::size_t free_buffer();
  bool refill();
  bool take_rows(RawRows& raw, uword most);
  RowEnd row_end(const char* begin);
  const char* quoted_row_end(const char* begin) const;
  bool rows_follow(std::size_t from);

  TextInput input_;
  RowScanner scanner_;
  // The text from position_ on stands in the first; pieces that were cut off share them.
  std::vector<std::shared_ptr<std::vector<char>>> buffers_;
  const char* position_ = nullptr;
  const char* end_ = nullptr;    // a line feed stands here, and padding after it
  const char* quote_ = nullptr;  // the first one from where it was looked for last; end_: none; null: unknown
  bool at_end_ = false;          // nothing follows end_
  std::uint64_t line_ = 1, row_ = 0;
  std::size_t blank_rows_ = 0;  // one column: blank lines known to be rows, because something follows them
};

}  // namespace moekit::csv
