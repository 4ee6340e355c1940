#pragma once
#include <vector>

#include "layer/forward.hpp"
#include "layer/layer_state.hpp"

namespace moekit::layer {

/// The backward pass, stage by stage; every value is written by one task, in an order that does not depend on
/// threads. With dO = g dy for every slot:
///   dHidden = dO W2,  dBefore = dHidden * derivative of the activation,  dX = dBefore [W1; W3]
///   dW2 = dO' Hidden,  [dW1; dW3] = dBefore' X  (sums over the slots of an expert, in the order of the rows)
class BackwardPass {
 public:
  BackwardPass(const PackedLayer& layer, const LayerTrace& trace, const float* dy, LayerGradients& gradients,
               const Compute& compute);
  void run();

 private:
  /// One product of the weights' gradients: to [m, n] += left' right over the slots of an expert; left has
  /// rows of `stride` values.
  struct Outer {
    const float* left;
    std::size_t left_stride, m;
    const float* panels;  ///< right, packed by pack_columns
    std::size_t n;
    float* to;
  };

  void scale_outputs();
  void gate_gradients();
  void hidden_gradients();
  void before_gradients(std::size_t panel, std::size_t slot, std::size_t rows, const float* tile);
  void input_and_weight_gradients();
  void slot_inputs(std::size_t expert, std::size_t panel);
  void outer(const Outer& product, std::size_t expert, std::size_t tile) const;
  void combine_inputs();
  std::vector<Outer> outers(std::size_t expert) const;
  void pack_columns();
  void pack_slots(const float* from, std::size_t stride, std::size_t inner, Buffer& to);
  void for_experts(const std::function<void(std::size_t)>& task) const;

  const PackedLayer& layer_;
  const LayerShape& shape_;
  const LayerTrace& trace_;
  const Slots& slots_;
  const Workspace& space_;
  const float* dy_;
  LayerGradients& gradients_;
  const Compute& compute_;
  const Product& product_;
  std::size_t hidden_stride_, output_stride_, input_stride_, before_width_;
  Buffer d_output_;      ///< slots x output_stride
  Buffer d_before_;      ///< slots x before_width: dL/d(w1 x), then dL/d(w3 x), without padding
  Buffer d_input_;       ///< slots x input_stride
  Buffer tiles_;         ///< rows packed for a product
  Buffer input_panels_;  ///< of every expert: its rows of x as panels of 32 columns
  Buffer hidden_panels_;
  std::vector<float> d_logit_;  ///< of every slot
};

}  // namespace moekit::layer
