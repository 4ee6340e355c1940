#include <algorithm>
#include <chrono>
#include <vector>

#include "layer/kernels.hpp"
#include "layer/kernels_amx.hpp"
#include "layer/kernels_avx512.hpp"

namespace moekit::layer {

namespace {

/// Seconds of the quickest of a few runs over a full tile of one chunk.
double seconds_of(const Product& product) {
  std::vector<unsigned char> panel(panel_bytes(product.type, kChunk)),
      x(kTileRows * product.row_bytes(kChunk));
  std::vector<float> out(kTileRows * kPanel);
  double least = 1;
  for (int run = 0; run < 16; ++run) {
    const auto start = std::chrono::steady_clock::now();
    multiply(product, panel.data(), x.data(), kChunk, kTileRows, out.data());
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

/// Tiles of the matrix unit are ten times as fast as anything else. Without one, the processor's own bfloat16
/// product is up to twice as fast as float32 on some processors and half as fast on others, so it is timed;
/// these two give the same bits.
Product best_bf16() {
  if (const GroupKernel matrix_unit = amx_bf16_kernel())
    return {WeightType::bf16, RowLayout::bands, nullptr, matrix_unit};
  const Product plain = plain_product(WeightType::bf16);
  const TileKernel special = avx512_bf16_kernel();
  if (!special) return plain;
  const Product own{WeightType::bf16, RowLayout::pairs, special};
  return seconds_of(own) < seconds_of(plain) ? own : plain;
}

Product best_int8() {
  const TileKernel special = avx512_int8_kernel();
  return special ? Product{WeightType::int8, RowLayout::blocks, special} : plain_product(WeightType::int8);
}

}  // namespace

std::size_t Product::row_bytes(std::size_t inner) const {
  switch (layout) {
    case RowLayout::values:
      return inner * 4;
    case RowLayout::wide_pairs:
      return steps_of(type, inner) * 8;
    case RowLayout::pairs:
      return steps_of(type, inner) * 4;
    case RowLayout::bands:
      return (inner + kBand - 1) / kBand * kBand * 2;
    case RowLayout::blocks:
      break;
  }
  return steps_of(type, inner) * (8 + kBlock);
}

void multiply(const Product& product, const unsigned char* panel, const unsigned char* tiles,
              std::size_t inner, std::size_t rows, float* out) {
  if (product.group) return product.group(panel, tiles, inner, rows, out);
  const WeightType type = product.type;
  const std::size_t steps = steps_of(type, inner), most = kChunk / step_of(type),
                    step = panel_step_bytes(type);
  if (steps == 0) std::fill_n(out, rows * kPanel, 0.0f);
  const std::size_t count = (rows + kTileRows - 1) / kTileRows, row_bytes = product.row_bytes(inner);
  for (std::size_t s = 0; s < steps; s += most) {
    const std::size_t n = std::min(most, steps - s);
    const unsigned char* chunk = panel + s * step;
    for (std::size_t t = 0; t < count; ++t) {
      const std::size_t first = t * kTileRows, height = std::min(kTileRows, rows - first);
      const unsigned char* x = tiles + first * row_bytes + height * row_bytes / steps * s;
      // The first tile asks for its own weights, some way ahead; the others for a part of the next chunk
      // each.
      const std::size_t share = n * step / std::max<std::size_t>(1, count - 1);
      const Ahead ahead =
          t == 0 ? Ahead{chunk + kLead, step} : Ahead{chunk + n * step + (t - 1) * share, share / n};
      product.tile(chunk, x, n, height, s > 0, out + first * kPanel, ahead);
    }
  }
}

const Product& product_of(WeightType type) {
  static const Product f32 = plain_product(WeightType::f32), bf16 = best_bf16(), int8 = best_int8();
  return type == WeightType::f32 ? f32 : type == WeightType::bf16 ? bf16 : int8;
}

}  // namespace moekit::layer
