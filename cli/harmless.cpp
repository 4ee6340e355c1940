#include "harmless.hpp"

#include <array>
#include <cstdint>
#include <cstdio>

namespace moekit::cli {

namespace {

constexpr std::uint32_t kBroken = 0xFFFFFFFF;

struct Character {
  std::uint32_t code;  // kBroken: no UTF-8
  std::size_t bytes;
};

/// The character that begins at a byte; a byte that begins none stands for itself.
Character character_at(const std::string& text, std::size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  const std::size_t bytes = first >= 0xC2 && first < 0xE0   ? 2
                            : first >= 0xE0 && first < 0xF0 ? 3
                            : first >= 0xF0 && first < 0xF5 ? 4
                                                            : 0;
  if (bytes == 0 || at + bytes > text.size()) return {kBroken, 1};
  std::uint32_t code = first & (0xFFu >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0) != 0x80) return {kBroken, 1};
    code = code << 6 | (next & 0x3F);
  }
  constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  if (code < kLeast[bytes] || surrogate || code > 0x10FFFF) return {kBroken, 1};
  return {code, bytes};
}

bool is_control(std::uint32_t code) { return code < 0x20 || (code >= 0x7F && code < 0xA0); }

/// Turns text around, breaks lines, or takes no room: nobody would see that it is there.
bool is_hidden(std::uint32_t code) {
  struct Range {
    std::uint32_t first, last;
  };
  // U+200C and U+200D join letters of several scripts and stay.
  constexpr std::array<Range, 9> kHidden = {{{0x61C, 0x61C},
                                             {0x180E, 0x180E},
                                             {0x200B, 0x200B},
                                             {0x200E, 0x200F},
                                             {0x2028, 0x202E},
                                             {0x2060, 0x206F},
                                             {0xFEFF, 0xFEFF},
                                             {0xFFF9, 0xFFFB},
                                             {0xE0000, 0xE007F}}};
  for (const Range& range : kHidden)
    if (code >= range.first && code <= range.last) return true;
  return false;
}

std::string escape(std::uint32_t code) {
  char text[16];
  if (code < 0x10000) {
    std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(code));
  } else {
    const unsigned above = static_cast<unsigned>(code) - 0x10000;
    std::snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + (above >> 10), 0xDC00 + (above & 0x3FF));
  }
  return text;
}

/// The text with what `instead` returns for characters that should not be there; "": they stay.
template <class Instead>
std::string replaced(const std::string& text, const Instead& instead) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] >= 0x20 && text[at] < 0x7F) {
      out += text[at++];
      continue;
    }
    const Character c = character_at(text, at);
    if (const std::string other = instead(c.code); !other.empty())
      out += other;
    else
      out.append(text, at, c.bytes);
    at += c.bytes;
  }
  return out;
}

}  // namespace

std::string harmless(const std::string& text) {
  return replaced(text, [](std::uint32_t code) -> std::string {
    return code == kBroken || is_control(code) || is_hidden(code) ? "?" : "";
  });
}

std::string harmless_markup(const std::string& text) {
  return replaced(text, [](std::uint32_t code) -> std::string {
    if (code == '\n' || code == '\t') return "";
    return code == kBroken || is_control(code) || is_hidden(code) ? "\xEF\xBF\xBD" : "";
  });
}

std::string harmless_json(const std::string& json) {
  return replaced(json, [](std::uint32_t code) -> std::string {
    // Line ends are the indentation's: in a text they are escaped already.
    return code != kBroken && code >= 0x20 && (is_control(code) || is_hidden(code)) ? escape(code) : "";
  });
}

}  // namespace moekit::cli
