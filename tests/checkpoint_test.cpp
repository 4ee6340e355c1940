// Layers in safetensors files: every layout gives the same layer, and what does not fit is named.
#include "moekit/checkpoint.hpp"

#include "layer_helpers.hpp"
#include "moekit/error.hpp"
#include "safetensors_helpers.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

const LayerShape kShape = {6, 10, 6, 3, ExpertKind::glu, Activation::silu};

std::vector<float> transposed(const std::vector<float>& values, std::size_t rows, std::size_t columns) {
  std::vector<float> out(values.size());
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) out[c * rows + r] = values[r * columns + c];
  return out;
}

void append(std::vector<float>& to, const std::vector<float>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// The file gives the layer of these weights.
void check_same(const std::vector<StoredTensor>& tensors, const MemoryWeights& weights, std::size_t number,
                const TensorNames& names = {}) {
  const TemporaryFile file(".safetensors", safetensors_of(tensors));
  const Safetensors read(file.path());
  const CheckpointLayer stored(read, number, names, &weights.layer.activation);
  CHECK(stored.shape() == weights.layer);
  CHECK(stored.unused().empty());
  LayerOptions options;
  options.compute.threads = 1;
  const std::vector<float> x = random_rows(9, weights.layer.inputs, 1);
  CHECK(run_layer(Layer(stored, options), x) == run_layer(Layer(weights, options), x));
  // Pages that were let go are read again.
  CHECK(run_layer(Layer(stored, options), x) == run_layer(Layer(weights, options), x));
}

void check_refused(const std::vector<StoredTensor>& tensors, std::size_t number, const TensorNames& names,
                   const char* part) {
  const TemporaryFile file(".safetensors", safetensors_of(tensors));
  const Safetensors read(file.path());
  CHECK_THROWS_WITH_AS(CheckpointLayer(read, number, names), doctest::Contains(part), Error);
}

}  // namespace

TEST_CASE("the names of the public Mixtral checkpoint, and their aliases") {
  const MemoryWeights weights = random_weights(kShape, 1);
  std::vector<StoredTensor> tensors = mixtral_tensors(weights, 12);
  tensors.push_back({"model.layers.12.self_attn.q_proj.weight", {2, 2}, {1, 2, 3, 4}});
  check_same(tensors, weights, 12);
  for (StoredTensor& t : tensors)
    if (const std::size_t at = t.name.find("block_sparse_moe"); at != std::string::npos)
      t.name.replace(at, 16, "mlp");
  check_same(tensors, weights, 12);
  for (StoredTensor& t : tensors)
    for (const auto& [from, to] : {std::pair{"w1", "gate_proj"}, {"w3", "up_proj"}, {"w2", "down_proj"}})
      if (const std::size_t at = t.name.find(from); at != std::string::npos) t.name.replace(at, 2, to);
  check_same(tensors, weights, 12);
}

TEST_CASE("stacked experts: fused gate and up, and Mistral's own files with w2 transposed") {
  const MemoryWeights weights = random_weights(kShape, 2);
  StoredTensor fused{"model.layers.0.mlp.experts.gate_up_proj", {3, 20, 6}, {}};
  StoredTensor down{"model.layers.0.mlp.experts.down_proj", {3, 6, 10}, {}};
  StoredTensor w1{"layers.0.block_sparse_moe.w1", {30, 6}, {}},
      w2{"layers.0.block_sparse_moe.w2", {30, 6}, {}}, w3{"layers.0.block_sparse_moe.w3", {30, 6}, {}};
  for (const auto& e : weights.experts) {
    append(fused.values, e.w1);
    append(fused.values, e.w3);
    append(down.values, e.w2);
    append(w1.values, e.w1);
    append(w2.values, transposed(e.w2, 6, 10));
    append(w3.values, e.w3);
  }
  check_same({{"model.layers.0.mlp.gate.weight", {3, 6}, weights.gate}, fused, down}, weights, 0);
  check_same({{"layers.0.block_sparse_moe.gate.weight", {3, 6}, weights.gate}, w1, w2, w3}, weights, 0);
}

