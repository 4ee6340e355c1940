#include "simd/products.hpp"

#include <algorithm>
#include <array>
#include <utility>

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/products.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<double>;
using V = hn::Vec<D>;

// Sums of one tile: kLeft products times kRight weights; with 32 registers 4 x 4, with 16 registers 4 x 2.
// The loops over a tile are unrolled by hand: else GCC keeps the sums of a large tile in memory, at a third
// of the speed.
constexpr std::size_t kLeft = 4;
#if HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2
constexpr std::size_t kRight = 2;
#else
constexpr std::size_t kRight = 4;
#endif

/// Columns whose product is summed against a weight; b is null for a single column.
struct Factor {
  const double* a;
  const double* b;
};

HWY_INLINE V FactorAt(D d, const Factor& f, std::size_t i, hwy::SizeTag<2>) {
  return hn::Mul(hn::LoadU(d, f.a + i), hn::LoadU(d, f.b + i));
}
HWY_INLINE V FactorAt(D d, const Factor& f, std::size_t i, hwy::SizeTag<1>) { return hn::LoadU(d, f.a + i); }
HWY_INLINE double FactorAt(const Factor& f, std::size_t i, hwy::SizeTag<2>) { return f.a[i] * f.b[i]; }
HWY_INLINE double FactorAt(const Factor& f, std::size_t i, hwy::SizeTag<1>) { return f.a[i]; }

#undef MOEKIT_WIDE_TILES  // of the instruction set before this one
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
// With vectors of 8 and 32 registers, 8 weights at a time and 3 products: fewer multiplications that only
// form products than with 4 x 4, and each product is formed once for all 8.
#define MOEKIT_WIDE_TILES
constexpr std::size_t kWide = 8, kWideLeft = 3;

/// Sums of the lanes of 8 vectors of 8.
HWY_INLINE V SumsOfLanes(D d, const V* v) {
  V pair[4];  // sums of neighbouring lanes of v[2 t] and v[2 t + 1] in turn
  HWY_UNROLL(4)
  for (std::size_t t = 0; t < 4; ++t)
    pair[t] = hn::Add(hn::InterleaveLower(d, v[2 * t], v[2 * t + 1]),
                      hn::InterleaveUpper(d, v[2 * t], v[2 * t + 1]));
  // Halves: v[0] v[1] twice, v[4] v[5] twice; likewise v[2] v[3], v[6] v[7].
  const V even =
      hn::Add(hn::ConcatLowerLower(d, pair[2], pair[0]), hn::ConcatUpperUpper(d, pair[2], pair[0]));
  const V odd = hn::Add(hn::ConcatLowerLower(d, pair[3], pair[1]), hn::ConcatUpperUpper(d, pair[3], pair[1]));
  const V low = hn::Add(even, hn::SwapAdjacentBlocks(even)), high = hn::Add(odd, hn::SwapAdjacentBlocks(odd));
  return hn::OddEvenBlocks(high, low);
}

/// As Tile() for 8 weights.
template <std::size_t L, class Tag>
HWY_INLINE void WideTile(const Factor* f, const double* w, std::size_t n, std::size_t lead, double* to,
                         std::size_t stride, Tag tag) {
  const D d;
  V sum[L][kWide];
  HWY_UNROLL(3)
  for (std::size_t l = 0; l < L; ++l) {
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < kWide; ++r) sum[l][r] = hn::Zero(d);
  }
  std::size_t i = 0;
  for (; i + kWide <= n; i += kWide) {
    V q[L];
    HWY_UNROLL(3)
    for (std::size_t l = 0; l < L; ++l) q[l] = FactorAt(d, f[l], i, tag);
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < kWide; ++r) {
      V v = hn::LoadU(d, w + r * lead + i);
      asm("" : "+v"(v.raw));  // else GCC reads it again for each of the L, and the loads are what takes time
      HWY_UNROLL(3)
      for (std::size_t l = 0; l < L; ++l) sum[l][r] = hn::MulAdd(q[l], v, sum[l][r]);
    }
  }
  HWY_UNROLL(3)
  for (std::size_t l = 0; l < L; ++l) {
    HWY_ALIGN double sums[kWide];
    hn::Store(SumsOfLanes(d, sum[l]), d, sums);
    for (std::size_t r = 0; r < kWide; ++r) {
      double rest = sums[r];
      for (std::size_t t = i; t < n; ++t) rest += FactorAt(f[l], t, tag) * w[r * lead + t];
      to[l + r * stride] += rest;
    }
  }
}

