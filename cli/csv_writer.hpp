#pragma once
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

  const std::string& str() const { return text_; }
  void clear() { text_.clear(); }
  std::string take() { return std::move(text_); }

 private:
  void separate();

  std::string text_;
  bool row_started_ = false;
};

}  // namespace moekit::cli
