#include "number.hpp"

#include <algorithm>
#include <charconv>
#include <string>

namespace moekit::csv {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Whether text (without its sign) is spelt as a decimal number; from_chars alone would take "inf" and "nan".
bool spelt_as_number(std::string_view text, char decimal) {
  std::size_t i = 0, digits = 0;
  while (i < text.size() && is_digit(text[i])) ++i, ++digits;
  if (i < text.size() && text[i] == decimal)
    for (++i; i < text.size() && is_digit(text[i]); ++i) ++digits;
  if (digits == 0) return false;
  if (i == text.size()) return true;
  if (text[i] != 'e' && text[i] != 'E') return false;
  if (++i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  if (i == text.size()) return false;
  while (i < text.size() && is_digit(text[i])) ++i;
  return i == text.size();
}

/// Of a number that float64 can't hold: whether it is too large rather than too near zero.
bool beyond_largest(std::string_view text, char decimal) {
  const std::size_t e = text.find_first_of("eE");
  const std::string_view digits = text.substr(0, e);
  const std::size_t mark = std::min(digits.find(decimal), digits.size());
  const auto decade = static_cast<long>(mark) - static_cast<long>(digits.find_first_of("123456789"));
  long exponent = 0;
  if (e != std::string_view::npos) {
    const bool down = text[e + 1] == '-';
    for (const char c : text.substr(e + 1))
      if (is_digit(c)) exponent = std::min(exponent * 10 + (c - '0'), 1000000000L);
    if (down) exponent = -exponent;
  }
  return decade + exponent > 0;
}

}  // namespace

NumberStatus parse_number(std::string_view text, char decimal, double& value) {
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (!spelt_as_number(text, decimal)) return NumberStatus::not_a_number;
  std::string with_point;
  std::string_view plain = text;
  if (decimal != '.') {
    with_point = text;
    const std::size_t mark = with_point.find(decimal);
    if (mark != std::string::npos) with_point[mark] = '.';
    plain = with_point;
  }
  double magnitude = 0;
  const auto [end, status] = std::from_chars(plain.data(), plain.data() + plain.size(), magnitude);
  if (status == std::errc::result_out_of_range) {
    // Zero to any exponent is zero.
    const std::string_view digits = text.substr(0, text.find_first_of("eE"));
    if (digits.find_first_of("123456789") != std::string_view::npos)
      return beyond_largest(text, decimal) ? NumberStatus::too_large : NumberStatus::too_small;
    magnitude = 0;
  } else if (status != std::errc{} || end != plain.data() + plain.size()) {
    return NumberStatus::not_a_number;
  }
  value = negative ? -magnitude : magnitude;
  return NumberStatus::number;
}

}  // namespace moekit::csv
