#pragma once
#include "moekit/archive.hpp"
#include "moekit/experts.hpp"
#include "sparse/neuron_bank.hpp"

namespace moekit {

/// Training of a bank by steps that cost what their rows picked: Adam for what every row uses; for the
/// neurons the second moment of each as a whole, without decay (row-wise Adagrad, Duchi et al. 2011).
class NeuronSteps {
 public:
  /// A step up the slopes that `slope_of` says for the rows of x (n x p), of this total weight.
  void step(NeuronBank& bank, const mat& x, double weight, const NeuronBank::SlopeOf& slope_of,
            const SparseStep& step);
  double taken() const { return taken_; }  ///< steps so far
  void state(Archive& archive, NeuronBank& bank);

 private:
  void begin(NeuronBank& bank);
  void step_dense(NeuronBank& bank, const NeuronBank::Gradient& gradient, double scale, double rate,
                  int threads);
  float rate_of(std::uint32_t neuron, float squares, double rate);
  void step_alone(NeuronBank& bank, uword row, const NeuronBank::Work& work,
                  const NeuronBank::Gradient& gradient, const SparseStep& step);
  void step_shared(NeuronBank& bank, const NeuronBank::Work& work, const NeuronBank::Gradient& gradient,
                   const SparseStep& step, int threads);

  std::vector<float> squares_;         // of each neuron: mean square of its slopes, summed over steps
  std::vector<float> first_, second_;  // moments of the dense parameters
  double taken_ = 0;
};

}  // namespace moekit
