#include "row_scanner.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "message.hpp"
#include "number.hpp"

namespace moekit::csv {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

}  // namespace

const char* blank_line_end(const char* p, const char* end, char separator) {
  while (p < end && (*p == ' ' || *p == '\t') && *p != separator) ++p;
  if (p < end && *p == '\r') ++p;
  if (p >= end) return end;
  return *p == '\n' ? p + 1 : nullptr;
}

void RowScanner::set_format(char separator, char decimal, const MissingTokens& missing) {
  separator_ = separator;
  decimal_ = decimal;
  missing_ = missing;
  std::fill(std::begin(stops_), std::end(stops_), false);
  for (const char c : {separator, '\n', '\r'}) stops_[static_cast<unsigned char>(c)] = true;
}

void RowScanner::set_uses(std::vector<CellUse> uses) {
  uses_ = std::move(uses);
  out_.assign(uses_.size(), nullptr);
}

void RowScanner::set_text(const char* begin, std::size_t size, std::uint64_t line, bool whole) {
  position_ = begin;
  end_ = begin + size;
  line_ = row_line_ = line;
  at_end_ = whole;
  has_nul_ = size > 0 && std::memchr(begin, 0, size);
  unescaped_.clear();
}

std::string RowScanner::column_name(std::size_t c) const {
  return c < names_.size() ? "column '" + shown(names_[c]) + "'" : "column " + std::to_string(c + 1);
}

void RowScanner::wrong_count(std::size_t fields) const {
  const std::size_t columns = uses_.size();
  std::string what = "the row has " + std::to_string(fields) + (fields == 1 ? " field" : " fields") +
                     ", the header has " + std::to_string(columns);
  if (fields < columns)
    what += "; nothing stands for " + column_name(fields);
  else
    what += "; quote a cell that holds the separator";
  refuse(file_, row_line_, what);
}

void RowScanner::check_nul(const char* begin, const char* end) const {
  const void* nul = std::memchr(begin, 0, static_cast<std::size_t>(end - begin));
  if (!nul) return;
  const auto line =
      row_line_ + static_cast<std::uint64_t>(std::count(begin, static_cast<const char*>(nul), '\n'));
  std::size_t column = 0;
  bool quoted = false;
  for (const char* p = begin; p != nul; ++p) {
    if (*p == '"') quoted = !quoted;
    if (*p == separator_ && !quoted) ++column;
  }
  refuse(file_, line,
         column_name(column) +
             ": a NUL byte; the file is damaged, not text, or UTF-16 (iconv -f UTF-16 -t UTF-8)");
}

/// p is after the last cell of a row: the place after the line end; null when more text is needed first.
const char* RowScanner::end_of_line(const char* p) {
  if (*p == '\r') {
    if (p + 1 >= end_ && !at_end_) return nullptr;
    if (p[1] != '\n') {
      if (peeking_) return nullptr;
      refuse(
          file_, row_line_ + inner_lines_,
          "a carriage return without a line feed; convert the line ends: tr '\\r' '\\n', or quote the cell");
    }
    ++p;
  }
  if (p < end_) return p + 1;
  return at_end_ ? end_ : nullptr;
}

/// p is at an opening quote. The cell, and the place of the separator or line end after it.
const char* RowScanner::scan_quoted(const char* p, Cell& cell) {
  const char* const begin = ++p;
  const std::uint64_t opened = row_line_ + inner_lines_;
  for (;;) {
    p = static_cast<const char*>(std::memchr(p, '"', static_cast<std::size_t>(end_ - p)));
    if (!p) {
      if (!at_end_ || peeking_) return nullptr;
      refuse(file_, opened,
             "a quote opens here and never closes: " +
                 shown(std::string_view(begin,
                                        std::min<std::size_t>(40, static_cast<std::size_t>(end_ - begin)))));
    }
    if (p + 1 >= end_ && !at_end_) return nullptr;
    if (p + 1 >= end_ || p[1] != '"') break;
    cell.escaped = true;
    p += 2;
  }
  cell.begin = begin;
  cell.end = p;
  inner_lines_ += static_cast<std::uint64_t>(std::count(begin, p, '\n'));
  ++p;
  while ((*p == ' ' || *p == '\t') && *p != separator_) ++p;
  if (p >= end_ && !at_end_) return nullptr;
  if (stops_[static_cast<unsigned char>(*p)]) return p;
  if (peeking_) return nullptr;
  const char* text_end = p;
  while (text_end < end_ && text_end - p < 20 && !stops_[static_cast<unsigned char>(*text_end)]) ++text_end;
  refuse(file_, row_line_ + inner_lines_,
         "text after a closing quote: \"" +
             shown({cell.begin, static_cast<std::size_t>(cell.end - cell.begin)}) + "\"" +
             shown({p, static_cast<std::size_t>(text_end - p)}) + "; double the quotes inside a quoted cell");
}

/// The cell at p, and the place of the separator or line end after it; null when more text is needed first.
inline const char* RowScanner::scan_cell(const char* p, Cell& cell) {
  cell.escaped = false;
  while ((*p == ' ' || *p == '\t') && *p != separator_) ++p;
  if (*p == '"' && p < end_) return scan_quoted(p, cell);
  cell.begin = p;
  while (!stops_[static_cast<unsigned char>(*p)]) ++p;
  cell.end = p;
  while (cell.end > cell.begin && (cell.end[-1] == ' ' || cell.end[-1] == '\t')) --cell.end;
  return p;
}