template <class Tag, class At>
HWY_INLINE void WideRows(std::size_t count, const At& factor, const double* w, std::size_t n,
                         std::size_t lead, double* to, std::size_t stride, Tag tag) {
  std::array<Factor, kWideLeft> f;
  std::size_t c = 0;
  for (; c + kWideLeft <= count; c += kWideLeft) {
    for (std::size_t l = 0; l < kWideLeft; ++l) f[l] = factor(c + l);
    WideTile<kWideLeft>(f.data(), w, n, lead, to + c, stride, tag);
  }
  for (std::size_t l = 0; c + l < count; ++l) f[l] = factor(c + l);
  if (count - c == 2) WideTile<2>(f.data(), w, n, lead, to + c, stride, tag);
  if (count - c == 1) WideTile<1>(f.data(), w, n, lead, to + c, stride, tag);
}
#endif

/// to[l + r stride] += sum_i f_l(i) w_r(i) for the L x R tile.
template <std::size_t L, std::size_t R, class Tag>
HWY_INLINE void Tile(const Factor* f, const double* w, std::size_t n, std::size_t lead, double* to,
                     std::size_t stride, Tag tag) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  V sum[L][R];
  HWY_UNROLL(8)
  for (std::size_t l = 0; l < L; ++l) {
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < R; ++r) sum[l][r] = hn::Zero(d);
  }
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    V q[L];
    HWY_UNROLL(8)
    for (std::size_t l = 0; l < L; ++l) q[l] = FactorAt(d, f[l], i, tag);
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < R; ++r) {
      const V v = hn::LoadU(d, w + r * lead + i);
      HWY_UNROLL(8)
      for (std::size_t l = 0; l < L; ++l) sum[l][r] = hn::MulAdd(q[l], v, sum[l][r]);
    }
  }
  HWY_UNROLL(8)
  for (std::size_t l = 0; l < L; ++l) {
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < R; ++r) {
      double rest = hn::GetLane(hn::SumOfLanes(d, sum[l][r]));
      for (std::size_t t = i; t < n; ++t) rest += FactorAt(f[l], t, tag) * w[r * lead + t];
      to[l + r * stride] += rest;
    }
  }
}

template <std::size_t L, class Tag>
HWY_INLINE void TileRow(const Factor* f, const double* w, std::size_t n, std::size_t lead,
                        std::size_t columns, double* to, std::size_t stride, Tag tag) {
  std::size_t k = 0;
  for (; k + kRight <= columns; k += kRight)
    Tile<L, kRight>(f, w + k * lead, n, lead, to + k * stride, stride, tag);
  if (kRight > 3 && columns - k == 3) Tile<L, 3>(f, w + k * lead, n, lead, to + k * stride, stride, tag);
  if (kRight > 2 && columns - k == 2) Tile<L, 2>(f, w + k * lead, n, lead, to + k * stride, stride, tag);
  if (columns - k == 1) Tile<L, 1>(f, w + k * lead, n, lead, to + k * stride, stride, tag);
}

/// All factors in turn, kLeft at a time.
template <class Tag, class At>
HWY_INLINE void Rows(std::size_t count, const At& factor, const double* w, std::size_t n, std::size_t lead,
                     std::size_t columns, double* to, std::size_t stride, Tag tag) {
#ifdef MOEKIT_WIDE_TILES
  for (; columns >= kWide; columns -= kWide, w += kWide * lead, to += kWide * stride)
    WideRows(count, factor, w, n, lead, to, stride, tag);
  if (columns == 0) return;
#endif
  std::array<Factor, kLeft> f;
  std::size_t c = 0;
  for (; c + kLeft <= count; c += kLeft) {
    for (std::size_t l = 0; l < kLeft; ++l) f[l] = factor(c + l);
    TileRow<kLeft>(f.data(), w, n, lead, columns, to + c, stride, tag);
  }
  for (std::size_t l = 0; c + l < count; ++l) f[l] = factor(c + l);
  if (count - c == 3) TileRow<3>(f.data(), w, n, lead, columns, to + c, stride, tag);
  if (count - c == 2) TileRow<2>(f.data(), w, n, lead, columns, to + c, stride, tag);
  if (count - c == 1) TileRow<1>(f.data(), w, n, lead, columns, to + c, stride, tag);
}

