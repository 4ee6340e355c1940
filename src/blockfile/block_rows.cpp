#include "block_rows.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>

#include "csv/message.hpp"
#include "csv/number.hpp"
#include "moekit/error.hpp"

namespace moekit::blocks {

namespace {

using csv::CellUse;
using csv::ParsedRows;
using csv::TextCell;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class BlockParser final : public csv::RowParser {
 public:
  BlockParser(const BlockRows& input, const std::vector<CellUse>& uses)
      : input_(input), stored_(*input.stored()), uses_(uses) {
    const auto numbers = static_cast<std::size_t>(std::count(uses.begin(), uses.end(), CellUse::number));
    rows_.numbers.resize(numbers * ParsedRows::kColumnRoom);
    rows_.line.resize(kBlockRows);
    cells_.resize(uses.size());
    spellings_.resize(uses.size());
  }

  const ParsedRows& parse(const csv::RawRows& raw) override;

 private:
  /// The cells of one column in this block.
  struct Chunk {
    Encoding encoding;
    const char* data;
    std::size_t bytes;
  };

  Chunk next_chunk(const ChunkHead& head, const char*& at, const char* end) const;
  void take_lines(const BlockHead& head, const char*& at, const char* end);
  void take_numbers(std::size_t c, const Chunk& chunk, double* out);
  void take_texts(std::size_t c, const Chunk& chunk);
  void number_cell(std::size_t c, std::string_view text, uword i, double* out);
  std::string_view spell(std::size_t c, double value, bool plain, uword i);
  std::string_view missing_text(std::size_t c, double value) const;
  void collect();
  template <class Use>
  void for_each_text(std::size_t c, const Chunk& chunk, const Use& use) const;

  const BlockRows& input_;
  const BlockFile& stored_;
  std::vector<CellUse> uses_;
  std::vector<char> bytes_;
  ParsedRows rows_;
  std::vector<std::vector<TextCell>> cells_;  // by column: of each row, or empty; column = kNone: no cell
  std::vector<std::vector<char>> spellings_;  // by column: texts of numbers
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
};

BlockParser::Chunk BlockParser::next_chunk(const ChunkHead& head, const char*& at, const char* end) const {
  const auto left = static_cast<std::size_t>(end - at);
  const Chunk chunk{static_cast<Encoding>(head.encoding), at, head.bytes};
  const std::size_t cell = head.encoding <= 1 ? 8 : 4;
  if (head.encoding > 3 || padded(head.bytes) > left || head.bytes < cell * rows_.rows ||
      (head.encoding < 3 && head.bytes != cell * rows_.rows))
    stored_.damaged("a block holds an impossible column");
  at += padded(head.bytes);
  return chunk;
}

void BlockParser::take_lines(const BlockHead& head, const char*& at, const char* end) {
  const std::size_t bytes = rows_.rows * sizeof(std::uint64_t);
  if (head.all_lines) {
    if (static_cast<std::size_t>(end - at) < bytes) stored_.damaged("a block is cut short");
    std::memcpy(rows_.line.data(), at, bytes);
    at += bytes;
    return;
  }
  for (uword i = 0; i < rows_.rows; ++i) rows_.line[i] = head.line + i;
}

std::string_view BlockParser::missing_text(std::size_t c, double value) const {
  const std::uint64_t which = std::bit_cast<std::uint64_t>(value) & 0xFFFFF;
  const auto& texts = stored_.columns()[c].missing_texts;
  if (which >= texts.size()) stored_.damaged("a missing cell is impossible");
  return texts[which];
}

/// Calls use(row, text, code) for each cell of a chunk of texts.
template <class Use>
void BlockParser::for_each_text(std::size_t c, const Chunk& chunk, const Use& use) const {
  const auto& dictionary = stored_.columns()[c].dictionary;
  const char* text = chunk.data + rows_.rows * sizeof(std::uint32_t);
  const char* const end = chunk.data + chunk.bytes;
  for (uword i = 0; i < rows_.rows; ++i) {
    std::uint32_t value;
    std::memcpy(&value, chunk.data + i * sizeof value, sizeof value);
    if (chunk.encoding == Encoding::codes) {
      if (value >= dictionary.size()) stored_.damaged("a code of a column is impossible");
      use(i, std::string_view(dictionary[value]), value);
      continue;
    }
    if (value > static_cast<std::size_t>(end - text)) stored_.damaged("a text is longer than its block");
    use(i, std::string_view(text, value), TextCell::kNoCode);
    text += value;
  }
}

/// A cell of a number column that stands as text.
void BlockParser::number_cell(std::size_t c, std::string_view text, uword i, double* out) {
  const std::string_view trimmed = csv::trim(text);
  double value = kNaN;
  if (input_.missing().match(trimmed)) {
    out[i] = kNaN;
  } else if (csv::parse_number(trimmed, input_.format().decimal, value) == csv::NumberStatus::number) {
    out[i] = value;
  } else {
    out[i] = kNaN;
    auto& cells = cells_[c];
    if (cells.empty()) cells.assign(kBlockRows, {kNone, {}});
    cells[i] = {c, text};
  }
}

void BlockParser::take_numbers(std::size_t c, const Chunk& chunk, double* out) {
  if (chunk.encoding == Encoding::texts)
    return for_each_text(
        c, chunk, [&](uword i, std::string_view text, std::uint32_t) { number_cell(c, text, i, out); });
  if (chunk.encoding == Encoding::codes) {
    const std::vector<double>& known = input_.dictionary_numbers()[c];
    return for_each_text(c, chunk, [&](uword i, std::string_view text, std::uint32_t code) {
      out[i] = known[code];
      if (std::isnan(out[i])) number_cell(c, text, i, out);
    });
  }
  std::memcpy(out, chunk.data, rows_.rows * sizeof(double));
  bool infinite = false;
  for (uword i = 0; i < rows_.rows; ++i) infinite |= std::abs(out[i]) > std::numeric_limits<double>::max();
  if (infinite) stored_.damaged("a number is infinite");
  for (uword i = 0; i < rows_.rows; ++i) out[i] = std::isnan(out[i]) ? kNaN : out[i];
  if (!input_.numbers_may_be_missing()) return;
  for (uword i = 0; i < rows_.rows; ++i)
    if (input_.missing().match(out[i])) out[i] = kNaN;
}

std::string_view BlockParser::spell(std::size_t c, double value, bool plain, uword i) {
  if (!plain)
    csv::refuse_cell(stored_.name(), rows_.line[i], input_.names()[c],
                     "was imported as numbers, and how they were written was not kept; import it again with "
                     "--text " +
                         csv::argument(input_.names()[c]));
  if (!(std::abs(value) < 1e16)) stored_.damaged("a number has an impossible spelling");
  char* const out = spellings_[c].data() + i * kPlainRoom;
  return {out, static_cast<std::size_t>(plain_text(value, input_.format().decimal, out) - out)};
}

void BlockParser::take_texts(std::size_t c, const Chunk& chunk) {
  auto& cells = cells_[c];
  cells.resize(kBlockRows);
  if (chunk.encoding == Encoding::texts || chunk.encoding == Encoding::codes)
    return for_each_text(c, chunk, [&](uword i, std::string_view text, std::uint32_t code) {
      cells[i] = {c, text, code};
    });
  spellings_[c].resize(kBlockRows * kPlainRoom);
  for (uword i = 0; i < rows_.rows; ++i) {
    double value;
    std::memcpy(&value, chunk.data + i * sizeof value, sizeof value);
    cells[i] = {c, std::isnan(value) ? missing_text(c, value)
                                     : spell(c, value, chunk.encoding == Encoding::plain, i)};
  }
}

/// From columns of cells to rows of cells.
void BlockParser::collect() {
  std::vector<const TextCell*> columns;
  for (const auto& cells : cells_)
    if (!cells.empty()) columns.push_back(cells.data());
  rows_.cells.clear();
  rows_.first_cell.assign(rows_.rows + 1, 0);
  for (uword i = 0; i < rows_.rows && !columns.empty(); ++i) {
    for (const TextCell* const column : columns)
      if (column[i].column != kNone) rows_.cells.push_back(column[i]);
    rows_.first_cell[i + 1] = static_cast<std::uint32_t>(rows_.cells.size());
  }
}

const ParsedRows& BlockParser::parse(const csv::RawRows& raw) {
  const auto block = static_cast<std::size_t>(raw.block);
  const std::size_t bytes = stored_.read(block, bytes_);
  const char* at = bytes_.data();
  const char* const end = at + bytes;
  BlockHead head;
  std::memcpy(&head, at, sizeof head);
  at += sizeof head;
  if (head.rows != stored_.rows_of(block) || head.columns != uses_.size())
    stored_.damaged("a block has another shape than the directory says");
  rows_.rows = head.rows;
  std::vector<ChunkHead> chunks(uses_.size());
  std::memcpy(chunks.data(), at, chunks.size() * sizeof(ChunkHead));
  at += chunks.size() * sizeof(ChunkHead);
  take_lines(head, at, end);
  double* out = rows_.numbers.data();
  for (std::size_t c = 0; c < uses_.size(); ++c) {
    const Chunk chunk = next_chunk(chunks[c], at, end);
    cells_[c].clear();
    if (uses_[c] == CellUse::number) {
      take_numbers(c, chunk, out);
      out += ParsedRows::kColumnRoom;
    } else if (uses_[c] == CellUse::text) {
      take_texts(c, chunk);
    }
  }
  if (at != end) stored_.damaged("a block has another length than its parts");
  collect();
  return rows_;
}

}  // namespace

BlockRows::BlockRows(std::shared_ptr<const BlockFile> stored, const std::vector<std::string>& further_missing)
    : RowInput(stored->name()), stored_(std::move(stored)) {
  format_ = stored_->format();
  for (const std::string& token : further_missing) {
    if (std::find(format_.missing.begin(), format_.missing.end(), token) != format_.missing.end()) continue;
    format_.missing.push_back(token);
    further_ = true;
  }
  missing_ = csv::MissingTokens(format_.missing, format_.decimal);
  for (const BlockFile::Column& column : stored_->columns()) {
    names_.push_back(column.found.name);
    std::vector<double>& numbers = numbers_.emplace_back(column.dictionary.size(), kNaN);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const std::string_view text = csv::trim(column.dictionary[i]);
      double value;
      if (!missing_.match(text) &&
          csv::parse_number(text, format_.decimal, value) == csv::NumberStatus::number)
        numbers[i] = value;
    }
  }
}

