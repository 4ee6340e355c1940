#pragma once
#include <algorithm>
#include <cmath>

#include "linalg.hpp"

namespace moekit {

/// The step of a proximal Newton method (Lee, Sun & Saunders 2014) under an L1 penalty on whole rows (group
/// lasso, Yuan & Lin 2006; with one column the lasso): minimises over s  s'Hs / 2 - g's + lasso sum_i |row i
/// of w + s| by block coordinate descent. Rows with free[i] are not penalised.
///   now: p x m, the coefficients w; step: p x m, a first guess in, the result out; residual: p x m, g - H
///   step. largest(i): bound on the eigenvalues of the i-th diagonal block of H. apply(i, d, residual):
///   residual -= H e_i d' for a change d (m) of row i.
template <class Largest, class Apply>
void lasso_step(const mat& now, double lasso, const std::vector<bool>& free, const Largest& largest,
                const Apply& apply, mat& step, mat& residual) {
  constexpr int kSweeps = 500;
  constexpr double kSettled = 1e-10;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    double moved = 0;
    for (uword i = 0; i < now.n_rows; ++i) {
      const double bound = largest(i);
      if (!(bound > 0)) continue;
      arma::rowvec next = now.row(i) + step.row(i) + residual.row(i) / bound;
      const double size = arma::norm(next);
      if (!free[i]) next *= size > 0 ? std::max(0.0, 1 - lasso / bound / size) : 0.0;
      const arma::rowvec change = next - now.row(i) - step.row(i);
      const double length = arma::norm(change);
      if (length == 0) continue;
      step.row(i) = next - now.row(i);
      apply(i, change, residual);
      moved = std::max(moved, length * std::sqrt(bound));
    }
    if (moved < kSettled) return;
  }
}

/// Sum of the lengths of the rows that are not free.
inline double lasso_size(const mat& w, const std::vector<bool>& free) {
  double sum = 0;
  for (uword i = 0; i < w.n_rows; ++i)
    if (!free[i]) sum += arma::norm(w.row(i));
  return sum;
}

/// Which features carry no penalty: those of group 0, the intercept.
inline std::vector<bool> free_features(const std::vector<uword>& groups) {
  std::vector<bool> free;
  for (const uword g : groups) free.push_back(g == 0);
  return free;
}

}  // namespace moekit
