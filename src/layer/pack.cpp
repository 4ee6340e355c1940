#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "layer/kernels.hpp"

namespace moekit::layer {

namespace {

/// Rounded to nearest, ties to even; NaN stays one, subnormal numbers become 0, as the processor's own
/// products take them.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7f800000u) == 0) return static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// The smallest bfloat16 that is not below a finite value >= 0.
std::uint16_t bf16_above(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0xffffu) >> 16);
}

std::uint32_t bf16_pair(float even, float odd) {
  return to_bf16(even) | (static_cast<std::uint32_t>(to_bf16(odd)) << 16);
}

float largest(const float* values, std::size_t n) {
  float most = 0;
  for (std::size_t i = 0; i < n; ++i) most = std::max(most, std::abs(values[i]));
  return most;
}

int quantised(float value, float inverse) {
  return static_cast<int>(std::clamp(std::nearbyint(value * inverse), -127.0f, 127.0f));
}

/// A value of each of kPanel rows, inner index by inner index; pieces of 16 indices stay in the cache.
void interleave(const float* rows, std::size_t inner, float* out) {
  constexpr std::size_t kPiece = 16;
  for (std::size_t from = 0; from < inner; from += kPiece) {
    const std::size_t end = std::min(inner, from + kPiece);
    for (std::size_t r = 0; r < kPanel; ++r) {
      const float* values = rows + r * inner;
      for (std::size_t i = from; i < end; ++i) out[i * kPanel + r] = values[i];
    }
  }
}

/// The same for pairs of bfloat16.
void interleave_pairs(const float* rows, std::size_t inner, std::uint32_t* out) {
  constexpr std::size_t kPiece = 16;
  for (std::size_t from = 0; from < inner; from += kPiece) {
    const std::size_t end = std::min(inner, from + kPiece);
    for (std::size_t r = 0; r < kPanel; ++r) {
      const float* values = rows + r * inner;
      for (std::size_t i = from; i < end; i += 2)
        out[i / 2 * kPanel + r] = bf16_pair(values[i], i + 1 < inner ? values[i + 1] : 0.0f);
    }
  }
}

void pack_int8_panel(const float* rows, std::size_t inner, unsigned char* out) {
  for (std::size_t from = 0; from < inner; from += kBlock, out += panel_step_bytes(WeightType::int8)) {
    const std::size_t n = std::min(kBlock, inner - from);
    for (std::size_t c = 0; c < kPanel; ++c) {
      const float* values = rows + c * inner + from;
      // Rounded up, so that the largest value stays within 127 steps.
      const std::uint16_t scale = bf16_above(largest(values, n) / 127.0f);
      std::memcpy(out + 2 * c, &scale, sizeof scale);
      const float step = std::bit_cast<float>(static_cast<std::uint32_t>(scale) << 16);
      const float inverse = step > 0 ? 1.0f / step : 0.0f;
      for (std::size_t i = 0; i < kBlock; ++i)
        out[2 * kPanel + 4 * (i / 4 * kPanel + c) + i % 4] =
            static_cast<unsigned char>(128 + (i < n ? quantised(values[i], inverse) : 0));
    }
  }
}

}  // namespace

void pack_panel(WeightType type, const float* rows, std::size_t inner, unsigned char* out) {
  switch (type) {
    case WeightType::f32:
      return interleave(rows, inner, reinterpret_cast<float*>(out));
    case WeightType::bf16:
      return interleave_pairs(rows, inner, reinterpret_cast<std::uint32_t*>(out));
    case WeightType::int8:
      return pack_int8_panel(rows, inner, out);
  }
}

void unpack_panel(const unsigned char* panel, std::size_t inner, float* rows) {
  const float* values = reinterpret_cast<const float*>(panel);
  for (std::size_t i = 0; i < inner; ++i)
    for (std::size_t c = 0; c < kPanel; ++c) rows[c * inner + i] = values[i * kPanel + c];
}

}  // namespace moekit::layer
