#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace moekit::cli {

/// Rows of CSV: commas, decimal points, fields quoted where RFC 4180 asks for it, numbers as the shortest
/// text that reads back the same. A value that is not there is an empty field.
class CsvWriter {
 public:
  CsvWriter& text(std::string_view field);
  CsvWriter& number(double value);
  CsvWriter& count(std::uint64_t value);
  CsvWriter& empty() { return text({}); }
  CsvWriter& end_row();

  /// Room for so many letters, if it is known how many come.
  void reserve(std::size_t letters) { text_.resize(std::max(text_.size(), size_ + letters)); }
  std::string_view str() const { return {text_.data(), size_}; }
  std::string take();
  void clear() { size_ = 0; }

 private:
  /// Room for so many letters at the end, behind the comma that comes first in all fields but the first.
  char* field(std::size_t letters);

  std::string text_;      // longer than what was written
  std::size_t size_ = 0;  // what was written
  bool row_started_ = false;
};

}  // namespace moekit::cli
