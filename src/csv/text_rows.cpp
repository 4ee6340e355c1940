#include "text_rows.hpp"

#include <algorithm>
#include <cstring>

#include "header.hpp"
#include "message.hpp"
#include "number.hpp"
#include "simd/lines.hpp"

namespace moekit::csv {

namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kPadding = 64;  // parse_number_fast reads past the end of the text
constexpr std::size_t kLongestRow = std::size_t{1} << 28;
constexpr std::size_t kGuessRows = 1000;

const char* find(const char* begin, const char* end, char c) {
  return static_cast<const char*>(std::memchr(begin, c, static_cast<std::size_t>(end - begin)));
}

/// Parses pieces of text with a scanner of its own.
class TextParser final : public RowParser {
 public:
  TextParser(const TextRows& input, const std::vector<CellUse>& uses) : scanner_(input.file()) {
    const CsvFormat& format = input.format();
    scanner_.set_format(format.separator, format.decimal, input.missing());
    scanner_.set_uses(uses);
    scanner_.set_names(input.names());
    const auto numbers = static_cast<std::size_t>(std::count(uses.begin(), uses.end(), CellUse::number));
    rows_.numbers.resize(numbers * ParsedRows::kColumnRoom);
    rows_.first_cell.resize(kBlockRows + 1);
    rows_.line.resize(kBlockRows);
    double* out = rows_.numbers.data();
    for (std::size_t c = 0; c < uses.size(); ++c)
      if (uses[c] == CellUse::number) {
        scanner_.number_out(c) = out;
        out += ParsedRows::kColumnRoom;
      }
  }

  const ParsedRows& parse(const RawRows& raw) override {
    scanner_.set_text(raw.text, raw.size, raw.line, true);
    rows_.cells.clear();
    uword n = 0;
    for (; scanner_.next(n); ++n) {
      rows_.first_cell[n] = static_cast<std::uint32_t>(rows_.cells.size());
      rows_.cells.insert(rows_.cells.end(), scanner_.cells().begin(), scanner_.cells().end());
      rows_.line[n] = scanner_.line();
    }
    rows_.first_cell[n] = static_cast<std::uint32_t>(rows_.cells.size());
    rows_.rows = n;
    return rows_;
  }

 private:
  RowScanner scanner_;
  ParsedRows rows_;
};

}  // namespace

TextRows::TextRows(const std::string& path, bool restartable)
    : RowInput(path == "-" ? "standard input" : path),
      input_(path, restartable),
      scanner_(file_),
      buffers_{std::make_shared<std::vector<char>>(kChunk + kPadding, '\n')} {
  begin();
}

/// From the first byte on. Skips the byte-order mark of UTF-8 and refuses those of other encodings.
void TextRows::begin() {
  position_ = end_ = buffers_.front()->data();
  quote_ = nullptr;
  at_end_ = false;
  line_ = 1;
  row_ = 0;
  blank_rows_ = 0;
  refill();
  const std::string_view start(position_, static_cast<std::size_t>(end_ - position_));
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF"))
    refuse(file_, 1, "the text is UTF-16 (or UTF-32); convert it first: iconv -f UTF-16 -t UTF-8");
  if (start.starts_with("moekit-blocks "))
    refuse(file_, 1, "a block file has to be named: it is not read from a pipe or packed");
  if (start.starts_with("\xEF\xBB\xBF")) position_ += 3;
}

void TextRows::restart() {
  input_.restart();
  begin();
  read_names();
}

RowScanner& TextRows::front() {
  scanner_.set_text(position_, static_cast<std::size_t>(end_ - position_), line_, at_end_);
  return scanner_;
}

void TextRows::set_format(const CsvFormat& format) {
  format_ = format;
  missing_ = MissingTokens(format.missing, format.decimal);
  scanner_.set_format(format.separator, format.decimal, missing_);
}

void TextRows::read_names() {
  names_.clear();
  RawRows header;
  take_rows(header, 1);
  row_ = 0;
  scanner_.set_text(header.text, header.size, header.line, true);
  names_ = read_header(scanner_);
}

/// A buffer that no piece of text stands in, by its place.
std::size_t TextRows::free_buffer() {
  const auto free =
      std::find_if(buffers_.begin(), buffers_.end(), [](const auto& each) { return each.use_count() == 1; });
  const auto place = static_cast<std::size_t>(free - buffers_.begin());
  if (free == buffers_.end())
    buffers_.push_back(std::make_shared<std::vector<char>>(kChunk + kPadding, '\n'));
  return place;
}

/// Moves what is left to the front of a buffer and reads more behind it; false when nothing more comes.
bool TextRows::refill() {
  if (at_end_) return false;
  const auto left = static_cast<std::size_t>(end_ - position_);
  const auto taken = static_cast<std::size_t>(position_ - buffers_.front()->data());
  const std::size_t place = free_buffer();
  std::vector<char>& buffer = *buffers_[place];
  if (left + kPadding >= buffer.size()) buffer.resize(2 * (left + kPadding));
  std::memmove(buffer.data(), buffers_.front()->data() + taken, left);
  std::swap(buffers_.front(), buffers_[place]);
  const std::size_t room = buffer.size() - kPadding - left;
  const std::size_t got = input_.read(buffer.data() + left, room);
  at_end_ = got < room;
  position_ = buffer.data();
  end_ = position_ + left + got;
  quote_ = nullptr;
  std::memset(buffer.data() + left + got, '\n', kPadding);
  return got > 0;
}

