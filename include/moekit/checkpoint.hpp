#pragma once
#include <memory>
#include <string>
#include <vector>

#include "moekit/layer_shape.hpp"
#include "moekit/safetensors.hpp"

namespace moekit {

/// How the tensors of a layer are called. Empty: the names of public checkpoints are tried (docs/formats.md).
/// {layer} and {expert} stand for numbers from 0, {matrix} for w1, w3 and w2.
struct TensorNames {
  std::string gate;
  /// One pattern a matrix, in the order in which they act: linear: w2; mlp: w1, w2; glu: w1, w3, w2. Or one
  /// pattern with {matrix}. Without {expert} a tensor holds the experts one after the other.
  std::vector<std::string> experts;

  bool empty() const { return gate.empty() && experts.empty(); }
};

/// Weights of one layer of a safetensors file, read where they lie. Reading one that is not finite in float32
/// throws Errc::data, naming file and tensor.
class CheckpointLayer final : public LayerWeights {
 public:
  /// `activation` unset: silu for glu, relu for mlp experts. Errors: Errc::model_format, naming the tensors
  /// that are lacking or do not fit together; Errc::usage for patterns that make no sense.
  CheckpointLayer(const Safetensors& file, std::size_t layer, const TensorNames& names = {},
                  const Activation* activation = nullptr);

  LayerShape shape() const override { return shape_; }
  void gate_rows(std::size_t first, std::size_t count, float* out) const override;
  void expert_rows(std::size_t expert, ExpertMatrix matrix, std::size_t first, std::size_t count,
                   float* out) const override;
  /// Lets the expert's mapped pages go.
  void done(std::size_t expert) const override;

  const std::string& gate_name() const { return gate_->name; }
  /// What the names of the expert tensors look like, for people.
  const std::string& layout() const { return layout_; }
  /// Stored type of the experts.
  const std::string& dtype() const;
  /// Tensors beside the gate that the layer does not use, such as shared experts.
  const std::vector<std::string>& unused() const { return unused_; }

 private:
  /// A matrix inside a tensor.
  struct Place {
    const TensorInfo* tensor = nullptr;
    std::uint64_t first = 0;  ///< value where it begins
    bool transposed = false;  ///< stored [in, out]
  };
  struct Expert {
    Place w1, w3, w2;
  };
  class Finder;

  const Safetensors& file_;
  LayerShape shape_;
  const TensorInfo* gate_ = nullptr;
  std::vector<Expert> experts_;
  std::string layout_;
  std::vector<std::string> unused_;
};

/// Numbers of the layers whose gates the file has under the known names, rising.
std::vector<std::size_t> layers_of(const Safetensors& file);

}  // namespace moekit
