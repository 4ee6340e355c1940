#include "layer/kernels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "layer/kernels.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::layer::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;

constexpr std::size_t kLanes = hn::MaxLanes(D());
constexpr std::size_t kVectors = kPanel / kLanes;
/// Rows whose sums fit the registers together with a panel's values.
constexpr std::size_t kRows = kLanes >= 16 ? kTileRows : kLanes == 8 ? 2 : 1;

/// A step of a kernel adds one inner index, or a pair, of R rows: sum[r][v] += x[r] w[v].
template <std::size_t R>
struct F32Step {
  static constexpr WeightType kType = WeightType::f32;
  static constexpr std::size_t kRowBytes = 4;
  static HWY_INLINE void Add(D d, const unsigned char* w, const unsigned char* x, V (*sum)[kVectors]) {
    const float *weights = reinterpret_cast<const float*>(w), *values = reinterpret_cast<const float*>(x);
    V v[kVectors];
    HWY_UNROLL(16)
    for (std::size_t i = 0; i < kVectors; ++i) v[i] = hn::LoadU(d, weights + i * kLanes);
    HWY_UNROLL(16)
    for (std::size_t r = 0; r < R; ++r) {
      const V value = hn::Set(d, values[r]);
      HWY_UNROLL(16)
      for (std::size_t i = 0; i < kVectors; ++i) sum[r][i] = hn::MulAdd(value, v[i], sum[r][i]);
    }
  }
};

/// Products of two bfloat16 values are exact in float32, so these sums have the bits of vdpbf16ps (which
/// takes the odd values first and knows no subnormal numbers).
template <std::size_t R>
struct Bf16Step {
  static constexpr WeightType kType = WeightType::bf16;
  static constexpr std::size_t kRowBytes = 8;
  static HWY_INLINE void Add(D d, const unsigned char* w, const unsigned char* x, V (*sum)[kVectors]) {
    const DI di;
    const auto* weights = reinterpret_cast<const std::int32_t*>(w);
    const auto* values = reinterpret_cast<const float*>(x);
    const auto upper = hn::Set(di, static_cast<std::int32_t>(0xffff0000u));
    V even[kVectors], odd[kVectors];
    HWY_UNROLL(16)
    for (std::size_t i = 0; i < kVectors; ++i) {
      const auto pair = hn::LoadU(di, weights + i * kLanes);
      even[i] = hn::BitCast(d, hn::ShiftLeft<16>(pair));
      odd[i] = hn::BitCast(d, hn::And(pair, upper));
    }
    HWY_UNROLL(16)
    for (std::size_t r = 0; r < R; ++r) {
      const V first = hn::Set(d, values[2 * r]), second = hn::Set(d, values[2 * r + 1]);
      HWY_UNROLL(16)
      for (std::size_t i = 0; i < kVectors; ++i) sum[r][i] = hn::MulAdd(second, odd[i], sum[r][i]);
      HWY_UNROLL(16)
      for (std::size_t i = 0; i < kVectors; ++i) sum[r][i] = hn::MulAdd(first, even[i], sum[r][i]);
    }
  }
};

HWY_INLINE void Prefetch(const unsigned char* from) {
  __builtin_prefetch(from, 0, 2);
  __builtin_prefetch(from + 64, 0, 2);
}

template <class Step, std::size_t R>
HWY_INLINE void RowsOfTile(const unsigned char* w, const unsigned char* x, std::size_t steps,
                           std::size_t height, bool add, float* out, const Ahead& ahead) {
  const D d;
  // Unrolled by hand: else GCC keeps the sums in memory.
  V sum[R][kVectors];
  HWY_UNROLL(16)
  for (std::size_t r = 0; r < R; ++r) {
    HWY_UNROLL(16)
    for (std::size_t i = 0; i < kVectors; ++i) sum[r][i] = hn::Zero(d);
  }
  for (std::size_t s = 0; s < steps; ++s, w += panel_step_bytes(Step::kType), x += Step::kRowBytes * height) {
    Prefetch(ahead.from + s * ahead.step);
    Step::Add(d, w, x, sum);
  }
  HWY_UNROLL(16)
  for (std::size_t r = 0; r < R; ++r) {
    HWY_UNROLL(16)
    for (std::size_t i = 0; i < kVectors; ++i) {
      float* to = out + r * kPanel + i * kLanes;
      hn::StoreU(add ? hn::Add(hn::LoadU(d, to), sum[r][i]) : sum[r][i], d, to);
    }
  }
}

