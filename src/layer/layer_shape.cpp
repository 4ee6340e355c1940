#include "moekit/layer_shape.hpp"

#include <algorithm>
#include <array>

#include "moekit/error.hpp"

namespace moekit {

namespace {

constexpr std::array<std::string_view, 3> kKinds = {"linear", "mlp", "glu"};
constexpr std::array<std::string_view, 3> kActivations = {"relu", "gelu", "silu"};
constexpr std::array<std::string_view, 3> kTypes = {"f32", "bf16", "int8"};

template <class Enum>
Enum named(std::string_view what, std::string_view name, const std::array<std::string_view, 3>& known) {
  const auto at = std::find(known.begin(), known.end(), name);
  if (at == known.end())
    throw Error(Errc::usage, std::string(what) + " '" + std::string(name) +
                                 "' is not known; known: " + std::string(known[0]) + ", " +
                                 std::string(known[1]) + ", " + std::string(known[2]));
  return static_cast<Enum>(at - known.begin());
}

}  // namespace

std::string_view expert_kind_name(ExpertKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }
std::string_view activation_name(Activation activation) {
  return kActivations[static_cast<std::size_t>(activation)];
}
std::string_view weight_type_name(WeightType type) { return kTypes[static_cast<std::size_t>(type)]; }
Activation activation_named(std::string_view name) {
  return named<Activation>("activation", name, kActivations);
}
WeightType weight_type_named(std::string_view name) { return named<WeightType>("weight type", name, kTypes); }

MemoryWeights::MemoryWeights(const LayerShape& shape)
    : layer(shape), gate(shape.experts * shape.inputs), experts(shape.experts) {
  for (Expert& e : experts) {
    if (shape.kind != ExpertKind::linear) e.w1.resize(shape.hidden * shape.inputs);
    if (shape.kind == ExpertKind::glu) e.w3.resize(shape.hidden * shape.inputs);
    e.w2.resize(shape.outputs * shape.last_inner());
  }
}

void MemoryWeights::gate_rows(std::size_t first, std::size_t count, float* out) const {
  std::copy_n(gate.data() + first * layer.inputs, count * layer.inputs, out);
}

void MemoryWeights::expert_rows(std::size_t expert, ExpertMatrix matrix, std::size_t first, std::size_t count,
                                float* out) const {
  const Expert& e = experts[expert];
  const bool last = matrix == ExpertMatrix::w2;
  const std::size_t inner = last ? layer.last_inner() : layer.inputs;
  const std::vector<float>& from = last ? e.w2 : matrix == ExpertMatrix::w1 ? e.w1 : e.w3;
  std::copy_n(from.data() + first * inner, count * inner, out);
}

}  // namespace moekit
