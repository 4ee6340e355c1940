#include "csv_writer.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace moekit::cli {

void CsvWriter::separate() {
  if (row_started_) text_ += ',';
  row_started_ = true;
}

CsvWriter& CsvWriter::text(std::string_view field) {
  separate();
  if (field.find_first_of(",\"\n\r") == std::string_view::npos) {
    text_ += field;
    return *this;
  }
  text_ += '"';
  for (const char c : field) {
    if (c == '"') text_ += '"';
    text_ += c;
  }
  text_ += '"';
  return *this;
}

CsvWriter& CsvWriter::number(double value) {
  separate();
  if (!std::isfinite(value)) return *this;
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  text_.append(buffer.data(), end);
  return *this;
}

CsvWriter& CsvWriter::count(std::uint64_t value) {
  separate();
  text_ += std::to_string(value);
  return *this;
}

CsvWriter& CsvWriter::end_row() {
  // A single empty field would be an empty line, which readers pass over.
  if (text_.empty() || text_.back() == '\n') text_ += "\"\"";
  text_ += '\n';
  row_started_ = false;
  return *this;
}

}  // namespace moekit::cli
