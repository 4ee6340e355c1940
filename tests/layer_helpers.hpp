#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "moekit/layer.hpp"
#include "moekit/rng.hpp"

namespace moekit::testing {

/// Normal weights with variance 1 / inner, so that every stage keeps the scale of its input.
inline MemoryWeights random_weights(const LayerShape& shape, std::uint64_t seed) {
  MemoryWeights weights(shape);
  std::uint64_t stream = 0;
  const auto fill = [&](std::vector<float>& values, std::size_t inner) {
    Rng rng(seed, ++stream);
    for (float& v : values) v = static_cast<float>(rng.normal() / std::sqrt(static_cast<double>(inner)));
  };
  fill(weights.gate, shape.inputs);
  for (auto& e : weights.experts) {
    fill(e.w1, shape.inputs);
    fill(e.w3, shape.inputs);
    fill(e.w2, shape.last_inner());
  }
  return weights;
}

inline std::vector<float> random_rows(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  std::vector<float> x(rows * columns);
  Rng rng(seed, 77);
  for (float& v : x) v = static_cast<float>(rng.normal());
  return x;
}

/// Largest difference over the largest value of the reference.
template <class A, class B>
double relative_difference(const A& got, const B& expected) {
  REQUIRE(got.size() == expected.size());
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double e = static_cast<double>(expected[i]), d = std::abs(static_cast<double>(got[i]) - e);
    if (!(d <= most)) most = d;  // a NaN stays
    largest = std::max(largest, std::abs(e));
  }
  return got.empty() ? 0 : most / largest;
}

inline std::vector<float> run_layer(const Layer& layer, const std::vector<float>& x,
                                    Routing* routing = nullptr) {
  const std::size_t rows = x.size() / layer.shape().inputs;
  std::vector<float> y(rows * layer.shape().outputs);
  layer.forward(x.data(), rows, y.data(), routing);
  return y;
}

}  // namespace moekit::testing
