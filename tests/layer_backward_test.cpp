// Gradients of the sparse layer against central differences of the naive float64 loop (docs/math.md, 12).
#include <algorithm>

#include "layer_helpers.hpp"
#include "moekit/error.hpp"
#include "reference/naive_layer.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

LayerOptions trainable(std::size_t picks, int threads) {
  LayerOptions o;
  o.picks = picks;
  o.trainable = true;
  o.compute.threads = threads;
  return o;
}

/// L = sum c y, whose gradient with respect to y is c.
double loss(const MemoryWeights& weights, const std::vector<float>& x, std::size_t picks,
            const std::vector<float>& c) {
  const std::vector<double> y = naive::layer(weights, x, static_cast<int>(picks)).y;
  double sum = 0;
  for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(c[i]) * y[i];
  return sum;
}

struct Passed {
  std::vector<float> y;
  LayerGradients gradients;
};

Passed pass(const MemoryWeights& weights, const std::vector<float>& x, const std::vector<float>& c,
            std::size_t picks, int threads) {
  const Layer layer(weights, trainable(picks, threads));
  const std::size_t rows = x.size() / weights.layer.inputs;
  Passed out;
  out.y.resize(rows * weights.layer.outputs);
  LayerTrace trace;
  layer.forward(x.data(), rows, out.y.data(), trace);
  layer.backward(trace, c.data(), out.gradients);
  return out;
}

/// Some of the gradients by central differences. The step is large against float32's rounding of the weights,
/// small against the distance to another routing or the kink of relu for these seeds.
void check_differences(std::vector<float>& values, const std::vector<float>& gradient,
                       const std::function<double()>& value_of_loss, double scale) {
  REQUIRE(values.size() == gradient.size());
  const std::size_t stride = std::max<std::size_t>(1, values.size() / 23);
  for (std::size_t i = 0; i < values.size(); i += stride) {
    const float old = values[i], step = 1e-3f;
    values[i] = old + step;
    const double above = value_of_loss(), upper = values[i];
    values[i] = old - step;
    const double below = value_of_loss(), lower = values[i];
    values[i] = old;
    CAPTURE(i);
    CHECK(std::abs((above - below) / (upper - lower) - static_cast<double>(gradient[i])) < 2e-5 * scale);
  }
}

void check_layer(const LayerShape& shape, std::size_t picks) {
  CAPTURE(expert_kind_name(shape.kind));
  CAPTURE(activation_name(shape.activation));
  const std::size_t rows = 29;
  MemoryWeights weights = random_weights(shape, 21);
  std::vector<float> x = random_rows(rows, shape.inputs, 22);
  const std::vector<float> c = random_rows(rows, shape.outputs, 23);
  const Passed got = pass(weights, x, c, picks, 1);
  CHECK(relative_difference(got.y, naive::layer(weights, x, static_cast<int>(picks)).y) < 1e-5);
  const auto value = [&] { return loss(weights, x, picks, c); };
  // Curvature of a sum over so many rows: errors of the differences grow with it.
  const double scale = static_cast<double>(rows);
  check_differences(x, got.gradients.input, value, scale);
  check_differences(weights.gate, got.gradients.weights.gate, value, scale);
  for (std::size_t e = 0; e < shape.experts; ++e) {
    check_differences(weights.experts[e].w1, got.gradients.weights.experts[e].w1, value, scale);
    check_differences(weights.experts[e].w3, got.gradients.weights.experts[e].w3, value, scale);
    check_differences(weights.experts[e].w2, got.gradients.weights.experts[e].w2, value, scale);
  }
}

}  // namespace

TEST_CASE("gradients equal central differences: input, gate and experts of every kind") {
  for (const Activation a : {Activation::silu, Activation::gelu}) {
    check_layer({9, 35, 11, 4, ExpertKind::glu, a}, 2);
    check_layer({9, 35, 11, 4, ExpertKind::mlp, a}, 3);
  }
  check_layer({13, 0, 7, 5, ExpertKind::linear, Activation::silu}, 2);
  check_layer({9, 20, 11, 3, ExpertKind::mlp, Activation::relu}, 1);
}

TEST_CASE("gradients: the same bytes for any number of threads; batches add up") {
  const LayerShape shape = {40, 70, 33, 6, ExpertKind::glu, Activation::silu};
  const MemoryWeights weights = random_weights(shape, 31);
  const std::vector<float> x = random_rows(80, 40, 32), c = random_rows(80, 33, 33);
  const Passed one = pass(weights, x, c, 2, 1);
  for (const int threads : {2, 5}) {
    const Passed more = pass(weights, x, c, 2, threads);
    CHECK(more.gradients.input == one.gradients.input);
    CHECK(more.gradients.weights.gate == one.gradients.weights.gate);
    for (std::size_t e = 0; e < 6; ++e) {
      CHECK(more.gradients.weights.experts[e].w1 == one.gradients.weights.experts[e].w1);
      CHECK(more.gradients.weights.experts[e].w2 == one.gradients.weights.experts[e].w2);
    }
  }
  const Layer layer(weights, trainable(2, 1));
  LayerTrace trace;
  LayerGradients sum;
  std::vector<float> y(40 * 33), input;
  for (std::size_t half = 0; half < 2; ++half) {
    layer.forward(x.data() + half * 40 * 40, 40, y.data(), trace);
    layer.backward(trace, c.data() + half * 40 * 33, sum);
    input.insert(input.end(), sum.input.begin(), sum.input.end());
  }
  CHECK(relative_difference(input, one.gradients.input) < 1e-5);
  CHECK(relative_difference(sum.weights.gate, one.gradients.weights.gate) < 1e-5);
  CHECK(relative_difference(sum.weights.experts[2].w3, one.gradients.weights.experts[2].w3) < 1e-5);
}

TEST_CASE("gradients: no rows, experts without rows, and what is refused") {
  const MemoryWeights weights = random_weights({8, 8, 8, 50, ExpertKind::glu, Activation::silu}, 41);
  const Layer layer(weights, trainable(1, 1));
  LayerTrace trace;
  LayerGradients gradients;
  layer.forward(nullptr, 0, nullptr, trace);
  layer.backward(trace, nullptr, gradients);
  CHECK(gradients.input.empty());
  const std::vector<float> x = random_rows(3, 8, 42);
  std::vector<float> y(3 * 8);
  layer.forward(x.data(), 3, y.data(), trace);
  layer.backward(trace, y.data(), gradients);
  // With one pick its weight is 1 whatever the logit.
  CHECK(*std::max_element(gradients.weights.gate.begin(), gradients.weights.gate.end()) == 0.0f);
  for (std::size_t e = 0; e < 50; ++e) {
    const bool used =
        std::find(trace.routing.expert.begin(), trace.routing.expert.end(), e) != trace.routing.expert.end();
    const std::vector<float>& w2 = gradients.weights.experts[e].w2;
    CHECK(used == std::any_of(w2.begin(), w2.end(), [](float v) { return v != 0; }));
  }
  LayerOptions plain = trainable(1, 1);
  plain.trainable = false;
  const Layer fixed(weights, plain);
  CHECK_THROWS_AS(fixed.forward(x.data(), 3, y.data(), trace), Error);
  CHECK_THROWS_AS(fixed.backward(trace, y.data(), gradients), Error);
  LayerGradients other{{}, MemoryWeights({8, 8, 8, 49, ExpertKind::glu, Activation::silu})};
  CHECK_THROWS_AS(layer.backward(trace, y.data(), other), Error);
}