void RowScanner::keep_text(const Cell& cell, std::size_t column) {
  std::string_view text(cell.begin, static_cast<std::size_t>(cell.end - cell.begin));
  if (cell.escaped) {
    std::string& plain = unescaped_.emplace_back();
    for (std::size_t i = 0; i < text.size(); ++i) {
      plain += text[i];
      if (text[i] == '"') ++i;
    }
    text = plain;
  }
  cells_.push_back({column, text});
}

/// A number cell that the fast way did not take: quoted, padded, missing, long, or no number.
const char* RowScanner::slow_number(const char* p, std::size_t column, std::size_t slot) {
  Cell cell;
  p = scan_cell(p, cell);
  if (!p) return nullptr;
  const std::string_view text = trim({cell.begin, static_cast<std::size_t>(cell.end - cell.begin)});
  double value = kNaN;
  if (parse_number(text, decimal_, value) != NumberStatus::number) {
    value = kNaN;
    if (!missing_.match(text)) keep_text(cell, column);
  } else if (missing_.has_numbers() && missing_.match(value)) {
    value = kNaN;
  }
  out_[column][slot] = value;
  return p;
}

/// Reads the row at p; the place after it, or null when more text is needed first.
const char* RowScanner::scan_row(const char* p, std::size_t slot) {
  const std::size_t columns = uses_.size();
  const char separator = separator_, decimal = decimal_;
  const bool number_tokens = missing_.has_numbers();
  const CellUse* const uses = uses_.data();
  double* const* const out = out_.data();
  cells_.clear();
  inner_lines_ = 0;
  for (std::size_t c = 0;; ++c) {
    const CellUse use = c < columns ? uses[c] : CellUse::skip;
    if (use == CellUse::number) {
      double value;
      const char* q = parse_number_fast(p, decimal, value);
      if (q && (*q == separator || *q == '\n' || *q == '\r')) [[likely]] {
        out[c][slot] = number_tokens && missing_.match(value) ? kNaN : value;
        p = q;
      } else {
        p = slow_number(p, c, slot);
      }
    } else {
      Cell cell;
      p = scan_cell(p, cell);
      if (p && use == CellUse::text) keep_text(cell, c);
    }
    if (!p) return nullptr;
    if (*p == separator) [[likely]] {
      ++p;
      continue;
    }
    p = end_of_line(p);
    if (p && c + 1 != columns) [[unlikely]]
      wrong_count(c + 1);
    return p;
  }
}

/// Skips blank lines of a table of several columns; false at the end of the text.
bool RowScanner::skip_blank() {
  while (position_ < end_) {
    if (static_cast<unsigned char>(*position_) > ' ' || uses_.size() == 1) return true;
    const char* p = blank_line_end(position_, end_, separator_);
    if (!p) return true;
    ++line_;
    position_ = p;
  }
  return false;
}

bool RowScanner::next(std::size_t slot) {
  if (!skip_blank()) return false;
  row_line_ = line_;
  if (uses_.size() == 1 && static_cast<unsigned char>(*position_) <= ' ')
    if (const char* after = blank_line_end(position_, end_, separator_)) {
      cells_.clear();
      if (uses_[0] == CellUse::number) out_[0][slot] = kNaN;
      if (uses_[0] == CellUse::text) cells_.push_back({0, {}});
      ++line_;
      position_ = after;
      return true;
    }
  const char* const after = scan_row(position_, slot);
  if (has_nul_) check_nul(position_, after);
  position_ = after;
  line_ += 1 + inner_lines_;
  return true;
}

bool RowScanner::next_record(std::vector<std::string>& fields) {
  fields.clear();
  set_uses(std::vector<CellUse>(2, CellUse::skip));  // several columns: blank lines are skipped
  if (!skip_blank()) return false;
  row_line_ = line_;
  cells_.clear();
  inner_lines_ = 0;
  const char* p = position_;
  for (std::size_t c = 0;; ++c) {
    Cell cell;
    p = scan_cell(p, cell);
    keep_text(cell, c);
    if (*p != separator_) break;
    ++p;
  }
  p = end_of_line(p);
  if (has_nul_) check_nul(position_, p);
  for (const TextCell& cell : cells_) fields.emplace_back(trim(cell.text));
  position_ = p;
  line_ += 1 + inner_lines_;
  return true;
}

bool RowScanner::peek(std::size_t& place, std::size_t columns, std::vector<TextCell>& cells) {
  peeking_ = true;
  cells_.clear();
  const char* p = position_ + place;
  while (p < end_ && (*p == '\n' || *p == '\r')) ++p;
  bool whole = p < end_;
  for (std::size_t c = 0; whole; ++c) {
    Cell cell;
    p = scan_cell(p, cell);
    if (p && c < columns) keep_text(cell, c);
    if (p && *p == separator_) {
      ++p;
      continue;
    }
    if (p) p = end_of_line(p);
    whole = p != nullptr;
    break;
  }
  peeking_ = false;
  if (whole) place = static_cast<std::size_t>(p - position_);
  cells = cells_;
  return whole;
}

std::size_t RowScanner::peek_fields(std::size_t& place, char separator) {
  const char kept = separator_;
  set_format(separator, decimal_, missing_);
  peeking_ = true;
  std::size_t fields = 0;
  const char* p = position_ + place;
  while (p < end_ && (*p == '\n' || *p == '\r')) ++p;
  if (p < end_) {
    for (;;) {
      Cell cell;
      p = scan_cell(p, cell);
      if (!p) break;
      ++fields;
      if (*p != separator) break;
      ++p;
    }
    if (p) p = end_of_line(p);
    if (p)
      place = static_cast<std::size_t>(p - position_);
    else
      fields = 0;
  }
  peeking_ = false;
  set_format(kept, decimal_, missing_);
  return fields;
}

}  // namespace moekit::csv
