#pragma once
#include <span>
#include <vector>

#include "linalg.hpp"
#include "moekit/experts.hpp"

namespace moekit {

/// Normal priors on the coefficients of K linear predictors that share their features. Features come in
/// groups (the linear terms, the levels of a category, the curve of an input); each group of each predictor
/// has its precision, found by the evidence (MacKay 1992), and its coefficients are drawn towards a vector
/// common to all predictors, itself N(0, 1 / max(1, least precision)) (partial pooling). The intercept, group
/// 0, is free.
class CoefficientPrior {
 public:
  CoefficientPrior(std::vector<uword> groups, uword predictors, double least);

  uword features() const { return groups_.size(); }
  /// Takes the mode of the penalty. Unless it is the evidence all slopes are drawn to zero with its ridge.
  void set(const Penalty& penalty);
  bool evidence() const { return evidence_; }
  double lasso() const { return lasso_; }
  /// Precision of coefficient j of predictor k.
  double precision(uword j, uword k) const {
    if (groups_[j] == 0) return 0;
    return evidence_ ? precision_(groups_[j] - 1, k) : ridge_;
  }
  /// The penalised Newton step of predictor k at w, from curvature and score of its log-likelihood.
  /// `variance`: if not null, becomes the diagonal of the inverse of the penalised curvature.
  vec step(uword k, const vec& w, const mat& curvature, const vec& score, vec* variance = nullptr) const;
  /// The evidence's look at predictor k after a step from w: how far its coefficients lie from the common
  /// vector and how many the data determine. Where they are more than half of its `rows` (sum of weights),
  /// its precisions are raised until they are not, and held there: else coefficients meet all of a few rows,
  /// and no noise is left.
  void refresh(uword k, const vec& w, const mat& curvature, const vec& score, double rows);
  /// After all predictors were refreshed: each precision is drawn towards that of all predictors together.
  void share();
  /// Do so many rows, of all predictors together, determine a common vector?
  bool bears_common(double rows) const;
  /// The mode of the common vector; w: p x K.
  void update_common(const mat& w);
  double log_prior(uword k, const vec& w) const;
  /// gradient (p) += d log_prior(k, w) / d w.
  void add_gradient(uword k, const vec& w, double* gradient) const;
  /// Slopes of predictor k that the data determine.
  double effective(uword k) const { return effective_.is_empty() ? 0.0 : arma::accu(effective_.col(k)); }

  /// The penalties as fields of expert k, their names after `prefix`.
  void add_fields(uword k, const char* const names[3], std::vector<Field>& fields);
  void state(Archive& archive);
  void select(const arma::uvec& from);

 private:
  std::vector<uword> groups_;
  double least_;
  mat precision_, effective_, size_;  // groups x K
  mat least_of_;                      // groups x K: what refresh() holds the precisions at
  vec common_;                        // p
  void measure(uword k, const vec& away, const vec& variance);

  bool evidence_ = false;
  double ridge_ = 0, lasso_ = 0;
};

}  // namespace moekit
