#include "float_text.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "moekit/error.hpp"

namespace moekit {

namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kNone = 64;

constexpr std::array<std::uint8_t, 256> values_of_digits() {
  std::array<std::uint8_t, 256> out{};
  out.fill(kNone);
  for (std::uint8_t i = 0; i < 64; ++i) out[static_cast<unsigned char>(kDigits[i])] = i;
  return out;
}

std::uint8_t byte_of(std::span<const float> values, std::size_t i) {
  return static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(values[i / 4]) >> (8 * (i % 4)));
}

}  // namespace

std::string float_text(std::span<const float> values, std::string_view what) {
  for (const float v : values)
    if (!std::isfinite(v))
      throw Error(Errc::internal,
                  "the model cannot be saved: " + std::string(what) + " is not a finite number");
  const std::size_t bytes = 4 * values.size();
  std::string text((bytes + 2) / 3 * 4, '=');
  for (std::size_t i = 0, at = 0; i < bytes; i += 3, at += 4) {
    const std::size_t have = std::min<std::size_t>(3, bytes - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < have; ++j) group |= std::uint32_t{byte_of(values, i + j)} << (16 - 8 * j);
    for (std::size_t j = 0; j <= have; ++j) text[at + j] = kDigits[(group >> (18 - 6 * j)) & 63];
  }
  return text;
}

bool parse_float_text(std::string_view text, std::span<float> values) {
  static constexpr auto kValue = values_of_digits();
  const std::size_t bytes = 4 * values.size();
  if (text.size() != (bytes + 2) / 3 * 4) return false;
  std::uint32_t bits = 0;
  for (std::size_t i = 0, at = 0; i < bytes; i += 3, at += 4) {
    const std::size_t have = std::min<std::size_t>(3, bytes - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const std::uint8_t digit = kValue[static_cast<unsigned char>(text[at + j])];
      if (j <= have ? digit == kNone : text[at + j] != '=') return false;
      group = group << 6 | (j <= have ? digit : 0u);
    }
    for (std::size_t j = 0; j < have; ++j) {
      bits |= (group >> (16 - 8 * j) & 255u) << (8 * ((i + j) % 4));
      if ((i + j) % 4 < 3) continue;
      const auto v = std::bit_cast<float>(bits);
      if (!std::isfinite(v)) return false;
      values[(i + j) / 4] = v;
      bits = 0;
    }
  }
  return true;
}

}  // namespace moekit
