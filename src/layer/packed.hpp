#pragma once
#include <functional>

#include "layer/buffer.hpp"
#include "layer/kernels.hpp"
#include "moekit/sum.hpp"

namespace moekit::layer {

/// One matrix of every expert, packed into panels.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(WeightType type, std::size_t experts, std::size_t columns, std::size_t inner);

  const unsigned char* panel(std::size_t expert, std::size_t p) const {
    return memory_.data() + (expert * panels + p) * stride_;
  }
  unsigned char* panel(std::size_t expert, std::size_t p) {
    return memory_.data() + (expert * panels + p) * stride_;
  }
  std::size_t panel_stride() const { return stride_; }
  std::size_t bytes() const { return memory_.bytes(); }

  WeightType type = WeightType::f32;
  std::size_t inner = 0, panels = 0;

 private:
  std::size_t stride_ = 0;
  Buffer memory_;
};

/// A layer's weights as its products want them.
struct PackedLayer {
  PackedLayer(const LayerWeights& weights, WeightType type, bool transposed, const Compute& compute);

  std::size_t bytes() const {
    return gate.bytes() + up.bytes() + down.bytes() + down_back.bytes() + up_back.bytes();
  }

  LayerShape shape;
  PackedMatrix gate;  ///< one "expert" whose columns are the experts; always f32
  /// w1; with glu, panels of 16 columns of w1 and the same 16 of w3, so that act(w1 x) * (w3 x) needs one
  /// tile.
  PackedMatrix up;
  PackedMatrix down;  ///< w2
  // Transposed, for the backward pass.
  PackedMatrix down_back;  ///< columns: hidden (linear: inputs), inner: outputs
  PackedMatrix up_back;    ///< columns: inputs, inner: hidden of w1, then hidden of w3
};

}  // namespace moekit::layer
