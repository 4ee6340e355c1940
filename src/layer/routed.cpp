#include "layer/routed.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace moekit::layer {

namespace {

/// Softmax of the logits of the picks, in float32; the first pick has the largest.
void pick_weights(const float* logits, const std::uint32_t* expert, std::size_t picks, float* weight) {
  float sum = 0;
  for (std::size_t k = 0; k < picks; ++k) {
    weight[k] = std::exp(logits[expert[k]] - logits[expert[0]]);
    sum += weight[k];
  }
  for (std::size_t k = 0; k < picks; ++k) weight[k] /= sum;
}

/// One tile of rows; `packed` has room for it.
void route_tile(const PackedLayer& layer, const float* x, std::size_t first, std::size_t count,
                unsigned char* packed, Routing& routing) {
  const Product& product = product_of(WeightType::f32);
  const std::size_t experts = layer.shape.experts, inputs = layer.shape.inputs;
  std::array<const float*, kTileRows> rows;
  for (std::size_t r = 0; r < count; ++r) rows[r] = x + (first + r) * inputs;
  pack_tile(product, rows.data(), count, inputs, packed);
  std::array<float, kTileRows * kPanel> out;
  for (std::size_t p = 0; p < layer.gate.panels; ++p) {
    multiply(product, layer.gate.panel(0, p), packed, inputs, count, out.data());
    const std::size_t columns = std::min(kPanel, experts - p * kPanel);
    for (std::size_t r = 0; r < count; ++r)
      std::copy_n(out.data() + r * kPanel, columns,
                  routing.logits.data() + (first + r) * experts + p * kPanel);
  }
  for (std::size_t r = first; r < first + count; ++r) {
    const float* logits = routing.logits.data() + r * experts;
    top_k(logits, experts, routing.picks, routing.expert.data() + r * routing.picks);
    pick_weights(logits, routing.expert.data() + r * routing.picks, routing.picks,
                 routing.weight.data() + r * routing.picks);
  }
}

}  // namespace

void route(const PackedLayer& layer, const float* x, std::size_t rows, std::size_t picks,
           const Compute& compute, Routing& routing) {
  routing.picks = picks;
  routing.expert.resize(rows * picks);
  routing.weight.resize(rows * picks);
  routing.logits.resize(rows * layer.shape.experts);
  const std::size_t tile_bytes = kTileRows * product_of(WeightType::f32).row_bytes(layer.shape.inputs);
  // Starting a thread costs as much as some million multiplications.
  const double work =
      static_cast<double>(rows * layer.shape.experts) * static_cast<double>(layer.shape.inputs);
  constexpr std::size_t kPiece = 8 * kTileRows;
  Compute used = compute;
  if (work < 4e6) used.threads = 1;
  parallel_for((rows + kPiece - 1) / kPiece, used, [&](std::size_t piece) {
    const Buffer packed(tile_bytes);
    const std::size_t end = std::min(rows, (piece + 1) * kPiece);
    for (std::size_t first = piece * kPiece; first < end; first += kTileRows)
      route_tile(layer, x, first, std::min(kTileRows, end - first), packed.data(), routing);
  });
}

Slots::Slots(const Routing& routing, std::size_t rows, std::size_t experts)
    : begin(experts + 1), row(rows * routing.picks), weight(row.size()), of_row(row.size()) {
  const std::size_t picks = routing.picks;
  for (const std::uint32_t e : routing.expert) ++begin[e + 1];
  for (std::size_t e = 0; e < experts; ++e) {
    if (begin[e + 1]) active.push_back(static_cast<std::uint32_t>(e));
    begin[e + 1] += begin[e];
  }
  std::vector<std::size_t> next(begin.begin(), begin.end() - 1);
  for (std::size_t t = 0; t < rows; ++t) {
    for (std::size_t k = 0; k < picks; ++k) {
      const std::size_t slot = next[routing.expert[t * picks + k]]++;
      row[slot] = static_cast<std::uint32_t>(t);
      weight[slot] = routing.weight[t * picks + k];
      of_row[t * picks + k] = slot;
    }
    std::sort(of_row.begin() + static_cast<std::ptrdiff_t>(t * picks),
              of_row.begin() + static_cast<std::ptrdiff_t>((t + 1) * picks));
  }
}

}  // namespace moekit::layer