/// Rows of a slice: with many columns, the few that a tile needs then stay in the first-level cache.
constexpr std::size_t kSlice = 512;

void AddPairSums(const double* x, std::size_t n, std::size_t p, const double* w, std::size_t columns,
                 double* out) {
  const std::size_t pairs = p * (p + 1) / 2;
  for (std::size_t begin = 0; begin < n; begin += kSlice) {
    const std::size_t rows = std::min(kSlice, n - begin);
    for (std::size_t a = 0; a < p; ++a) {
      const double* left = x + a * n + begin;
      const auto factor = [&](std::size_t b) { return Factor{left, x + b * n + begin}; };
      Rows(a + 1, factor, w + begin, rows, n, columns, out + a * (a + 1) / 2, pairs, hwy::SizeTag<2>());
    }
  }
}

void AddColumnSums(const double* x, std::size_t n, std::size_t p, const double* w, std::size_t columns,
                   double* out) {
  for (std::size_t begin = 0; begin < n; begin += kSlice) {
    const auto factor = [&](std::size_t j) { return Factor{x + j * n + begin, nullptr}; };
    Rows(p, factor, w + begin, std::min(kSlice, n - begin), n, columns, out, p, hwy::SizeTag<1>());
  }
}

/// R linear predictors for two vectors of rows at a time.
template <std::size_t R>
HWY_INLINE void LinearTile(const double* x, std::size_t n, std::size_t p, const double* c, double* out) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    V low[R], high[R];
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < R; ++r) low[r] = high[r] = hn::Zero(d);
    for (std::size_t j = 0; j < p; ++j) {
      const V first = hn::LoadU(d, x + j * n + i), second = hn::LoadU(d, x + j * n + i + lanes);
      HWY_UNROLL(8)
      for (std::size_t r = 0; r < R; ++r) {
        const V v = hn::Set(d, c[j + r * p]);
        low[r] = hn::MulAdd(first, v, low[r]);
        high[r] = hn::MulAdd(second, v, high[r]);
      }
    }
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < R; ++r) {
      hn::StoreU(low[r], d, out + r * n + i);
      hn::StoreU(high[r], d, out + r * n + i + lanes);
    }
  }
  // The last rows with the same fused operations, so that a row's value never depends on its place.
  const hn::CappedTag<double, 1> one;
  for (; i < n; ++i)
    for (std::size_t r = 0; r < R; ++r) {
      auto sum = hn::Zero(one);
      for (std::size_t j = 0; j < p; ++j)
        sum = hn::MulAdd(hn::Set(one, x[j * n + i]), hn::Set(one, c[j + r * p]), sum);
      out[r * n + i] = hn::GetLane(sum);
    }
}

void Linear(const double* x, std::size_t n, std::size_t p, const double* c, std::size_t columns,
            double* out) {
  std::size_t k = 0;
#ifdef MOEKIT_WIDE_TILES
  for (; k + kWide <= columns; k += kWide) LinearTile<kWide>(x, n, p, c + k * p, out + k * n);
#endif
  for (; k + 4 <= columns; k += 4) LinearTile<4>(x, n, p, c + k * p, out + k * n);
  for (; k < columns; ++k) LinearTile<1>(x, n, p, c + k * p, out + k * n);
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(AddPairSums);
HWY_EXPORT(AddColumnSums);
HWY_EXPORT(Linear);

void add_pair_sums(const double* x, std::size_t n, std::size_t p, const double* w, std::size_t columns,
                   double* out) {
  HWY_DYNAMIC_DISPATCH(AddPairSums)(x, n, p, w, columns, out);
}
void add_column_sums(const double* x, std::size_t n, std::size_t p, const double* w, std::size_t columns,
                     double* out) {
  HWY_DYNAMIC_DISPATCH(AddColumnSums)(x, n, p, w, columns, out);
}
void linear(const double* x, std::size_t n, std::size_t p, const double* c, std::size_t columns,
            double* out) {
  HWY_DYNAMIC_DISPATCH(Linear)(x, n, p, c, columns, out);
}

}  // namespace moekit::simd
#endif
