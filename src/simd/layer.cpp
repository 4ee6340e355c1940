#include "simd/layer.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/layer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// R rows for V vectors of outputs (of `lanes` lanes, or fewer in the last).
template <std::size_t R, std::size_t V, class D, class T>
HWY_INLINE void Tile(D d, const T* w, std::size_t outputs, std::size_t inputs, const T* bias, const T* x,
                     T* out) {
  const std::size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[R][V];
  for (std::size_t v = 0; v < V; ++v) {
    const auto begin = bias ? hn::LoadU(d, bias + v * lanes) : hn::Zero(d);
    for (std::size_t r = 0; r < R; ++r) sum[r][v] = begin;
  }
  for (std::size_t j = 0; j < inputs; ++j)
    for (std::size_t v = 0; v < V; ++v) {
      const auto weights = hn::LoadU(d, w + j * outputs + v * lanes);
      for (std::size_t r = 0; r < R; ++r)
        sum[r][v] = hn::MulAdd(hn::Set(d, x[r * inputs + j]), weights, sum[r][v]);
    }
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t v = 0; v < V; ++v) hn::StoreU(sum[r][v], d, out + r * outputs + v * lanes);
}

template <std::size_t V, class D, class T>
void Rows(D d, const T* w, std::size_t outputs, std::size_t inputs, const T* bias, const T* x,
          std::size_t rows, T* out) {
  std::size_t r = 0;
  for (; r + 4 <= rows; r += 4) Tile<4, V>(d, w, outputs, inputs, bias, x + r * inputs, out + r * outputs);
  for (; r < rows; ++r) Tile<1, V>(d, w, outputs, inputs, bias, x + r * inputs, out + r * outputs);
}

template <class T>
void LayerOf(const T* w, std::size_t outputs, std::size_t inputs, const T* bias, const T* x, std::size_t rows,
             T* out) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const std::size_t lanes = hn::Lanes(d);
  const auto at = [&](std::size_t o) { return bias ? bias + o : nullptr; };
  std::size_t o = 0;
  for (; o + 4 * lanes <= outputs; o += 4 * lanes)
    Rows<4>(d, w + o, outputs, inputs, at(o), x, rows, out + o);
  for (; o + lanes <= outputs; o += lanes) Rows<1>(d, w + o, outputs, inputs, at(o), x, rows, out + o);
  for (; o < outputs; ++o) Rows<1>(one, w + o, outputs, inputs, at(o), x, rows, out + o);
}

void LayerF64(const double* w, std::size_t outputs, std::size_t inputs, const double* bias, const double* x,
              std::size_t rows, double* out) {
  LayerOf(w, outputs, inputs, bias, x, rows, out);
}
void LayerF32(const float* w, std::size_t outputs, std::size_t inputs, const float* bias, const float* x,
              std::size_t rows, float* out) {
  LayerOf(w, outputs, inputs, bias, x, rows, out);
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(LayerF64);
HWY_EXPORT(LayerF32);

void layer(const double* w, std::size_t outputs, std::size_t inputs, const double* bias, const double* x,
           std::size_t rows, double* out) {
  HWY_DYNAMIC_DISPATCH(LayerF64)(w, outputs, inputs, bias, x, rows, out);
}
void layer(const float* w, std::size_t outputs, std::size_t inputs, const float* bias, const float* x,
           std::size_t rows, float* out) {
  HWY_DYNAMIC_DISPATCH(LayerF32)(w, outputs, inputs, bias, x, rows, out);
}

}  // namespace moekit::simd
#endif
