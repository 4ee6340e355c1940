#pragma once
#include <span>

#include "sparse/network.hpp"
#include "train/router.hpp"

namespace moekit::train {

/// What a gradient fit climbs for the rows of a batch, minus the loss, with its gradient. Buffers are kept,
/// so an object serves one worker.
class Objective {
 public:
  Objective(const Mixture& m, const GradientOptions& options, std::uint64_t seed);

  /// Sum over the rows of weight x (minus the loss of a row), and of minus the balancing losses. gradient
  /// (the moving parameters of m, then p x K of noisy top-k) += its derivative. The target of every row is
  /// known.
  double add(const Mixture& m, Batch& batch, std::span<double> gradient);
  uword gate_parameters() const { return gate_; }
  uword parameters() const { return size_; }  ///< of the mixture
  uword noise_parameters() const { return noise_.n_elem; }
  mat& noise() { return noise_; }  ///< coefficients of noisy top-k, p x K
  Router& router() { return router_; }
  const vec& weights() const { return weight_; }  ///< n, of the last batch; 0 where every pick was dropped

 private:
  double likelihood(const Mixture& m, const Batch& batch, std::span<double> experts);
  double answers(const Mixture& m, const Batch& batch, std::span<double> experts);

  Loss loss_;
  uword gate_ = 0, size_ = 0;
  mat noise_;
  Router router_;
  vec weight_;
  mat slope_, joint_, responsibility_;  // n x K
  vec row_;
  NetworkAnswers answers_;
};

/// The loss of competing or cooperating experts has no noise; afterwards each normal expert takes the spread
/// of the rows that it answers for.
void settle_noise(Mixture& m, const Schema& schema, const Source& source, const Compute& compute, Loss loss);

}  // namespace moekit::train
