#pragma once
#include <span>

#include "softmax_regression.hpp"

namespace moekit {

/// Weights of K experts that are the same for every row, updated in closed form. Kept as orthonormal
/// contrasts of their logarithms (K - 1 free numbers), so that files, acceleration and scores see no
/// redundant one. Under the evidence every expert has one row more than it has (a Dirichlet prior): an idle
/// one stays finite.
class MixingWeights {
 public:
  explicit MixingWeights(uword experts) : logit_({0}, experts, false) {}

  uword count() const { return logit_.classes(); }
  std::span<double> contrasts() { return {logit_.u().memptr(), logit_.u().n_elem}; }
  vec log_weights() const;  ///< K
  void state(Archive& archive) {
    logit_.state(archive);
    archive(extra_);
  }
  void select(std::span<const uword> from);
  /// rows: K sums of responsibilities.
  void update(const vec& rows, const Penalty& penalty);
  void set_penalty(const Penalty& penalty);
  /// gradient (K - 1) += d log_prior() / d contrasts.
  void add_prior_gradient(std::span<double> gradient) const;
  double log_prior() const { return extra_ * arma::accu(log_weights()); }
  /// out: n x (K - 1), the derivative of sum_k part_ik ln(weight of k); rows of `part` add up to zero.
  void scores(const mat& part, mat& out) const;

 private:
  SoftmaxRegression logit_;  // with an intercept only
  double extra_ = 0;         // rows added to each expert
};

}  // namespace moekit
