#include <algorithm>
#include <cstring>

#include "layer/kernels.hpp"

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layer/pack_tile.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::layer::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D4 = hn::CappedTag<float, 4>;
using V4 = hn::Vec<D4>;

#if HWY_TARGET != HWY_SCALAR
/// Rows r .. r + 3 of Interleave, transposed four by four.
HWY_INLINE void InterleaveFour(const float* const* row, std::size_t r, std::size_t count, std::size_t inner,
                               float* to) {
  const D4 d;
  std::size_t i = 0;
  for (; i + 4 <= inner; i += 4) {
    const V4 a = hn::LoadU(d, row[r] + i), b = hn::LoadU(d, row[r + 1] + i), c = hn::LoadU(d, row[r + 2] + i),
             e = hn::LoadU(d, row[r + 3] + i);
    const V4 ac = hn::InterleaveLower(d, a, c), be = hn::InterleaveLower(d, b, e);
    const V4 ac2 = hn::InterleaveUpper(d, a, c), be2 = hn::InterleaveUpper(d, b, e);
    float* at = to + i * count + r;
    hn::StoreU(hn::InterleaveLower(d, ac, be), d, at);
    hn::StoreU(hn::InterleaveUpper(d, ac, be), d, at + count);
    hn::StoreU(hn::InterleaveLower(d, ac2, be2), d, at + 2 * count);
    hn::StoreU(hn::InterleaveUpper(d, ac2, be2), d, at + 3 * count);
  }
  for (; i < inner; ++i)
    for (std::size_t j = r; j < r + 4; ++j) to[i * count + j] = row[j][i];
}

/// Interleave for two rows.
HWY_INLINE void InterleaveTwo(const float* const* row, std::size_t inner, float* to) {
  const D4 d;
  std::size_t i = 0;
  for (; i + 4 <= inner; i += 4) {
    const V4 a = hn::LoadU(d, row[0] + i), b = hn::LoadU(d, row[1] + i);
    hn::StoreU(hn::InterleaveLower(d, a, b), d, to + 2 * i);
    hn::StoreU(hn::InterleaveUpper(d, a, b), d, to + 2 * i + 4);
  }
  for (; i < inner; ++i)
    for (std::size_t j = 0; j < 2; ++j) to[2 * i + j] = row[j][i];
}
#endif

/// to[i * count + r] = row[r][i].
void Interleave(const float* const* row, std::size_t count, std::size_t inner, float* to) {
  if (count == 1) {
    std::copy_n(row[0], inner, to);
    return;
  }
#if HWY_TARGET != HWY_SCALAR
  if (count >= 4) {
    for (std::size_t r = 0; r + 4 <= count; r += 4) InterleaveFour(row, r, count, inner, to);
    if (count % 4) InterleaveFour(row, count - 4, count, inner, to);  // the last four, some of them again
    return;
  }
  if (count == 2) return InterleaveTwo(row, inner, to);
#endif
  for (std::size_t r = 0; r < count; ++r)
    for (std::size_t i = 0; i < inner; ++i) to[i * count + r] = row[r][i];
}

/// Rounded to bfloat16 as to_bf16 does, kept as float32.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Rounded(D d, V v) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v), last = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto sum = hn::Add(bits, hn::Add(last, hn::Set(du, 0x7fffu)));
  const auto exponent = hn::And(bits, hn::Set(du, 0x7f800000u));
  const auto upper = hn::And(sum, hn::Set(du, 0xffff0000u));
  const auto subnormal = hn::Eq(exponent, hn::Zero(du));
  const auto kept = hn::IfThenElse(subnormal, hn::And(bits, hn::Set(du, 0x80000000u)), upper);
  // NaN stays one without its lower half.
  const auto quiet = hn::Or(bits, hn::Set(du, 0x00400000u));
  return hn::BitCast(
      d,
      hn::IfThenElse(hn::Gt(hn::And(bits, hn::Set(du, 0x7fffffffu)), hn::Set(du, 0x7f800000u)), quiet, kept));
}

/// to[i * count + 2 r + h] = row[r][i + h], rounded, for even i; `inner` is even or followed by zero.
void InterleaveWide(const float* const* row, std::size_t count, std::size_t inner, float* to) {
  const D4 d;
  const auto single = [&](std::size_t r, std::size_t i) {
    const float value = i < inner ? row[r][i] : 0.0f;
    to[i / 2 * 2 * count + 2 * r + i % 2] = hn::GetLane(Rounded(d, hn::Set(d, value)));
  };
  std::size_t r = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; r + 2 <= count; r += 2) {
    std::size_t i = 0;
    for (; i + 4 <= inner; i += 4) {
      const V4 a = Rounded(d, hn::LoadU(d, row[r] + i)), b = Rounded(d, hn::LoadU(d, row[r + 1] + i));
      hn::StoreU(hn::ConcatLowerLower(d, b, a), d, to + i * count + 2 * r);
      hn::StoreU(hn::ConcatUpperUpper(d, b, a), d, to + (i + 2) * count + 2 * r);
    }
    for (; i < (inner + 1) / 2 * 2; ++i) single(r, i), single(r + 1, i);
  }
#endif
  for (; r < count; ++r)
    for (std::size_t i = 0; i < (inner + 1) / 2 * 2; ++i) single(r, i);
}

