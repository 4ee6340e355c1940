#include "text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace moekit::cli {

std::string shortest(double value) {
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end);
}

std::string brief(double value, int digits) {
  if (std::isnan(value)) return "-";
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::general, std::clamp(digits, 1, 17));
  std::string text(buffer.data(), end);
  // 12345.6 with four digits would be 1.235e+04: whole numbers of that size read better.
  if (text.find('e') != std::string::npos && std::abs(value) >= 1 && std::abs(value) < 1e9) {
    const auto [stop, failed] =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, 0);
    text.assign(buffer.data(), stop);
  }
  return text == "-0" ? "0" : text;
}

std::string brief_amount(double value, int digits) {
  return brief(std::abs(value) < 1e-3 ? 0 : value, digits);
}

std::string seconds_text(double seconds) {
  std::array<char, 64> buffer;
  const int decimals = seconds < 10 ? 2 : seconds < 100 ? 1 : 0;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(),
                                          std::min(seconds, 1e9), std::chars_format::fixed, decimals);
  return std::string(buffer.data(), end) + " s";
}

std::string percent(double share) { return brief_amount(100 * share, 3) + " %"; }

std::string bar(double value, double most, std::size_t width, bool blocks) {
  if (!(value > 0) || !(most > 0)) return {};
  const double part = std::min(1.0, value / most) * static_cast<double>(width);
  if (!blocks) return std::string(static_cast<std::size_t>(std::lround(part)), '#');
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<std::size_t>(std::lround(8 * part));
  std::string text;
  for (std::size_t i = 0; i < eighths / 8; ++i) text += "█";
  return text + kEighths[eighths % 8];
}

std::string counted(std::uint64_t n, std::string_view noun) {
  return std::to_string(n) + " " + std::string(noun) + (n == 1 ? "" : "s");
}

std::string more_line(std::size_t all, std::size_t most, std::string_view noun) {
  if (all <= most) return "";
  return "... and " + counted(all - most, "more " + std::string(noun)) + " (-v shows all)\n";
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i) text += separator;
    text += parts[i];
  }
  return text;
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::string piece;
  bool quoted = false, was_quoted = false;
  const auto finish = [&] {
    const std::size_t from = piece.find_first_not_of(" \t");
    if (was_quoted) {
      parts.push_back(piece);
    } else if (from != std::string::npos) {
      parts.push_back(piece.substr(from, piece.find_last_not_of(" \t") - from + 1));
    }
    piece.clear();
    was_quoted = false;
  };
  for (const char c : text) {
    if (c == '"') {
      quoted = !quoted;
      if (quoted) piece.clear();  // blanks before the quote
      was_quoted = true;
    } else if (c == ',' && !quoted) {
      finish();
    } else if (quoted || !was_quoted) {
      piece += c;
    }
  }
  finish();
  return parts;
}

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string shorten(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  const std::size_t keep = width > 3 ? width - 3 : 0;
  std::size_t end = 0, seen = 0;
  while (end < text.size()) {
    if ((text[end] & 0xC0) != 0x80 && seen++ == keep) break;
    ++end;
  }
  return text.substr(0, end) + "...";
}

std::string wrapped(const std::string& text, std::size_t width, std::size_t first, std::size_t indent) {
  std::string out;
  std::size_t at = first;
  bool line_start = true;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = harmless(text.substr(begin, end - begin));
    begin = end + 1;
    if (word.empty()) continue;
    const std::size_t size = display_width(word);
    if (!line_start && at + 1 + size > width) {
      out += "\n" + std::string(indent, ' ');
      at = indent;
      line_start = true;
    }
    if (!line_start) {
      out += ' ';
      ++at;
    }
    out += word;
    at += size;
    line_start = false;
  }
  return out;
}

void TextTable::column(std::string heading, Align align) {
  headings_.push_back(std::move(heading));
  align_.push_back(align);
}

void TextTable::row(std::vector<std::string> cells) {
  cells.resize(headings_.size());
  for (std::string& cell : cells) cell = harmless(cell);
  rows_.push_back(std::move(cells));
}

std::string TextTable::text(std::size_t indent, bool headings) const {
  std::vector<std::size_t> width(headings_.size(), 0);
  const auto measure = [&](const std::vector<std::string>& cells) {
    for (std::size_t j = 0; j < cells.size(); ++j) width[j] = std::max(width[j], display_width(cells[j]));
  };
  if (headings) measure(headings_);
  for (const auto& cells : rows_) measure(cells);

  std::string out;
  const auto add = [&](const std::vector<std::string>& cells) {
    std::string line(indent, ' ');
    for (std::size_t j = 0; j < cells.size(); ++j) {
      if (j) line += "  ";
      const std::string blanks(width[j] - display_width(cells[j]), ' ');
      line += align_[j] == Align::right ? blanks + cells[j] : cells[j] + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  if (headings) add(headings_);
  for (const auto& cells : rows_) add(cells);
  return out;
}

}  // namespace moekit::cli