bool BlockRows::take(csv::RawRows& raw) {
  if (next_ == stored_->blocks()) return false;
  raw.block = next_;
  raw.first = next_ * kBlockRows;
  ++next_;
  return true;
}

std::unique_ptr<csv::RowParser> BlockRows::parser(const std::vector<CellUse>& uses) const {
  return std::make_unique<BlockParser>(*this, uses);
}

std::vector<bool> BlockRows::seem_numbers() {
  std::vector<bool> number;
  for (const BlockFile::Column& column : stored_->columns())
    number.push_back(column.found.numbers == column.found.present);
  return number;
}

std::unique_ptr<BlockRows> open_block_rows(const std::string& path, const CsvFormat* asked,
                                           const std::vector<std::string>& further_missing) {
  if (!is_block_file(path)) return nullptr;
  auto stored = std::make_shared<const BlockFile>(path);
  const CsvFormat& format = stored->format();
  if (asked && ((asked->separator && asked->separator != format.separator) ||
                (asked->decimal == ',' && format.decimal != ',')))
    throw Error(Errc::usage, path +
                                 ": a block file has been cut into numbers and texts already; leave "
                                 "--separator and --decimal to moekit convert");
  return std::make_unique<BlockRows>(std::move(stored), further_missing);
}

}  // namespace moekit::blocks
