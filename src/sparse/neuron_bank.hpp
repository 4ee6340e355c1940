#pragma once
#include <span>
#include <vector>

#include "layer/buffer.hpp"
#include "sparse/product_keys.hpp"

namespace moekit {

/// A network of up to millions of single-neuron experts behind product keys (PEER: He 2024):
///   y(x) = B x + sum_h sum_{e in picks of q_h} softmax(scores)_e silu(u_e . x) v_e,   q_h = Q_h x.
/// B is a linear part that every row has (a shared expert); v begins at zero, so a neuron that no row ever
/// picked adds nothing. Parameters are float32, and so are sums over inputs; sums over neurons are in double.
class NeuronBank {
 public:
  NeuronBank() = default;
  /// inputs: p features, the intercept first; outputs: m.
  NeuronBank(const Neurons& shape, uword inputs, uword outputs);

  uword inputs() const { return inputs_; }
  uword outputs() const { return outputs_; }
  uword picks() const { return shape_.heads * keys_.picks(); }
  ProductKeys& keys() { return keys_; }
  std::span<float> queries() { return queries_; }  ///< (2 heads width) x p
  std::span<float> linear() { return linear_; }    ///< m x p
  std::span<float> neurons() { return neurons_; }  ///< (p + m) x count: u, then v
  std::size_t neuron_size() const { return inputs_ + outputs_; }
  void randomise(Rng& rng);

  /// What forward() found, for backward().
  struct Work {
    std::vector<float> x, query;  // p x n, (2 heads width) x n
    std::vector<KeyPick> pick;    // picks x heads x n
    std::vector<double> weight;   // the same: softmax over the picks of a head
    std::vector<double> input;    // the same: u . x
    std::vector<float> linear;    // m x n: B x
  };
  /// x: n x p features; out: m x n. `threads` share the rows (0: all cores); the result does not depend on
  /// them.
  void forward(const mat& x, Work& work, mat& out, int threads = 1) const;

  /// The slopes of one batch: of the dense parameters, and what those of the neurons that it picked are made
  /// of, which together would take more memory than the batch's own cache has.
  struct Gradient {
    std::vector<float> queries, linear, keys;
    std::vector<std::uint32_t> neuron;  // those picked, rising
    std::vector<std::size_t> begin;     // neuron.size() + 1: the picks of neuron[e] in `order`
    std::vector<std::uint32_t> order;   // picks by neuron, then by number
    std::vector<float> of_input;        // of each pick: d objective / d (u . x)
    std::vector<float> answer;          // of each pick: what v is multiplied with
    std::vector<float> slope;           // m x n
  };
  /// slope: m x n, d objective / d y. Every part of `gradient` is set.
  void backward(const Work& work, const mat& slope, Gradient& gradient, int threads = 1) const;
  /// Brings neuron(begin) .. neuron(end - 1) near, which lie anywhere in memory. Their pages are looked up
  /// side by side first: what is asked for on a page that has to be looked up is left out. `part`: the first
  /// value that will be used.
  template <class Neuron>
  void ask_for(std::size_t begin, std::size_t end, const Neuron& neuron, std::size_t part = 0) const {
    for (std::size_t i = begin; i < end; ++i) look_up(neuron(i));
    for (std::size_t i = begin; i < end; ++i) fetch(neuron(i), part);
  }
  /// row (neuron_size()) = the slopes of u and v of gradient.neuron[e].
  void neuron_gradient(const Work& work, const Gradient& gradient, std::size_t e, float* row) const;

 private:
  /// Finds the page of a neuron; fetches lines from value `part` on.
  void look_up(std::uint32_t neuron) const;
  void fetch(std::uint32_t neuron, std::size_t part) const;
  void forward_rows(uword begin, uword end, Work& work, mat& out) const;
  /// Adds what the picks of one query of one row answer.
  void answer(std::size_t query, Work& work, mat& out) const;
  void sort_picks(const Work& work, Gradient& gradient) const;
  /// of_score: of each pick, d objective / d score.
  void slopes_of_picks(uword begin, uword end, const Work& work, Gradient& gradient,
                       std::vector<double>& of_score) const;
  void add_scores(const Work& work, const std::vector<double>& of_score, Gradient& gradient,
                  int threads) const;

  Neurons shape_;
  uword inputs_ = 0, outputs_ = 0;
  ProductKeys keys_;
  std::vector<float> queries_, linear_;
  std::vector<float, layer::LargeAllocator<float>> neurons_;  // huge pages: neurons lie anywhere
};

}  // namespace moekit
