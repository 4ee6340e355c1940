#pragma once
#include <cstddef>
#include <cstdint>

#include "moekit/layer_shape.hpp"

namespace moekit::layer {

// Every product of the layer is made of tiles: up to twelve or 32 rows times one panel of kPanel columns.
// Weights are packed once into panels, rows into tiles, so that a tile reads both from front to back:
//
//   f32   panel: for each inner index, 32 values
//   bf16  panel: for each pair of inner indices, 32 pairs
//   int8  panel: for each 32 inner indices, 32 scales (bf16), then for each four of them 32 x 4 values, plus
//   128
//
// RowLayout says how rows lie in a tile. An output value is the sum over the inner dimension in order, in
// chunks of kChunk whose sums are added in order, whatever the number of rows: so it depends neither on the
// other rows nor on threads. The chunks keep rounding errors small (pairwise summation with one level), and a
// chunk of a panel stays in the cache for all tiles.

inline constexpr std::size_t kPanel = 32;
inline constexpr std::size_t kTileRows = 12;
inline constexpr std::size_t kMostTileRows = 32;  ///< of any product
inline constexpr std::size_t kBlock = 32;         ///< inner indices that share a scale
inline constexpr std::size_t kBand = 32;          ///< inner indices of a band (RowLayout)
inline constexpr std::size_t kChunk = 256;
/// Rows whose tiles are multiplied with a chunk of a panel while it is in the first-level cache: whole tiles
/// of any product.
inline constexpr std::size_t kGroupRows = 192;
static_assert(kGroupRows % kTileRows == 0 && kGroupRows % kMostTileRows == 0);

/// Inner indices of one step of a kernel: of one value, pair or block in panel and tile.
constexpr std::size_t step_of(WeightType type) {
  return type == WeightType::f32 ? 1 : type == WeightType::bf16 ? 2 : kBlock;
}
constexpr std::size_t steps_of(WeightType type, std::size_t inner) {
  return (inner + step_of(type) - 1) / step_of(type);
}
/// Bytes of one step of a panel.
constexpr std::size_t panel_step_bytes(WeightType type) {
  return type == WeightType::int8 ? kPanel * (2 + kBlock) : kPanel * 4;
}
constexpr std::size_t panel_bytes(WeightType type, std::size_t inner) {
  return steps_of(type, inner) * panel_step_bytes(type);
}

/// What a kernel asks memory for while it works, into the second-level cache: two lines of 64 bytes a step.
/// Weights are read once from main memory, which is much slower than the sums; asked for early enough they
/// cost nothing.
struct Ahead {
  const unsigned char* from = nullptr;
  std::size_t step = 0;  ///< bytes
};

/// Bytes that a core should have on the way from memory: rate times latency, some 20 GB/s times 150 ns, and a
/// little more.
inline constexpr std::size_t kLead = 4096;

/// out[r, c] = or += sum over `steps` steps; r < rows <= kTileRows, c < kPanel, row by row. `x` is a tile
/// with `rows` rows. `ahead` by reference: as a value it would go over the stack as two stores and one load
/// of both, which has to wait until all loads before it have arrived.
using TileKernel = void (*)(const unsigned char* panel, const unsigned char* x, std::size_t steps,
                            std::size_t rows, bool add, float* out, const Ahead& ahead);

/// out[r, c] for a whole inner dimension, r < rows <= kGroupRows.
using GroupKernel = void (*)(const unsigned char* panel, const unsigned char* tiles, std::size_t inner,
                             std::size_t rows, float* out);

/// How rows lie in a tile.
enum class RowLayout {
  values,      ///< f32: for each inner index, a value a row
  wide_pairs,  ///< bf16: for each pair of inner indices, a pair a row, widened to float32
  pairs,       ///< bf16: the same, not widened
  bands,       ///< bf16: for each 32 inner indices, row by row, these of a row
  blocks,  ///< int8: for each 32 inner indices, a scale (f32) and -128 sum of values (i32) a row, then for
           ///< each four of them 4 values a row
};

/// A way to multiply weights of one type. Those of one type give the same bits, but for bands, which add the
/// even and the odd inner indices of each 32 by themselves.
struct Product {
  WeightType type;
  RowLayout layout;
  TileKernel tile;              ///< of kTileRows; null where `group` goes its own way
  GroupKernel group = nullptr;  ///< tiles of kMostTileRows

  std::size_t tile_rows() const { return group ? kMostTileRows : kTileRows; }
  /// Of one row of a tile.
  std::size_t row_bytes(std::size_t inner) const;
};

/// The fastest on this processor; where that is not known beforehand it is timed once.
const Product& product_of(WeightType type);
/// One that every processor has.
Product plain_product(WeightType type);

/// `rows`: kPanel x inner, row by row: the weights of kPanel outputs. `out`: panel_bytes.
void pack_panel(WeightType type, const float* rows, std::size_t inner, unsigned char* out);
/// The weights of a panel again, kPanel x inner. f32 only.
void unpack_panel(const unsigned char* panel, std::size_t inner, float* rows);
/// `rows`: `count` <= tile_rows() pointers to inner values each. `out`: count x row_bytes.
void pack_tile(const Product& product, const float* const* rows, std::size_t count, std::size_t inner,
               unsigned char* out);
/// out[r, c] for a whole inner dimension, chunk by chunk, of up to kGroupRows rows: tiles of tile_rows(), the
/// last one of the rest, each packed by pack_tile, one after the other.
void multiply(const Product& product, const unsigned char* panel, const unsigned char* tiles,
              std::size_t inner, std::size_t rows, float* out);

/// hidden[r * stride + c] = act(tile[r, c]) tile[r, c + 16], c < 16.
void activate_gated(Activation activation, const float* tile, std::size_t rows, float* hidden,
                    std::size_t stride);
/// hidden[r * stride + c] = act(tile[r, c]), c < 32.
void activate(Activation activation, const float* tile, std::size_t rows, float* hidden, std::size_t stride);
/// n values, a multiple of 16: value[i] = act(z[i]), slope[i] = act'(z[i]).
void activation_slopes(Activation activation, const float* z, std::size_t n, float* value, float* slope);

/// The K largest of n logits by falling value, ties to the lower index; NaN counts as the least. K <= n.
void top_k(const float* logits, std::size_t n, std::size_t k, std::uint32_t* index);

/// y[i] += g x[i].
void add_scaled(const float* x, std::size_t n, float g, float* y);

}  // namespace moekit::layer
