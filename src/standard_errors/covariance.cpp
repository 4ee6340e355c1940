#include "standard_errors/covariance.hpp"

#include <cmath>

namespace moekit::errors {

namespace {

/// Least curvature of a direction, of a matrix with unit diagonal: differences are not exact below.
constexpr double kFlat = 1e-9;
/// A function with more than this share (in length) along flat directions is not identified.
constexpr double kShare = 1e-4;
/// Nor is one whose variance would grow by more than this part if the directions of negative curvature had as
/// much of the other sign.
constexpr double kPart = 0.02;

}  // namespace

Covariance::Covariance(const mat& information, const std::vector<bool>& held) {
  std::vector<uword> free;
  for (uword i = 0; i < held.size(); ++i)
    if (!held[i]) free.push_back(i);
  free_ = arma::uvec(free);
  mat unit = information.submat(free_, free_);
  scale_.ones(free_.n_elem);
  for (uword i = 0; i < free_.n_elem; ++i)
    if (unit(i, i) > 0) scale_[i] = 1 / std::sqrt(unit(i, i));
  unit = arma::diagmat(scale_) * unit * arma::diagmat(scale_);
  flat_.eye(free_.n_elem, free_.n_elem);
  direction_.zeros(free_.n_elem, 0);
  vec value;
  mat vector;
  if (!unit.is_finite() || !arma::eig_sym(value, vector, arma::symmatu(unit))) return;
  const arma::uvec kept = arma::find(value > kFlat), negative = arma::find(value < -kFlat);
  curvature_ = value(kept);
  direction_ = vector.cols(kept);
  flat_ = vector.cols(arma::find(arma::abs(value) <= kFlat));
  saddle_curvature_ = -value(negative);
  saddle_ = vector.cols(negative);
}

Covariance::Projected Covariance::project(const mat& jacobian) const {
  const mat own = jacobian.cols(free_) * arma::diagmat(scale_);
  const mat lost = own * flat_, doubtful = own * saddle_;
  Projected out{own * direction_, std::vector<bool>(own.n_rows, false)};
  for (uword c = 0; c < own.n_rows; ++c) {
    const double size = arma::norm(own.row(c));
    const double variance = arma::accu(arma::square(out.along.row(c).t()) / curvature_);
    const double more = arma::accu(arma::square(doubtful.row(c).t()) / saddle_curvature_);
    out.identified[c] = size > 0 && arma::norm(lost.row(c)) <= kShare * size && more <= kPart * variance;
  }
  return out;
}

vec Covariance::deviations(const mat& jacobian) const {
  const Projected p = project(jacobian);
  vec out(jacobian.n_rows);
  for (uword c = 0; c < out.n_elem; ++c) {
    const double variance = arma::accu(arma::square(p.along.row(c).t()) / curvature_);
    out[c] = p.identified[c] && variance > 0 ? std::sqrt(variance) : arma::datum::nan;
  }
  return out;
}

vec Covariance::deviations(const mat& jacobian, const mat& squares) const {
  const Projected p = project(jacobian);
  const mat meat = direction_.t() * arma::diagmat(scale_) * squares.submat(free_, free_) *
                   arma::diagmat(scale_) * direction_;
  const mat bread = p.along.each_row() / curvature_.t();
  const vec variance = arma::sum((bread * meat) % bread, 1);
  vec out(jacobian.n_rows);
  for (uword c = 0; c < out.n_elem; ++c)
    out[c] = p.identified[c] && variance[c] > 0 ? std::sqrt(variance[c]) : arma::datum::nan;
  return out;
}

}  // namespace moekit::errors