TEST_CASE("names by patterns: one, two and three matrices, {matrix}, stacks") {
  const MemoryWeights glu = random_weights(kShape, 3);
  std::vector<StoredTensor> tensors = mixtral_tensors(glu, 4);
  const auto rename = [&](std::size_t at, std::string name) { tensors[at].name = std::move(name); };
  rename(0, "router.4");
  for (std::size_t e = 0; e < 3; ++e)
    for (std::size_t m = 0; m < 3; ++m)
      rename(1 + 3 * e + m, "ffn." + std::to_string(e) + ".l4." + std::vector{"w1", "w2", "w3"}[m]);
  TensorNames names{"router.{layer}", {"ffn.{expert}.l{layer}.{matrix}"}};
  check_same(tensors, glu, 4, names);
  names.experts = {"ffn.{expert}.l{layer}.w1", "ffn.{expert}.l{layer}.w3", "ffn.{expert}.l{layer}.w2"};
  check_same(tensors, glu, 4, names);

  const MemoryWeights mlp = random_weights({6, 10, 4, 3, ExpertKind::mlp, Activation::gelu}, 4);
  std::vector<StoredTensor> two = {{"g", {3, 6}, mlp.gate}};
  for (std::size_t e = 0; e < 3; ++e) {
    two.push_back({"in" + std::to_string(e), {10, 6}, mlp.experts[e].w1});
    two.push_back({"out" + std::to_string(e), {4, 10}, mlp.experts[e].w2});
  }
  check_same(two, mlp, 0, {"g", {"in{expert}", "out{expert}"}});

  const MemoryWeights linear = random_weights({6, 0, 5, 3, ExpertKind::linear, Activation::silu}, 5);
  StoredTensor stack{"w", {3, 5, 6}, {}};
  for (const auto& e : linear.experts) append(stack.values, e.w2);
  check_same({{"g", {3, 6}, linear.gate}, stack}, linear, 0, {"g", {"w"}});
}

TEST_CASE("what is lacking or does not fit is named") {
  const MemoryWeights weights = random_weights(kShape, 6);
  const std::vector<StoredTensor> good = mixtral_tensors(weights, 1);
  check_refused(good, 0, {}, "layers in the file: 1");
  check_refused({{"a", {1}, {1}}}, 0, {}, "--gate-tensor");
  std::vector<StoredTensor> bad = good;
  bad.pop_back();
  check_refused(bad, 1, {}, "no tensor 'model.layers.1.block_sparse_moe.experts.2.w3.weight'");
  bad = good;
  bad[4].shape = {6, 10};  // w1 of expert 1
  check_refused(bad, 1, {}, "[10, 6]");
  bad = good;
  bad[2].shape = {60};
  check_refused(bad, 1, {}, "[out, in]");
  bad = good;
  bad[0].shape = {18};
  check_refused(bad, 1, {}, "[experts, inputs]");
  bad = good;
  bad[0].shape = {2, 9};
  check_refused(bad, 1, {}, "shape");
  check_refused({good[0]}, 1, {}, "no experts under the known names");
  check_refused(good, 1, {"", {"a", "b", "c", "d"}}, "at most three");
  check_refused(good, 1, {"nosuch", {}}, "no tensor 'nosuch'");
  // A gate that claims more experts than there are tensors.
  std::vector<StoredTensor> many = {{"g", {1000, 1}, std::vector<float>(1000)}, {"w999", {1, 1}, {1}}};
  check_refused(many, 0, {"g", {"w{expert}"}}, "more than the file has tensors");
}

TEST_CASE("tensors of the layer that would be left out are listed, and so are the layers of a file") {
  const MemoryWeights weights = random_weights(kShape, 7);
  std::vector<StoredTensor> tensors = mixtral_tensors(weights, 10);
  for (StoredTensor& t : mixtral_tensors(weights, 2)) tensors.push_back(t);
  tensors.push_back({"model.layers.2.block_sparse_moe.shared_expert.w1.weight", {1}, {1}});
  const TemporaryFile file(".safetensors", safetensors_of(tensors));
  const Safetensors read(file.path());
  CHECK(layers_of(read) == std::vector<std::size_t>{2, 10});
  CHECK(CheckpointLayer(read, 10).unused().empty());
  CHECK(CheckpointLayer(read, 2).unused() ==
        std::vector<std::string>{"model.layers.2.block_sparse_moe.shared_expert.w1.weight"});
}
