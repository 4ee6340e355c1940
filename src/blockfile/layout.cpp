#include "layout.hpp"

#include <algorithm>
#include <charconv>

namespace moekit::blocks {

bool is_plain(std::string_view text, char decimal) {
  constexpr std::size_t kMostDigits = 15;
  std::size_t i = !text.empty() && text[0] == '-';
  const auto digits = [&] {
    const std::size_t begin = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - begin;
  };
  const std::size_t first = i, whole = digits();
  if (whole == 0 || (whole > 1 && text[first] == '0')) return false;
  if (i == text.size()) return whole <= kMostDigits;
  if (text[i] != decimal) return false;
  ++i;
  const std::size_t fraction = digits();
  return fraction > 0 && i == text.size() && text.back() != '0' && whole + fraction <= kMostDigits;
}

char* plain_text(double value, char decimal, char* out) {
  char* const end = std::to_chars(out, out + kPlainRoom, value, std::chars_format::fixed).ptr;
  if (decimal != '.') std::replace(out, end, '.', decimal);
  return end;
}

}  // namespace moekit::blocks
