#pragma once
#include <functional>
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

  /// What forward() found on its way.
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
    std::vector<std::uint8_t> alone;    // of each pick: has its neuron no other?
    std::vector<std::uint32_t> neuron;  // those with more, rising
    std::vector<std::size_t> begin;     // neuron.size() + 1: the picks of neuron[e] in `order`
    std::vector<std::uint32_t> order;   // their picks by neuron, then by number
    std::vector<float> of_input;        // of each pick: d objective / d (u . x)
    std::vector<float> answer;          // of each pick: what v is multiplied with
    std::vector<double> of_score;       // of each pick: d objective / d score
    std::vector<float> slope;           // m x n: d objective / d y
  };
  /// Sets the slope (m) of a row from its answer (m).
  using SlopeOf = std::function<void(uword row, const double* answer, double* slope)>;
  /// Every part of `gradient` is set. settle(row) is called when the slopes of a row are there and its
  /// neurons are in the cache: those that it picked alone may be moved then, as no other row reads them.
  void learn(const mat& x, const SlopeOf& slope_of, const std::function<void(uword)>& settle, Work& work,
             Gradient& gradient, int threads = 1) const;
  /// Brings neuron(begin) .. neuron(end - 1) near, which lie anywhere in memory. Their pages are looked up
  /// side by side first: what is asked for on a page that has to be looked up is left out.
  template <class Neuron>
  void ask_for(std::size_t begin, std::size_t end, const Neuron& neuron) const {
    for (std::size_t i = begin; i < end; ++i) look_up(neuron(i));
    for (std::size_t i = begin; i < end; ++i) fetch(neuron(i));
  }
  /// row (neuron_size()) = the slopes of u and v of gradient.neuron[e].
  void neuron_gradient(const Work& work, const Gradient& gradient, std::size_t e, float* row) const;

 private:
  /// Finds the page of a neuron; fetches its first lines.
  void look_up(std::uint32_t neuron) const;
  void fetch(std::uint32_t neuron) const;
  void prepare(const mat& x, Work& work) const;
  /// Linear part, queries, and what they pick; found(query) is called when a query has its picks.
  void pick_rows(uword begin, uword end, Work& work, const std::function<void(uword)>& found) const;
  void ask_for_picks(std::size_t query, const Work& work) const;
  void forward_rows(uword begin, uword end, Work& work, mat& out) const;
  /// Adds what the picks of one query of one row answer to y (m).
  void answer(std::size_t query, Work& work, double* y) const;
  void sort_picks(const Work& work, Gradient& gradient) const;
  void slopes_of_picks(uword row, const Work& work, Gradient& gradient) const;
  void learn_rows(uword begin, uword end, const SlopeOf& slope_of, const std::function<void(uword)>& settle,
                  Work& work, Gradient& gradient) const;
  void add_scores(const Work& work, Gradient& gradient, int threads) const;

  Neurons shape_;
  uword inputs_ = 0, outputs_ = 0;
  ProductKeys keys_;
  std::vector<float> queries_, linear_;
  std::vector<float, layer::LargeAllocator<float>> neurons_;  // huge pages: neurons lie anywhere
};

}  // namespace moekit
