#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace moekit {

/// What an expert computes from a row x; no bias. linear: W2 x. mlp: W2 act(W1 x). glu: W2 (act(W1 x) * (W3
/// x)), SwiGLU with silu (Shazeer 2020, 2002.05202).
enum class ExpertKind { linear, mlp, glu };

/// relu: max(0, z). gelu: z Phi(z), exact (Hendrycks & Gimpel 2016). silu: z / (1 + exp(-z)).
enum class Activation { relu, gelu, silu };

/// How weights are kept and multiplied. f32. bf16: inputs of products are rounded to bfloat16, sums are
/// float32. int8: blocks of 32 along the inner dimension with one scale, weights and inputs alike; sums of
/// blocks are exact integers, added up in float32.
enum class WeightType { f32, bf16, int8 };

/// Matrices of an expert, [out, in] row by row: w1 and w3 hidden x inputs (w3: glu only; a linear expert has
/// neither), w2 outputs x hidden (linear: outputs x inputs).
enum class ExpertMatrix { w1, w3, w2 };

struct LayerShape {
  std::size_t inputs = 0, hidden = 0, outputs = 0, experts = 0;
  ExpertKind kind = ExpertKind::glu;
  Activation activation = Activation::silu;

  bool operator==(const LayerShape&) const = default;
  /// What w2 multiplies.
  std::size_t last_inner() const { return kind == ExpertKind::linear ? inputs : hidden; }
};

std::string_view expert_kind_name(ExpertKind kind);
std::string_view activation_name(Activation activation);
std::string_view weight_type_name(WeightType type);
/// Errors: Errc::usage, listing the known names.
Activation activation_named(std::string_view name);
WeightType weight_type_named(std::string_view name);

/// Where a layer's weights come from: asked once, for a few rows of a matrix at a time, from several threads.
class LayerWeights {
 public:
  virtual ~LayerWeights() = default;
  virtual LayerShape shape() const = 0;
  /// Rows first .. first + count - 1 of the gate, experts x inputs.
  virtual void gate_rows(std::size_t first, std::size_t count, float* out) const = 0;
  /// The same of one matrix of an expert.
  virtual void expert_rows(std::size_t expert, ExpertMatrix matrix, std::size_t first, std::size_t count,
                           float* out) const = 0;
  /// All rows of this expert have been taken.
  virtual void done(std::size_t expert) const { (void)expert; }
};

/// Weights in memory.
class MemoryWeights final : public LayerWeights {
 public:
  struct Expert {
    std::vector<float> w1, w3, w2;  ///< sizes as LayerShape says; empty where the kind has none
  };
  MemoryWeights() = default;
  /// All zero.
  explicit MemoryWeights(const LayerShape& shape);

  LayerShape shape() const override { return layer; }
  void gate_rows(std::size_t first, std::size_t count, float* out) const override;
  void expert_rows(std::size_t expert, ExpertMatrix matrix, std::size_t first, std::size_t count,
                   float* out) const override;

  LayerShape layer;
  std::vector<float> gate;  ///< experts x inputs
  std::vector<Expert> experts;
};

}  // namespace moekit