/// The end of a row that holds quotes.
const char* TextRows::quoted_row_end(const char* begin) const {
  const auto opens = [&](const char* quote) {
    const char* before = quote;
    while (before > begin && (before[-1] == ' ' || before[-1] == '\t') && before[-1] != format_.separator)
      --before;
    return before == begin || before[-1] == format_.separator;
  };
  for (const char* p = begin;;) {
    const char* const line_end = find(p, end_, '\n');
    const char* quote = find(p, line_end ? line_end : end_, '"');
    if (!quote) return line_end ? line_end + 1 : nullptr;
    p = quote + 1;
    if (!opens(quote)) continue;
    for (;; p = quote + 2) {
      quote = find(p, end_, '"');
      if (!quote || (quote + 1 >= end_ && !at_end_)) return nullptr;
      if (quote + 1 >= end_ || quote[1] != '"') break;
    }
    p = quote + 1;
  }
}

TextRows::RowEnd TextRows::row_end(const char* begin) {
  if (static_cast<unsigned char>(*begin) <= ' ') {
    const char* const blank = blank_line_end(begin, end_, format_.separator);
    if (blank == end_ && !at_end_ && blank[-1] != '\n') return {nullptr, true};
    if (blank) return {blank, true};
  }
  if (!quote_ || quote_ < begin) {
    quote_ = find(begin, end_, '"');
    if (!quote_) quote_ = end_;
  }
  const char* end = find(begin, end_, '\n');
  if (end) ++end;
  const bool quoted = quote_ < (end ? end : end_);
  if (quoted) end = quoted_row_end(begin);
  if (!end && at_end_) end = end_;
  return {end, false, quoted};
}

/// Whether anything but blank lines follows; if so it counts them.
bool TextRows::rows_follow(std::size_t from) {
  for (std::size_t at = from;;) {
    if (position_ + at < end_) {
      const RowEnd row = row_end(position_ + at);
      if (row.end && !row.blank) return true;
      if (row.end) {
        at = static_cast<std::size_t>(row.end - position_);
        ++blank_rows_;
        continue;
      }
      if (!row.blank) return true;
    }
    if (!refill()) {
      blank_rows_ = 0;
      return false;
    }
  }
}

bool TextRows::take_rows(RawRows& raw, uword most) {
  raw.buffer.reset();  // it may be read into again
  const bool one_column = names_.size() == 1;
  std::size_t done = 0;  // bytes of whole rows
  uword rows = 0;
  std::uint64_t lines = 0;
  while (rows < most) {
    if (position_ + done >= end_) {
      if (!refill()) break;
      continue;
    }
    const simd::PlainLines plain =
        simd::plain_lines(position_ + done, static_cast<std::size_t>(end_ - position_) - done, most - rows);
    if (plain.lines > 0) {
      rows += plain.lines;
      lines += plain.lines;
      done += plain.bytes;
      continue;
    }
    RowEnd row = row_end(position_ + done);
    if (!row.end) {
      if (static_cast<std::size_t>(end_ - position_) - done >= kLongestRow) {
        if (rows > 0) break;  // what is wrong in these rows comes first
        refuse(file_, line_ + lines,
               "the row that starts here is longer than 256 MiB; look for a quote that never closes");
      }
      refill();
      continue;
    }
    if (row.blank && one_column) {
      if (blank_rows_ == 0 && !rows_follow(done)) {
        end_ = position_ + done;  // blank lines before the end are no rows
        break;
      }
      --blank_rows_;
      row = row_end(position_ + done);  // looking ahead may have moved the text
    }
    lines += row.quoted ? static_cast<std::uint64_t>(std::count(position_ + done, row.end, '\n')) : 1;
    done = static_cast<std::size_t>(row.end - position_);
    rows += !row.blank || one_column;
  }
  raw.buffer = buffers_.front();
  raw.text = position_;
  raw.size = done;
  raw.line = line_;
  raw.first = row_;
  line_ += lines;
  row_ += rows;
  position_ += done;
  return rows > 0;
}

bool TextRows::take(RawRows& raw) { return take_rows(raw, kBlockRows); }

std::unique_ptr<RowParser> TextRows::parser(const std::vector<CellUse>& uses) const {
  return std::make_unique<TextParser>(*this, uses);
}

std::vector<bool> TextRows::seem_numbers() {
  std::vector<bool> number(names_.size(), true);
  std::vector<TextCell> cells;
  std::size_t place = 0;
  RowScanner& scanner = front();
  for (std::size_t row = 0; row < kGuessRows && scanner.peek(place, names_.size(), cells); ++row)
    for (const TextCell& cell : cells) {
      double value;
      const std::string_view text = trim(cell.text);
      if (number[cell.column] && parse_number(text, format_.decimal, value) != NumberStatus::number &&
          !missing_.match(text))
        number[cell.column] = false;
    }
  return number;
}

}  // namespace moekit::csv
