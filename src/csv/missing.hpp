#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "number.hpp"

namespace moekit::csv {

inline std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

/// `lower` is in lower case.
inline bool same_but_for_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
         });
}

/// What counts as no value: empty, NA, NaN, null, "?", ".", and the user's tokens. A token that is a number,
/// such as -999, stands for every spelling of it (-999.0).
class MissingTokens {
 public:
  MissingTokens() = default;
  MissingTokens(const std::vector<std::string>& tokens, char decimal) : tokens_(tokens), decimal_(decimal) {
    double value = 0;
    for (const std::string& token : tokens_)
      if (parse_number(trim(token), decimal, value) == NumberStatus::number) values_.push_back(value);
  }

  /// `text` without blanks around it.
  bool match(std::string_view text) const {
    if (text.empty()) return true;
    if (text.size() == 1 && (text[0] == '?' || text[0] == '.')) return true;
    if (text == "NA" || same_but_for_case(text, "nan") || same_but_for_case(text, "null")) return true;
    if (tokens_.empty()) return false;
    if (std::find(tokens_.begin(), tokens_.end(), text) != tokens_.end()) return true;
    double value = 0;
    return !values_.empty() && parse_number(text, decimal_, value) == NumberStatus::number && match(value);
  }
  bool has_numbers() const { return !values_.empty(); }
  bool match(double value) const { return std::find(values_.begin(), values_.end(), value) != values_.end(); }

 private:
  std::vector<std::string> tokens_;
  std::vector<double> values_;
  char decimal_ = '.';
};

}  // namespace moekit::csv
