#include "linalg.hpp"

#include <algorithm>
#include <cmath>

#include "simd/products.hpp"

namespace moekit {

void gather_rows(const mat& x, std::span<const uword> rows, mat& out) {
  out.set_size(rows.size(), x.n_cols);
  for (uword j = 0; j < x.n_cols; ++j) {
    const double* from = x.colptr(j);
    double* to = out.colptr(j);
    for (uword i = 0; i < rows.size(); ++i) to[i] = from[rows[i]];
  }
}

void add_weighted_grams(const mat& x, const mat& weight, double* out) {
  // Under routing most weights are zero: then each column goes through its own rows, at their cost.
  const auto used =
      static_cast<uword>(std::count_if(weight.begin(), weight.end(), [](double w) { return w != 0; }));
  if (weight.n_cols > 1 && 4 * used <= weight.n_elem) {
    thread_local mat rows;
    thread_local vec own;
    for (uword k = 0; k < weight.n_cols; ++k) {
      const arma::uvec index = arma::find(weight.col(k));
      if (index.is_empty()) continue;
      gather_rows(x, {index.memptr(), index.n_elem}, rows);
      own = weight.col(k).eval().elem(index);
      simd::add_pair_sums(rows.memptr(), rows.n_rows, rows.n_cols, own.memptr(), 1,
                          out + k * packed_size(x.n_cols));
    }
    return;
  }
  simd::add_pair_sums(x.memptr(), x.n_rows, x.n_cols, weight.memptr(), weight.n_cols, out);
}

void predictors(const mat& x, const mat& c, mat& out) {
  out.set_size(x.n_rows, c.n_cols);
  simd::linear(x.memptr(), x.n_rows, x.n_cols, c.memptr(), c.n_cols, out.memptr());
}

void add_products(const mat& x, const mat& w, double* out) {
  simd::add_column_sums(x.memptr(), x.n_rows, x.n_cols, w.memptr(), w.n_cols, out);
}

mat unpack(const double* packed, uword p) {
  mat a(p, p);
  for (uword i = 0, c = 0; i < p; ++i)
    for (uword j = 0; j <= i; ++j, ++c) a(i, j) = a(j, i) = packed[c];
  return a;
}

SpdFactor::SpdFactor(const mat& a) : scale_(a.n_rows) {
  constexpr double kSingular = 1e-13;  // of a matrix with unit diagonal
  for (uword i = 0; i < a.n_rows; ++i) scale_[i] = a(i, i) > 0 ? 1 / std::sqrt(a(i, i)) : 0.0;
  mat unit = a;
  for (uword j = 0; j < a.n_cols; ++j)
    for (uword i = 0; i < a.n_rows; ++i) unit(i, j) = a(i, j) * scale_[i] * scale_[j];
  const auto usable = [&](const mat& r) { return r.n_rows == 0 || arma::square(r.diag()).min() > kSingular; };
  if (arma::chol(factor_, unit) && usable(factor_)) {
    cholesky_ = true;
    rank_ = a.n_rows;
    for (uword i = 0; i < rank_; ++i) log_determinant_ += 2 * std::log(factor_(i, i) / scale_[i]);
    return;
  }
  vec value;
  mat vector;
  if (!arma::eig_sym(value, vector, arma::symmatu(unit))) {
    factor_.zeros(a.n_rows, 0);
    return;
  }
  const double least = kSingular * std::max(value.max(), 0.0) * static_cast<double>(a.n_rows);
  std::vector<uword> kept;
  for (uword i = 0; i < value.n_elem; ++i)
    if (value[i] > least && value[i] > 0) kept.push_back(i);
  rank_ = kept.size();
  factor_.set_size(a.n_rows, rank_);
  for (uword c = 0; c < rank_; ++c) {
    factor_.col(c) = vector.col(kept[c]) / std::sqrt(value[kept[c]]);
    log_determinant_ += std::log(value[kept[c]]);
  }
  for (uword i = 0; i < a.n_rows; ++i)
    if (scale_[i] > 0) log_determinant_ -= 2 * std::log(scale_[i]);
}

vec SpdFactor::solve(const vec& b) const {
  const vec scaled = b % scale_;
  if (!cholesky_) return scale_ % (factor_ * (factor_.t() * scaled));
  const vec half = arma::solve(arma::trimatl(factor_.t()), scaled);
  return scale_ % arma::solve(arma::trimatu(factor_), half);
}

mat SpdFactor::inverse() const {
  mat half;  // inverse of the scaled matrix = half half'
  if (cholesky_)
    half = arma::inv(arma::trimatu(factor_));
  else
    half = factor_;
  half.each_col() %= scale_;
  return half * half.t();
}

}  // namespace moekit
