#include <algorithm>
#include <chrono>
#include <vector>

#include "layer/kernels.hpp"
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

/// The processor's own bfloat16 product is up to twice as fast as float32 on some processors and half as fast
/// on others, so it is timed. Either gives the same bits.
Product best_bf16() {
  const Product plain = plain_product(WeightType::bf16);
  const TileKernel special = avx512_bf16_kernel();
  if (!special) return plain;
  const Product own{WeightType::bf16, special, 4};
  return seconds_of(own) < seconds_of(plain) ? own : plain;
}

Product best_int8() {
  const TileKernel special = avx512_int8_kernel();
  return special ? Product{WeightType::int8, special, 8 + kBlock} : plain_product(WeightType::int8);
}

}  // namespace

const Product& product_of(WeightType type) {
  static const Product f32 = plain_product(WeightType::f32), bf16 = best_bf16(), int8 = best_int8();
  return type == WeightType::f32 ? f32 : type == WeightType::bf16 ? bf16 : int8;
}

}  // namespace moekit::layer