/// Bands of rows in bfloat16, rounded as to_bf16 does.
void PackBands(const float* const* row, std::size_t count, std::size_t inner, std::uint16_t* to) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::uint16_t, decltype(d)> halves;
  constexpr std::size_t kLanes = hn::MaxLanes(d);
  float padded[kBand];
  for (std::size_t from = 0; from < inner; from += kBand)
    for (std::size_t r = 0; r < count; ++r, to += kBand) {
      const float* values = row[r] + from;
      if (inner - from < kBand) {
        std::fill(std::copy_n(values, inner - from, padded), padded + kBand, 0.0f);
        values = padded;
      }
      for (std::size_t i = 0; i < kBand; i += kLanes) {
        const auto bits = hn::BitCast(di, Rounded(d, hn::LoadU(d, values + i)));
        const auto upper = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 0xffff));
        hn::StoreU(hn::DemoteTo(halves, upper), halves, to + i);
      }
    }
}

/// One row's block of 32 values: scale, -128 times the sum of the steps, and the steps as bytes.
void Quantise(const float* values, float* scale, std::int32_t* minus, std::int8_t* steps) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<std::int8_t, decltype(d)> bytes;
  constexpr std::size_t kLanes = hn::MaxLanes(d);
  auto most = hn::Zero(d);
  for (std::size_t i = 0; i < kBlock; i += kLanes) most = hn::Max(most, hn::Abs(hn::LoadU(d, values + i)));
  *scale = hn::GetLane(hn::MaxOfLanes(d, most)) / 127.0f;
  const auto inverse = hn::Set(d, *scale > 0 ? 1.0f / *scale : 0.0f), limit = hn::Set(d, 127.0f);
  auto sum = hn::Zero(di);
  for (std::size_t i = 0; i < kBlock; i += kLanes) {
    const auto step = hn::Mul(hn::LoadU(d, values + i), inverse);
    const auto whole = hn::NearestInt(hn::Clamp(step, hn::Neg(limit), limit));
    sum = hn::Add(sum, whole);
    hn::StoreU(hn::DemoteTo(bytes, whole), bytes, steps + i);
  }
  *minus = -128 * hn::GetLane(hn::SumOfLanes(di, sum));
}

void PackInt8(const float* const* rows, std::size_t count, std::size_t inner, unsigned char* out) {
  float padded[kBlock];
  std::int8_t steps[kBlock];
  for (std::size_t from = 0; from < inner; from += kBlock, out += count * (8 + kBlock)) {
    const std::size_t n = std::min(kBlock, inner - from);
    for (std::size_t r = 0; r < count; ++r) {
      const float* values = rows[r] + from;
      if (n < kBlock) {
        std::fill(std::copy_n(values, n, padded), padded + kBlock, 0.0f);
        values = padded;
      }
      float scale;
      std::int32_t minus;
      Quantise(values, &scale, &minus, steps);
      std::memcpy(out + 4 * r, &scale, sizeof scale);
      std::memcpy(out + 4 * (count + r), &minus, sizeof minus);
      for (std::size_t q = 0; q < kBlock / 4; ++q)
        std::memcpy(out + 8 * count + 4 * (q * count + r), steps + 4 * q, 4);
    }
  }
}

}  // namespace moekit::layer::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::layer {

HWY_EXPORT(Interleave);
HWY_EXPORT(InterleaveWide);
HWY_EXPORT(PackBands);
HWY_EXPORT(PackInt8);

namespace {

/// Pairs of bfloat16: the wide ones without their lower halves.
void interleave_pairs(const float* const* rows, std::size_t count, std::size_t inner, unsigned char* out) {
  constexpr std::size_t kPiece = 128;
  float wide[kPiece * kTileRows];
  std::uint32_t bits[2];
  for (std::size_t from = 0; from < inner; from += kPiece) {
    const float* part[kTileRows];
    for (std::size_t r = 0; r < count; ++r) part[r] = rows[r] + from;
    const std::size_t n = std::min(kPiece, inner - from), pairs = (n + 1) / 2 * count;
    HWY_DYNAMIC_DISPATCH(InterleaveWide)(part, count, n, wide);
    for (std::size_t i = 0; i < pairs; ++i, out += 4) {
      std::memcpy(bits, wide + 2 * i, sizeof bits);
      const std::uint32_t pair = (bits[0] >> 16) | (bits[1] & 0xffff0000u);
      std::memcpy(out, &pair, sizeof pair);
    }
  }
}

}  // namespace

void pack_tile(const Product& product, const float* const* rows, std::size_t count, std::size_t inner,
               unsigned char* out) {
  float* wide = reinterpret_cast<float*>(out);
  switch (product.layout) {
    case RowLayout::values:
      return HWY_DYNAMIC_DISPATCH(Interleave)(rows, count, inner, wide);
    case RowLayout::wide_pairs:
      return HWY_DYNAMIC_DISPATCH(InterleaveWide)(rows, count, inner, wide);
    case RowLayout::pairs:
      return interleave_pairs(rows, count, inner, out);
    case RowLayout::bands:
      return HWY_DYNAMIC_DISPATCH(PackBands)(rows, count, inner, reinterpret_cast<std::uint16_t*>(out));
    case RowLayout::blocks:
      return HWY_DYNAMIC_DISPATCH(PackInt8)(rows, count, inner, out);
  }
}

}  // namespace moekit::layer
#endif
