#include "reference/naive_layer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moekit::naive {

namespace {

using Row = std::vector<double>;

Row times(const std::vector<float>& matrix, const Row& x) {
  Row out(x.empty() ? 0 : matrix.size() / x.size());
  for (std::size_t o = 0; o < out.size(); ++o)
    for (std::size_t i = 0; i < x.size(); ++i) out[o] += static_cast<double>(matrix[o * x.size() + i]) * x[i];
  return out;
}

double act(Activation activation, double z) {
  if (activation == Activation::relu) return z > 0 ? z : 0;
  if (activation == Activation::gelu) return 0.5 * z * (1 + std::erf(z / std::sqrt(2.0)));
  return z / (1 + std::exp(-z));
}

Row expert(const MemoryWeights& weights, std::size_t e, const Row& x) {
  const auto& w = weights.experts[e];
  if (weights.layer.kind == ExpertKind::linear) return times(w.w2, x);
  Row hidden = times(w.w1, x);
  for (double& h : hidden) h = act(weights.layer.activation, h);
  if (weights.layer.kind == ExpertKind::glu) {
    const Row up = times(w.w3, x);
    for (std::size_t i = 0; i < hidden.size(); ++i) hidden[i] *= up[i];
  }
  return times(w.w2, hidden);
}

}  // namespace

LayerResult layer(const MemoryWeights& weights, const std::vector<float>& x, int picks) {
  const std::size_t inputs = weights.layer.inputs, experts = weights.layer.experts;
  LayerResult out;
  for (std::size_t t = 0; t < x.size() / inputs; ++t) {
    const Row row(x.begin() + static_cast<std::ptrdiff_t>(t * inputs),
                  x.begin() + static_cast<std::ptrdiff_t>((t + 1) * inputs));
    Row p = times(weights.gate, row);
    const double top = *std::max_element(p.begin(), p.end());
    for (double& v : p) v = std::exp(v - top);
    const double sum = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& v : p) v /= sum;
    std::vector<int> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return p[static_cast<std::size_t>(a)] > p[static_cast<std::size_t>(b)];
    });
    const std::vector<int> chosen(order.begin(), order.begin() + picks);
    double kept = 0;
    for (const int e : chosen) kept += p[static_cast<std::size_t>(e)];
    Row y(weights.layer.outputs);
    for (const int e : chosen) {
      const Row part = expert(weights, static_cast<std::size_t>(e), row);
      for (std::size_t o = 0; o < y.size(); ++o) y[o] += p[static_cast<std::size_t>(e)] / kept * part[o];
    }
    out.y.insert(out.y.end(), y.begin(), y.end());
    out.picks.push_back(chosen);
    const auto next = static_cast<std::size_t>(picks);
    out.margin.push_back(next < experts ? p[static_cast<std::size_t>(chosen.back())] -
                                              p[static_cast<std::size_t>(order[next])]
                                        : 1);
  }
  return out;
}

}  // namespace moekit::naive
