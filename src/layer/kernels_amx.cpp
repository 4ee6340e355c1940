#include "layer/kernels_amx.hpp"

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#define MOEKIT_AMX __attribute__((target("amx-tile,amx-bf16")))

namespace moekit::layer {

namespace {

constexpr std::size_t kSide = 16;                           ///< rows of a register
constexpr std::size_t kRowBytes = 64;                       ///< of a register
constexpr std::size_t kBandBytes = kBand / 2 * kPanel * 4;  ///< of a panel
constexpr std::size_t kStride = kPanel * 4;                 ///< of panels and results
constexpr std::size_t kChunkBands = 32;  ///< of a panel that stay in the second-level cache

/// What LDTILECFG reads. Registers 0 to 3 hold sums (rows 0 to 15 and 16 to 31, columns likewise), 4 and 5
/// rows, 6 and 7 weights.
struct alignas(64) Shapes {
  std::uint8_t palette = 1, start = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> bytes{};
  std::array<std::uint8_t, 16> rows{};
};
static_assert(sizeof(Shapes) == 64);

/// How the registers of this thread are set up: for tiles of so many rows, or not (0); and who still wants
/// them so.
thread_local std::size_t shaped = 0, holds = 0;

MOEKIT_AMX void release() {
  if (shaped) _tile_release();
  shaped = 0;
}

/// For tiles of `height` rows.
MOEKIT_AMX void shape_registers(std::size_t height) {
  if (height == shaped) return;
  shaped = height;
  Shapes shapes;
  const auto top = static_cast<std::uint8_t>(std::min(kSide, height));
  const auto bottom = static_cast<std::uint8_t>(height - top);
  const std::array<std::uint8_t, 8> rows = {top, top, bottom, bottom, top, bottom, kSide, kSide};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    shapes.rows[i] = rows[i];
    shapes.bytes[i] = rows[i] ? kRowBytes : 0;
  }
  _tile_loadconfig(&shapes);
}

/// A tile of `height` rows, more than 16 of them if `tall`, with `bands` bands of a panel: the steps of
/// `ahead`.
template <bool tall>
MOEKIT_AMX void multiply_bands(const unsigned char* w, const unsigned char* x, std::size_t bands,
                               std::size_t height, bool add, float* out, const Ahead& ahead) {
  if (add) {
    _tile_loadd(0, out, kStride);
    _tile_loadd(1, out + kSide, kStride);
    if constexpr (tall) {
      _tile_loadd(2, out + kSide * kPanel, kStride);
      _tile_loadd(3, out + kSide * kPanel + kSide, kStride);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (tall) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  for (std::size_t b = 0; b < bands; ++b, w += kBandBytes, x += height * kRowBytes) {
    const unsigned char* next = ahead.from + b * ahead.step;
    for (std::size_t line = 0; line < ahead.step; line += 64) __builtin_prefetch(next + line, 0, 2);
    _tile_loadd(6, w, kStride);
    _tile_loadd(4, x, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, w + kRowBytes, kStride);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (tall) {
      _tile_loadd(5, x + kSide * kRowBytes, kRowBytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, out, kStride);
  _tile_stored(1, out + kSide, kStride);
  if constexpr (tall) {
    _tile_stored(2, out + kSide * kPanel, kStride);
    _tile_stored(3, out + kSide * kPanel + kSide, kStride);
  }
}

MOEKIT_AMX void multiply_group(const unsigned char* panel, const unsigned char* tiles, std::size_t inner,
                               std::size_t rows, float* out) {
  if (rows == 0 || inner == 0) {
    std::fill_n(out, rows * kPanel, 0.0f);
    return;
  }
  // The last band of a panel may be short: with zeros it is a whole one, and nobody reads beyond the panel.
  alignas(64) std::array<unsigned char, kBandBytes> last;
  const std::size_t bands = (inner + kBand - 1) / kBand, whole = inner / kBand;
  if (whole < bands) {
    const std::size_t used = panel_bytes(WeightType::bf16, inner) - whole * kBandBytes;
    std::copy_n(panel + whole * kBandBytes, used, last.begin());
    std::fill(last.begin() + used, last.end(), 0);
  }
  const std::size_t count = (rows + kMostTileRows - 1) / kMostTileRows;
  for (std::size_t b = 0; b < bands; b += kChunkBands) {
    const std::size_t n = std::min(kChunkBands, whole - b);
    const unsigned char* chunk = panel + b * kBandBytes;
    for (std::size_t t = 0; t < count; ++t) {
      const std::size_t first = t * kMostTileRows, height = std::min(kMostTileRows, rows - first);
      shape_registers(height);
      const auto multiply_some = height > kSide ? multiply_bands<true> : multiply_bands<false>;
      const unsigned char* x = tiles + (first * bands + b * height) * kRowBytes;
      float* to = out + first * kPanel;
      // The first tile asks for its own weights, some way ahead; the others for a part of the next chunk
      // each.
      const std::size_t share = kBandBytes / std::max<std::size_t>(1, count - 1) / 64 * 64;
      const Ahead ahead = t == 0 ? Ahead{chunk + kBandBytes, kBandBytes}
                                 : Ahead{chunk + n * kBandBytes + (t - 1) * n * share, share};
      if (n > 0) multiply_some(chunk, x, n, height, b > 0, to, ahead);
      if (whole < bands && b + kChunkBands >= bands)
        multiply_some(last.data(), x + n * height * kRowBytes, 1, height, b + n > 0, to, {});
    }
  }
  if (holds == 0) release();
}

/// The system saves the registers only of programs that ask for them (Linux:
/// Documentation/arch/x86/xstate.rst).
bool allowed() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kBf16) || !(d & kTile)) return false;
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

GroupKernel amx_bf16_kernel() {
  static const bool has = allowed();
  return has ? multiply_group : nullptr;
}

MatrixUnitHold::MatrixUnitHold() { ++holds; }
MatrixUnitHold::~MatrixUnitHold() {
  if (--holds == 0) release();
}

}  // namespace moekit::layer

#else

namespace moekit::layer {

GroupKernel amx_bf16_kernel() { return nullptr; }

MatrixUnitHold::MatrixUnitHold() = default;
MatrixUnitHold::~MatrixUnitHold() = default;

}  // namespace moekit::layer

#endif