template <template <std::size_t> class Step, std::size_t R>
HWY_INLINE void ByRows(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t height,
                       std::size_t count, bool add, float* out, const Ahead& ahead) {
  if (count == R) {
    RowsOfTile<Step<R>, R>(w, x, steps, height, add, out, ahead);
  } else if constexpr (R > 1) {
    ByRows<Step, R - 1>(w, x, steps, height, count, add, out, ahead);
  }
}

template <template <std::size_t> class Step>
HWY_INLINE void Tile(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows,
                     bool add, float* out, const Ahead& ahead) {
  for (std::size_t first = 0; first < rows; first += kRows)
    ByRows<Step, kRows>(w, x + Step<1>::kRowBytes * first, steps, rows, std::min(kRows, rows - first), add,
                        out + first * kPanel, ahead);
}

void TileF32(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
             float* out, const Ahead& ahead) {
  Tile<F32Step>(w, x, steps, rows, add, out, ahead);
}

void TileBf16(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
              float* out, const Ahead& ahead) {
  Tile<Bf16Step>(w, x, steps, rows, add, out, ahead);
}

/// Dot products of one block of one row with the 32 columns of a panel: exact integers.
HWY_INLINE void BlockSums(const unsigned char* w, const unsigned char* values, std::size_t height,
                          std::int32_t start, std::int32_t* sum) {
  for (std::size_t c = 0; c < kPanel; ++c) sum[c] = start;
  for (std::size_t q = 0; q < kBlock / 4; ++q)
    for (std::size_t i = 0; i < 4; ++i) {
      const std::int32_t value = static_cast<std::int8_t>(values[4 * q * height + i]);
      for (std::size_t c = 0; c < kPanel; ++c) sum[c] += value * w[4 * (q * kPanel + c) + i];
    }
}

void TileInt8(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
              float* out, const Ahead&) {
  const D d;
  const DI di;
  HWY_ALIGN std::int32_t sum[kPanel];
  HWY_ALIGN float total[kTileRows * kPanel] = {};
  HWY_ALIGN std::int32_t scales[kPanel];
  for (std::size_t s = 0; s < steps; ++s, w += panel_step_bytes(WeightType::int8), x += (8 + kBlock) * rows) {
    for (std::size_t c = 0; c < kPanel; ++c)
      scales[c] = static_cast<std::int32_t>((w[2 * c] | (static_cast<unsigned>(w[2 * c + 1]) << 8)) << 16);
    for (std::size_t r = 0; r < rows; ++r) {
      float scale;
      std::int32_t minus;
      std::memcpy(&scale, x + 4 * r, sizeof scale);
      std::memcpy(&minus, x + 4 * (rows + r), sizeof minus);
      BlockSums(w + 2 * kPanel, x + 8 * rows + 4 * r, rows, minus, sum);
      for (std::size_t c = 0; c < kPanel; c += kLanes) {
        const V factor = hn::Mul(hn::BitCast(d, hn::Load(di, scales + c)), hn::Set(d, scale));
        float* to = total + r * kPanel + c;
        hn::Store(hn::MulAdd(hn::ConvertTo(d, hn::Load(di, sum + c)), factor, hn::Load(d, to)), d, to);
      }
    }
  }
  for (std::size_t i = 0; i < rows * kPanel; ++i) out[i] = add ? out[i] + total[i] : total[i];
}

/// act(z) and, when it is wanted, act'(z).
template <class Slope>
HWY_INLINE V Silu(D d, V z, Slope slope) {
  const V one = hn::Set(d, 1.0f);
  // Beyond -87 exp would overflow; silu is 0 there to float32's last digit.
  const V sigmoid = hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(hn::Max(z, hn::Set(d, -87.0f))))));
  slope(hn::Mul(sigmoid, hn::MulAdd(z, hn::Sub(one, sigmoid), one)));
  return hn::Mul(z, sigmoid);
}

template <class Slope>
HWY_INLINE V Relu(D d, V z, Slope slope) {
  slope(hn::IfThenElseZero(hn::Gt(z, hn::Zero(d)), hn::Set(d, 1.0f)));
  // The order of the operands lets NaN through.
  return hn::IfThenElse(hn::Lt(z, hn::Zero(d)), hn::Zero(d), z);
}

