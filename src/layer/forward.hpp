#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "layer/packed.hpp"
#include "layer/routed.hpp"

namespace moekit::layer {

/// Memory of one pass, kept for the next.
struct Workspace {
  Routing routing;      ///< when nobody asks for it
  Buffer x_tiles;       ///< rows of every expert, packed
  Buffer hidden;        ///< slots x hidden_stride
  Buffer hidden_tiles;  ///< the same, packed
  Buffer output;        ///< slots x output_stride: E_e(x) before its weight
  Buffer before;        ///< slots x 2 hidden_stride: w1 x and w3 x, only for a backward pass
};

/// Products of all experts with the rows that were sent to them, in two stages (hidden units, outputs) with a
/// barrier between, the work cut into runs of panels; or, when many experts have few rows, expert by expert.
class ForwardPass {
 public:
  /// `keep`: fill Workspace::before.
  ForwardPass(const PackedLayer& layer, const Slots& slots, const float* x, std::size_t rows, bool keep,
              Workspace& space, const Compute& compute);
  /// y: rows x outputs.
  void run(float* y);

  static std::size_t hidden_stride(const LayerShape& shape);
  static std::size_t output_stride(const LayerShape& shape);

 private:
  /// Panels begin .. end - 1 of one expert.
  struct Piece {
    std::uint32_t expert;
    std::uint32_t begin, end;
  };

  void by_stages(int threads, float* y);
  void by_experts(int threads, float* y);
  std::vector<Piece> pieces(const PackedMatrix& matrix, int threads) const;
  void pack_rows(std::size_t expert);
  void up(const Piece& piece);
  void store_hidden(const float* tile, std::size_t panel, std::size_t slot, std::size_t rows);
  void pack_hidden(std::size_t expert);
  void down(const Piece& piece);
  void combine(std::size_t begin, std::size_t end, float* y) const;
  int threads_worth() const;

  const PackedLayer& layer_;
  const LayerShape& shape_;
  const Slots& slots_;
  const float* x_;
  std::size_t rows_;
  bool keep_;
  Workspace& space_;
  const Compute& compute_;
  const Product& product_;
  std::size_t hidden_stride_, output_stride_, x_bytes_, hidden_bytes_;
};

}  // namespace moekit::layer
