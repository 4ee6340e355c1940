#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "moekit/layer_shape.hpp"
#include "moekit/sum.hpp"

namespace moekit {

struct LayerOptions {
  WeightType type = WeightType::f32;
  std::size_t picks = 2;   ///< K: experts of a row, at most E
  bool trainable = false;  ///< keep the transposed weights that backward() needs too; f32 only
  Compute compute;         ///< results do not depend on it
};

/// Where rows went: logits = x Wg' in float32 whatever the weights are, the K largest (ties to the lower
/// expert), and the softmax of those K logits, which is the softmax of all, divided by its sum over the K.
struct Routing {
  std::size_t picks = 0;
  std::vector<std::uint32_t> expert;  ///< T x K, by falling logit
  std::vector<float> weight;          ///< T x K
  std::vector<float> logits;          ///< T x E
};

/// What one forward pass leaves for the backward pass. Memory: T K (2 hidden + inputs + 2 outputs) floats.
struct LayerTrace {
  struct State;
  std::size_t rows = 0;
  Routing routing;
  std::shared_ptr<State> state;
};

/// Derivatives of a loss: with respect to the input, and to the weights in the shapes of MemoryWeights.
struct LayerGradients {
  std::vector<float> input;  ///< T x inputs
  MemoryWeights weights;     ///< added to, so that batches can be summed; sized when empty
};

/// A sparse mixture-of-experts layer: y = sum over the K picks e of g_e E_e(x). No capacity: no row is ever
/// dropped. Rows are sorted by expert (counting sort) and every expert multiplies its own rows with weights
/// packed once (MegaBlocks, Gale et al. 2022, 2211.15841). A row's result does not depend on the other rows
/// of the batch, nor on threads; picks are added in the order of their expert's number.
class Layer {
 public:
  /// Takes all weights, expert by expert. Memory: the weights once, in `options.type` (trainable: twice).
  /// Errors: Errc::usage for more picks than experts, Errc::data for an empty layer, or int8 weights that are
  /// not finite.
  Layer(const LayerWeights& weights, const LayerOptions& options);
  ~Layer();
  Layer(Layer&&) noexcept;
  Layer& operator=(Layer&&) noexcept;

  const LayerShape& shape() const;
  const LayerOptions& options() const;
  std::size_t weight_bytes() const;  ///< packed

  /// x: T x inputs, y: T x outputs, row by row; T may be 0. `routing` may be null. May be called from several
  /// threads at once.
  void forward(const float* x, std::size_t rows, float* y, Routing* routing = nullptr) const;
  /// The same, keeping what backward() needs. Errors: Errc::usage for a layer that is not trainable.
  void forward(const float* x, std::size_t rows, float* y, LayerTrace& trace) const;
  /// From dL/dy (T x outputs) to all derivatives. The choice of experts is taken as given: through the K
  /// weights g the gradient reaches the gate, dl_e = g_e (<dy, E_e(x)> - sum_j g_j <dy, E_j(x)>).
  void backward(const LayerTrace& trace, const float* dy, LayerGradients& gradients) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moekit