template <class Slope>
HWY_INLINE V Gelu(D d, V z, Slope slope) {
  HWY_ALIGN float in[kLanes], value[kLanes], steep[kLanes];
  hn::Store(z, d, in);
  for (std::size_t i = 0; i < kLanes; ++i) {
    const float below = 0.5f * std::erfc(-0.70710678f * in[i]);
    value[i] = in[i] * below;
    steep[i] = below + in[i] * 0.39894228f * std::exp(-0.5f * in[i] * in[i]);
  }
  slope(hn::Load(d, steep));
  return hn::Load(d, value);
}

template <class Slope>
HWY_INLINE V Act(D d, Activation activation, V z, Slope slope) {
  switch (activation) {
    case Activation::relu:
      return Relu(d, z, slope);
    case Activation::gelu:
      return Gelu(d, z, slope);
    case Activation::silu:
      break;
  }
  return Silu(d, z, slope);
}

HWY_INLINE void NoSlope(V) {}

void ActivateGated(Activation activation, const float* tile, std::size_t rows, float* hidden,
                   std::size_t stride) {
  const D d;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < kPanel / 2; c += kLanes) {
      const V z = hn::LoadU(d, tile + r * kPanel + c), up = hn::LoadU(d, tile + r * kPanel + kPanel / 2 + c);
      hn::StoreU(hn::Mul(Act(d, activation, z, NoSlope), up), d, hidden + r * stride + c);
    }
}

void Activate(Activation activation, const float* tile, std::size_t rows, float* hidden, std::size_t stride) {
  const D d;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < kPanel; c += kLanes)
      hn::StoreU(Act(d, activation, hn::LoadU(d, tile + r * kPanel + c), NoSlope), d,
                 hidden + r * stride + c);
}

void ActivationSlopes(Activation activation, const float* z, std::size_t n, float* value, float* slope) {
  const D d;
  for (std::size_t i = 0; i < n; i += kLanes) {
    const V v = Act(d, activation, hn::LoadU(d, z + i), [&](V s) { hn::StoreU(s, d, slope + i); });
    hn::StoreU(v, d, value + i);
  }
}

void AddScaled(const float* x, std::size_t n, float g, float* y) {
  const D d;
  const V scale = hn::Set(d, g);
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    hn::StoreU(hn::MulAdd(scale, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  // The last values with the same fused operation.
  const hn::CappedTag<float, 1> one;
  for (; i < n; ++i) y[i] = hn::GetLane(hn::MulAdd(hn::Set(one, g), hn::Set(one, x[i]), hn::Set(one, y[i])));
}

}  // namespace moekit::layer::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::layer {

HWY_EXPORT(TileF32);
HWY_EXPORT(TileBf16);
HWY_EXPORT(TileInt8);
HWY_EXPORT(ActivateGated);
HWY_EXPORT(Activate);
HWY_EXPORT(ActivationSlopes);
HWY_EXPORT(AddScaled);

namespace {

void plain_f32(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
               float* out, const Ahead& ahead) {
  HWY_DYNAMIC_DISPATCH(TileF32)(w, x, steps, rows, add, out, ahead);
}
void plain_bf16(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
                float* out, const Ahead& ahead) {
  HWY_DYNAMIC_DISPATCH(TileBf16)(w, x, steps, rows, add, out, ahead);
}
void plain_int8(const unsigned char* w, const unsigned char* x, std::size_t steps, std::size_t rows, bool add,
                float* out, const Ahead& ahead) {
  HWY_DYNAMIC_DISPATCH(TileInt8)(w, x, steps, rows, add, out, ahead);
}

}  // namespace

Product plain_product(WeightType type) {
  switch (type) {
    case WeightType::f32:
      return {type, RowLayout::values, plain_f32};
    case WeightType::bf16:
      return {type, RowLayout::wide_pairs, plain_bf16};
    case WeightType::int8:
      break;
  }
  return {type, RowLayout::blocks, plain_int8};
}

void activate_gated(Activation activation, const float* tile, std::size_t rows, float* hidden,
                    std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(ActivateGated)(activation, tile, rows, hidden, stride);
}
void activate(Activation activation, const float* tile, std::size_t rows, float* hidden, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(Activate)(activation, tile, rows, hidden, stride);
}
void activation_slopes(Activation activation, const float* z, std::size_t n, float* value, float* slope) {
  HWY_DYNAMIC_DISPATCH(ActivationSlopes)(activation, z, n, value, slope);
}
void add_scaled(const float* x, std::size_t n, float g, float* y) {
  HWY_DYNAMIC_DISPATCH(AddScaled)(x, n, g, y);
}

}  // namespace moekit::layer
#endif
