#pragma once
#include <vector>

#include "linalg.hpp"

namespace moekit::errors {

/// The inverse of a symmetric matrix of information, where it has one: directions without (or with negative)
/// curvature are set apart, and what depends on them is not identified.
class Covariance {
 public:
  /// Parameters in `held` are constants.
  Covariance(const mat& information, const std::vector<bool>& held);

  /// Standard deviations of linear functions of the parameters, one a row of `jacobian` (C x P): from the
  /// inverse, or with `squares` (P x P) from inverse squares inverse. NaN: not identified, or a constant.
  vec deviations(const mat& jacobian) const;
  vec deviations(const mat& jacobian, const mat& squares) const;
  /// Are there directions of negative curvature (the parameters are not at a maximum)?
  bool saddle() const { return saddle_.n_cols > 0; }

 private:
  struct Projected {
    mat along;                     ///< C x rank: the functions on the directions with curvature
    std::vector<bool> identified;  ///< C
  };
  Projected project(const mat& jacobian) const;

  arma::uvec free_;  // parameters that are not held
  vec scale_;        // of the free ones: the matrix has a unit diagonal on it
  vec curvature_;    // of the directions that have one
  mat direction_;    // free x rank
  mat flat_;         // those that have none
  vec saddle_curvature_;
  mat saddle_;  // those where it is negative; the curvature without sign
};

}  // namespace moekit::errors
