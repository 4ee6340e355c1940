#include "layer/kernels_avx512.hpp"

#if defined(__x86_64__) && defined(__GNUC__)

// g++ 12 finds "uninitialised" values in its own intrinsics (gcc.gnu.org/bugzilla, 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>

#include <cstring>
#include <utility>

// Highway 1.0 knows neither vdpbf16ps nor vpdpbusd, so these two kernels are written for the processor.
#define MOEKIT_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define MOEKIT_INT8 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace moekit::layer {

namespace {

std::int32_t word_at(const unsigned char* p) {
  std::int32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

float float_at(const unsigned char* p) {
  float value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

inline void prefetch(const unsigned char* from) {
  __builtin_prefetch(from, 0, 2);
  __builtin_prefetch(from + 64, 0, 2);
}

/// R rows at once; the tile has `height` rows.
template <std::size_t R>
MOEKIT_BF16 void bf16_rows(const unsigned char* w, const unsigned char* x, std::size_t steps,
                           std::size_t height, bool add, float* out, const Ahead& ahead) {
  __m512 low[R], high[R];
#pragma GCC unroll 12
  for (std::size_t r = 0; r < R; ++r) low[r] = high[r] = _mm512_setzero_ps();
  for (std::size_t s = 0; s < steps; ++s, w += 128, x += 4 * height) {
    prefetch(ahead.from + s * ahead.step);
    const auto w0 = (__m512bh)_mm512_loadu_si512(w), w1 = (__m512bh)_mm512_loadu_si512(w + 64);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < R; ++r) {
      const auto v = (__m512bh)_mm512_set1_epi32(word_at(x + 4 * r));
      low[r] = _mm512_dpbf16_ps(low[r], v, w0);
      high[r] = _mm512_dpbf16_ps(high[r], v, w1);
    }
  }
#pragma GCC unroll 12
  for (std::size_t r = 0; r < R; ++r, out += kPanel) {
    if (add) {
      low[r] = _mm512_add_ps(_mm512_loadu_ps(out), low[r]);
      high[r] = _mm512_add_ps(_mm512_loadu_ps(out + 16), high[r]);
    }
    _mm512_storeu_ps(out, low[r]);
    _mm512_storeu_ps(out + 16, high[r]);
  }
}

template <std::size_t R>
MOEKIT_INT8 void int8_rows(const unsigned char* w, const unsigned char* x, std::size_t steps,
                           std::size_t height, std::size_t first, bool add, float* out, const Ahead& ahead) {
  __m512 low[R], high[R];
#pragma GCC unroll 12
  for (std::size_t r = 0; r < R; ++r) low[r] = high[r] = _mm512_setzero_ps();
  for (std::size_t s = 0; s < steps;
       ++s, w += panel_step_bytes(WeightType::int8), x += (8 + kBlock) * height) {
    const unsigned char *scale = x + 4 * first, *minus = scale + 4 * height, *value = minus + 4 * height;
    __m512i sum_low[R], sum_high[R];
#pragma GCC unroll 12
    for (std::size_t r = 0; r < R; ++r) sum_low[r] = sum_high[r] = _mm512_set1_epi32(word_at(minus + 4 * r));
#pragma GCC unroll 1
    for (std::size_t q = 0; q < kBlock / 4; ++q) {
      prefetch(ahead.from + s * ahead.step + q * ahead.step / 8);
      const __m512i w0 = _mm512_loadu_si512(w + 64 + 128 * q), w1 = _mm512_loadu_si512(w + 128 + 128 * q);
#pragma GCC unroll 12
      for (std::size_t r = 0; r < R; ++r) {
        const __m512i v = _mm512_set1_epi32(word_at(value + 4 * (q * height + r)));
        sum_low[r] = _mm512_dpbusd_epi32(sum_low[r], w0, v);
        sum_high[r] = _mm512_dpbusd_epi32(sum_high[r], w1, v);
      }
    }
    const __m512i scales = _mm512_loadu_si512(w);
    const __m512 s0 =
        _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(scales)), 16));
    const __m512 s1 = _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(scales, 1)), 16));
#pragma GCC unroll 12
    for (std::size_t r = 0; r < R; ++r) {
      const __m512 v = _mm512_set1_ps(float_at(scale + 4 * r));
      low[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum_low[r]), _mm512_mul_ps(s0, v), low[r]);
      high[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum_high[r]), _mm512_mul_ps(s1, v), high[r]);
    }
  }
#pragma GCC unroll 12
  for (std::size_t r = 0; r < R; ++r, out += kPanel) {
    if (add) {
      low[r] = _mm512_add_ps(_mm512_loadu_ps(out), low[r]);
      high[r] = _mm512_add_ps(_mm512_loadu_ps(out + 16), high[r]);
    }
    _mm512_storeu_ps(out, low[r]);
    _mm512_storeu_ps(out + 16, high[r]);
  }
}

template <std::size_t... R>
void bf16_by_rows(std::index_sequence<R...>, const unsigned char* w, const unsigned char* x,
                  std::size_t steps, std::size_t rows, bool add, float* out, const Ahead& ahead) {
  ((rows == R + 1 && (bf16_rows<R + 1>(w, x, steps, rows, add, out, ahead), true)) || ...);
}

void bf16_tile(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
               float* out, const Ahead& ahead) {
  bf16_by_rows(std::make_index_sequence<kTileRows>(), w, x, steps, rows, add, out, ahead);
}

/// Float and integer sums of this many rows fit the registers.
constexpr std::size_t kInt8Rows = 6;

template <std::size_t... R>
void int8_by_rows(std::index_sequence<R...>, const unsigned char* w, const unsigned char* x,
                  std::size_t steps, std::size_t rows, std::size_t first, std::size_t count, bool add,
                  float* out, const Ahead& ahead) {
  ((count == R + 1 && (int8_rows<R + 1>(w, x, steps, rows, first, add, out, ahead), true)) || ...);
}

void int8_tile(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
               float* out, const Ahead& ahead) {
  for (std::size_t first = 0; first < rows; first += kInt8Rows) {
    const std::size_t count = rows - first < kInt8Rows ? rows - first : kInt8Rows;
    int8_by_rows(std::make_index_sequence<kInt8Rows>(), w, x, steps, rows, first, count, add,
                 out + first * kPanel, ahead);
  }
}

}  // namespace

TileKernel avx512_bf16_kernel() {
  static const bool has = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl");
  return has ? bf16_tile : nullptr;
}

TileKernel avx512_int8_kernel() {
  static const bool has = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl");
  return has ? int8_tile : nullptr;
}

}  // namespace moekit::layer

#else

namespace moekit::layer {

TileKernel avx512_bf16_kernel() { return nullptr; }
TileKernel avx512_int8_kernel() { return nullptr; }

}  // namespace moekit::layer

#endif
