#include "message.hpp"

#include <algorithm>

namespace moekit::csv {

namespace {

constexpr std::size_t kMostShown = 60;

/// Length of the UTF-8 character at the start of text, or 0 if it is not valid.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  const unsigned c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c <= 0xDF) return tail(1) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    const bool overlong = c == 0xE0 && at(1) < 0xA0, surrogate = c == 0xED && at(1) > 0x9F;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    const bool overlong = c == 0xF0 && at(1) < 0x90, beyond = c == 0xF4 && at(1) > 0x8F;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string shown(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= kMostShown) return out + "...";
    const std::size_t n = utf8_length(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (n > 1 || (n == 1 && c >= 0x20 && c != 0x7F)) {
      out += text.substr(0, n);
    } else if (c == '\n' || c == '\t' || c == '\r') {
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r";
    } else {
      constexpr char hex[] = "0123456789ABCDEF";
      out += {'\\', 'x', hex[c >> 4], hex[c & 15]};
    }
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

std::string list_names(const std::vector<std::string>& names, std::size_t most) {
  std::string out;
  const std::size_t n = std::min(most, names.size());
  for (std::size_t i = 0; i < n; ++i) out += (i ? ", " : "") + shown(names[i]);
  if (n < names.size()) out += " and " + std::to_string(names.size() - n) + " more";
  return out;
}

std::string argument(std::string_view text) {
  const std::string plain = shown(text);
  const bool safe = !plain.empty() && std::all_of(plain.begin(), plain.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("_-./+:@%").find(c) != std::string_view::npos;
  });
  if (safe) return plain;
  return plain.find('\'') == std::string::npos ? "'" + plain + "'" : "\"" + plain + "\"";
}

void refuse(const std::string& file, std::uint64_t line, const std::string& what) {
  throw Error(Errc::data, file + ":" + std::to_string(line) + ": " + what);
}

void refuse_cell(const std::string& file, std::uint64_t line, std::string_view column,
                 const std::string& what) {
  refuse(file, line, "column '" + shown(column) + "': " + what);
}

std::string suggestion(std::string_view name, const std::vector<std::string>& known) {
  const std::string near = nearest_name(name, known);
  std::string out = near.empty() ? std::string() : "; did you mean '" + shown(near) + "'?";
  if (near.empty() || known.size() <= 20)
    out += (near.empty() ? "; the columns are: " : " the columns are: ") + list_names(known);
  return out;
}

}  // namespace moekit::csv
