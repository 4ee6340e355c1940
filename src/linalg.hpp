#pragma once
#include <span>

#include "moekit/matrix.hpp"

namespace moekit {

using arma::mat;
using arma::uword;
using arma::vec;

/// Doubles of a packed symmetric p x p matrix: entry (i, j), j <= i, stands at i (i + 1) / 2 + j.
inline std::size_t packed_size(uword p) { return p * (p + 1) / 2; }

/// out (packed_size(p) x K, column by column) += sum_i weight[i, k] x_i x_i', for all k at once.
/// x: n x p; weight: n x K. The products x_i x_j of a row are formed once for several k; where most weights
/// are zero, as under routing, the cost is that of the rest.
void add_weighted_grams(const mat& x, const mat& weight, double* out);

/// out: the rows of x with these numbers, 0-based, in this order.
void gather_rows(const mat& x, std::span<const uword> rows, mat& out);

/// out = x c: n x p times p x K.
void predictors(const mat& x, const mat& c, mat& out);

/// out (p x K) += x' w.
void add_products(const mat& x, const mat& w, double* out);

/// Full symmetric matrix from packed_size(p) doubles.
mat unpack(const double* packed, uword p);

/// A factorised symmetric positive semi-definite matrix. Directions without information (collinear features,
/// too few rows) are left out of solutions: the step of least norm on unit-diagonal scaling.
class SpdFactor {
 public:
  explicit SpdFactor(const mat& a);
  vec solve(const vec& b) const;
  mat inverse() const;
  double log_determinant() const { return log_determinant_; }
  uword rank() const { return rank_; }

 private:
  vec scale_;   // 1 / sqrt(diagonal); 0 for an empty row
  mat factor_;  // upper Cholesky factor, or eigenvectors / sqrt(eigenvalue)
  bool cholesky_ = false;
  double log_determinant_ = 0;
  uword rank_ = 0;
};

/// Columns of m in this order, also where m has no rows: Armadillo then binds a null reference.
inline mat columns_of(const mat& m, const arma::uvec& from) {
  return m.n_rows > 0 ? mat(m.cols(from)) : mat(0, from.n_elem);
}

}  // namespace moekit
