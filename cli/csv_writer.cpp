#include "csv_writer.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "shortest_number.hpp"

namespace moekit::cli {

char* CsvWriter::field(std::size_t letters) {
  if (text_.size() < size_ + letters + 1) text_.resize(std::max(2 * text_.size(), size_ + letters + 1));
  if (row_started_) text_[size_++] = ',';
  row_started_ = true;
  return text_.data() + size_;
}

CsvWriter& CsvWriter::text(std::string_view text) {
  char* to = field(2 * text.size() + 2);
  if (text.find_first_of(",\"\n\r") == std::string_view::npos) {
    to = std::copy(text.begin(), text.end(), to);
  } else {
    *to++ = '"';
    for (const char c : text) {
      if (c == '"') *to++ = '"';
      *to++ = c;
    }
    *to++ = '"';
  }
  size_ = static_cast<std::size_t>(to - text_.data());
  return *this;
}

CsvWriter& CsvWriter::number(double value) {
  char* to = field(kNumberRoom);
  if (!std::isfinite(value)) return *this;
  if (value == 0 && !std::signbit(value))
    *to++ = '0';
  else
    to = write_shortest(value, to);
  size_ = static_cast<std::size_t>(to - text_.data());
  return *this;
}

CsvWriter& CsvWriter::count(std::uint64_t value) {
  char* to = field(kNumberRoom);
  if (value < 10)
    *to++ = static_cast<char>('0' + value);
  else
    to = std::to_chars(to, to + kNumberRoom, value).ptr;
  size_ = static_cast<std::size_t>(to - text_.data());
  return *this;
}

CsvWriter& CsvWriter::end_row() {
  // A single empty field would be an empty line, which readers pass over.
  const bool nothing = size_ == 0 || text_[size_ - 1] == '\n';
  row_started_ = false;
  char* to = field(3);
  if (nothing) *to++ = '"', *to++ = '"';
  *to++ = '\n';
  size_ = static_cast<std::size_t>(to - text_.data());
  row_started_ = false;
  return *this;
}

std::string CsvWriter::take() {
  text_.resize(size_);
  size_ = 0;
  return std::move(text_);
}

}  // namespace moekit::cli
