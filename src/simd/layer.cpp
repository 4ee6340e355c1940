#include "simd/layer.hpp"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/layer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Where the values stand that a layer takes: that of row r and input j is x[r * row + j * step].
template <class T>
struct Values {
  const T* x;
  std::size_t row, step;
};

/// From so many rows on copying weights pays.
constexpr std::size_t kCopiedRows = 16;

/// R rows for V vectors of outputs (of `lanes` lanes, or fewer in the last); the weights of an input stand
/// `stride` apart. Unrolled by hand: else GCC keeps the sums in memory.
template <std::size_t R, std::size_t V, class D, class T>
HWY_INLINE void Tile(D d, const T* w, std::size_t stride, std::size_t outputs, std::size_t inputs,
                     const T* bias, Values<T> from, bool add, T* out) {
  const std::size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[R][V];
  HWY_UNROLL(8)
  for (std::size_t v = 0; v < V; ++v) {
    const auto begin = bias ? hn::LoadU(d, bias + v * lanes) : hn::Zero(d);
    HWY_UNROLL(8)
    for (std::size_t r = 0; r < R; ++r) sum[r][v] = add ? hn::LoadU(d, out + r * outputs + v * lanes) : begin;
  }
  for (std::size_t j = 0; j < inputs; ++j) {
    HWY_UNROLL(8)
    for (std::size_t v = 0; v < V; ++v) {
      const auto weights = hn::LoadU(d, w + j * stride + v * lanes);
      HWY_UNROLL(8)
      for (std::size_t r = 0; r < R; ++r)
        sum[r][v] = hn::MulAdd(hn::Set(d, from.x[r * from.row + j * from.step]), weights, sum[r][v]);
    }
  }
  HWY_UNROLL(8)
  for (std::size_t r = 0; r < R; ++r) {
    HWY_UNROLL(8)
    for (std::size_t v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, out + r * outputs + v * lanes);
  }
}

template <std::size_t V, class D, class T>
void Rows(D d, const T* w, std::size_t stride, std::size_t outputs, std::size_t inputs, const T* bias,
          Values<T> from, std::size_t rows, bool add, T* out) {
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4, from.x += 4 * from.row)
    Tile<4, V>(d, w, stride, outputs, inputs, bias, from, add, out + r * outputs);
  for (; r < rows; ++r, from.x += from.row)
    Tile<1, V>(d, w, stride, outputs, inputs, bias, from, add, out + r * outputs);
}

/// Columns of a matrix that stand apart share few lines of the first-level cache, and the next one lies on
/// another page; so where many rows are multiplied with them they are copied side by side, as many inputs at
/// a time as stay in that cache. The sums are added in the same order.
template <std::size_t V, class D, class T>
void RowsOfCopies(D d, const T* w, std::size_t outputs, std::size_t inputs, const T* bias, Values<T> from,
                  std::size_t rows, bool add, T* out) {
  constexpr std::size_t kInputs = 128, kVector = hn::MaxLanes(d);
  alignas(64) T copy[kInputs * V * kVector];
  const std::size_t lanes = hn::Lanes(d), width = V * lanes;
  for (std::size_t begin = 0; begin < inputs; begin += kInputs) {
    const std::size_t n = std::min(kInputs, inputs - begin);
    for (std::size_t j = 0; j < n; ++j) {
      HWY_UNROLL(8)
      for (std::size_t v = 0; v < V; ++v)
        hn::StoreU(hn::LoadU(d, w + (begin + j) * outputs + v * lanes), d, copy + j * width + v * lanes);
    }
    Values<T> part = from;
    part.x += begin * from.step;
    Rows<V>(d, copy, width, outputs, n, begin ? nullptr : bias, part, rows, add || begin > 0, out);
  }
}

template <class T>
void LayerOf(const T* w, std::size_t outputs, std::size_t inputs, const T* bias, Values<T> from,
             std::size_t rows, bool add, T* out) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const std::size_t lanes = hn::Lanes(d);
  const auto at = [&](std::size_t o) { return bias ? bias + o : nullptr; };
  std::size_t o = 0;
  const bool copied = rows >= kCopiedRows && inputs > 0 && outputs > 4 * lanes;
  for (; o + 4 * lanes <= outputs; o += 4 * lanes) {
    if (copied) {
      RowsOfCopies<4>(d, w + o, outputs, inputs, at(o), from, rows, add, out + o);
    } else {
      Rows<4>(d, w + o, outputs, outputs, inputs, at(o), from, rows, add, out + o);
    }
  }
  for (; o + lanes <= outputs; o += lanes)
    Rows<1>(d, w + o, outputs, outputs, inputs, at(o), from, rows, add, out + o);
  for (; o < outputs; ++o) Rows<1>(one, w + o, outputs, outputs, inputs, at(o), from, rows, add, out + o);
}

void LayerF64(const double* w, std::size_t outputs, std::size_t inputs, const double* bias, const double* x,
              std::size_t rows, double* out) {
  LayerOf(w, outputs, inputs, bias, Values<double>{x, inputs, 1}, rows, false, out);
}
void AddOuter(const double* a, std::size_t outputs, std::size_t n, const double* b, std::size_t inputs,
              double* out) {
  LayerOf<double>(a, outputs, n, nullptr, Values<double>{b, 1, inputs}, inputs, true, out);
}
void AddOuterF32(const float* a, std::size_t outputs, std::size_t n, const float* b, std::size_t stride,
                 std::size_t inputs, float* out) {
  LayerOf<float>(a, outputs, n, nullptr, Values<float>{b, 1, stride}, inputs, true, out);
}
void LayerF32(const float* w, std::size_t outputs, std::size_t inputs, const float* bias, const float* x,
              std::size_t rows, float* out) {
  LayerOf(w, outputs, inputs, bias, Values<float>{x, inputs, 1}, rows, false, out);
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(LayerF64);
HWY_EXPORT(LayerF32);
HWY_EXPORT(AddOuter);
HWY_EXPORT(AddOuterF32);

void layer(const double* w, std::size_t outputs, std::size_t inputs, const double* bias, const double* x,
           std::size_t rows, double* out) {
  HWY_DYNAMIC_DISPATCH(LayerF64)(w, outputs, inputs, bias, x, rows, out);
}
void layer(const float* w, std::size_t outputs, std::size_t inputs, const float* bias, const float* x,
           std::size_t rows, float* out) {
  HWY_DYNAMIC_DISPATCH(LayerF32)(w, outputs, inputs, bias, x, rows, out);
}
void add_outer(const double* a, std::size_t outputs, std::size_t n, const double* b, std::size_t inputs,
               double* out) {
  HWY_DYNAMIC_DISPATCH(AddOuter)(a, outputs, n, b, inputs, out);
}
void add_outer(const float* a, std::size_t outputs, std::size_t n, const float* b, std::size_t stride,
               std::size_t inputs, float* out) {
  HWY_DYNAMIC_DISPATCH(AddOuterF32)(a, outputs, n, b, stride, inputs, out);
}

}  // namespace moekit::simd
#endif
