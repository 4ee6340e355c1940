#pragma once
#include <span>
#include <vector>

#include "linalg.hpp"
#include "moekit/experts.hpp"

namespace moekit {

/// A penalised multinomial logistic regression on soft labels, fitted by one Newton step a pass: the softmax
/// gate is one, and so is every logistic expert. C classes, p features, coefficients theta = u b' (p x C),
/// where the columns of b span the classes' contrasts: all classes alike (theta adds up to zero), or, for a
/// binary logit, b = (1, 0)' so that u holds the usual coefficients.
///
/// While (C - 1) p is small the Hessian is exact; beyond kExactLimit it is replaced by its block-diagonal
/// bound 2 diag_c(sum_i w_i p_ic (1 - p_ic) x_i x_i'), which needs C instead of C (C - 1) / 2 weighted Grams
/// and no factor of the whole. (u' (diag p - p p') u = 1/2 sum_ab p_a p_b (u_a - u_b)^2 <= 2 sum_a p_a (1 -
/// p_a) u_a^2.)
class SoftmaxRegression {
 public:
  static constexpr uword kExactLimit = 200;

  SoftmaxRegression() = default;
  /// groups: for each feature the group that shares a prior, 0 for the intercept.
  SoftmaxRegression(std::vector<uword> groups, uword classes, bool binary_logit);

  uword features() const { return u_.n_rows; }
  uword classes() const { return contrast_.n_rows; }
  mat theta() const { return u_ * contrast_.t(); }  ///< p x C
  void set_theta(const mat& theta);                 ///< up to a common vector
  mat& u() { return u_; }
  const mat& u() const { return u_; }
  const std::vector<uword>& groups() const { return groups_; }
  std::span<double> precision() { return precision_; }
  std::span<double> effective() { return effective_; }

  void state(Archive& archive);

  /// Slopes under the evidence have this precision at least, `times` what is usual.
  void hold(double times) { least_ = times; }

  /// prob: n x C; x theta, soft-maxed.
  void probabilities(const mat& x, mat& prob, vec& scratch) const;
  /// out: n x parameters, d ln p(label_i | x_i) / d u. label: n x C.
  void scores(const mat& x, const mat& prob, const mat& label, mat& out) const;
  std::size_t sums() const;
  /// label: n x C, rows add up to weight; weight: n.
  void add(const mat& x, const mat& prob, const mat& label, const double* weight,
           std::span<double> sums) const;
  /// Are the sums of a class its own? Not so while the Hessian is exact.
  bool adds_by_class() const { return !exact(); }
  /// add() at the cost of the picks, if adds_by_class(): prob and label are zero elsewhere.
  void add_picks(const mat& x, const Picks& picks, const mat& prob, const mat& label,
                 std::span<double> sums) const;
  // The two halves of add(): experts put the gram weights of all of them into one product.
  void add_gradient(const mat& x, const mat& prob, const mat& label, const double* weight,
                    std::span<double> sums) const;
  std::size_t gradient_sums() const { return features() * classes(); }
  /// Weighted Grams that this pass needs; 0 while the last ones still serve.
  uword gram_columns() const;
  /// out: n x gram_columns().
  void fill_gram_weights(const mat& prob, const double* weight, double* out) const;
  void update(std::span<const double> sums, const Penalty& penalty);
  void set_penalty(const Penalty& penalty);
  double log_prior() const;
  /// gradient (of u, column by column) += d log_prior() / d u.
  void add_prior_gradient(std::span<double> gradient) const;
  /// gradient += d/du of sum_i sum_c weight(i, c) (x theta)_ic; weight: n x C.
  void add_logit_gradient(const mat& x, const mat& weight, std::span<double> gradient) const;
  double free_parameters() const { return static_cast<double>(u_.n_elem); }
  double effective_parameters() const;

 private:
  bool exact() const { return classes() <= 2 || u_.n_elem <= kExactLimit; }
  std::size_t gram_sums() const;
  double intercept_precision() const;
  mat hessian(const double* grams) const;
  double held(uword feature) const;
  void exact_step(const mat& gradient, const double* grams, bool trace);
  void bounded_step(const mat& gradient, const double* grams, bool trace);
  void refresh();

  mat u_;                          // p x (C - 1)
  mat contrast_;                   // C x (C - 1)
  std::vector<uword> groups_;      // p
  std::vector<double> precision_;  // of each group's prior
  std::vector<double> effective_;  // parameters of each group that the data determine
  bool evidence_ = false;
  double lasso_ = 0;  // on the length of each feature's row of coefficients
  double least_ = 1;  // precision of slopes, times the usual least
  // Curvature costs p times what the gradient costs and changes slowly: with many features it is summed in
  // every eighth pass only, once the first steps are done.
  bool curvature_due_ = true;
  int updates_ = 0;
  std::vector<double> grams_;  // the last that were summed
  std::vector<double> trace_;  // of the inverse of the last update's penalised Hessian, by group
};

}  // namespace moekit
