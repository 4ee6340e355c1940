#include "gates/mixing_weights.hpp"

#include <cmath>

namespace moekit {

namespace {

/// Rows added to each expert: under the evidence, and where only a finite logarithm is asked for.
constexpr double kPriorRows = 1, kHoldFinite = 1e-9;

}  // namespace

vec MixingWeights::log_weights() const {
  const vec logit = logit_.theta().row(0).t();
  const double most = logit.max();
  return logit - most - std::log(arma::accu(arma::exp(logit - most)));
}

void MixingWeights::select(std::span<const uword> from) {
  const mat theta = logit_.theta();
  mat chosen(1, from.size());
  for (uword k = 0; k < from.size(); ++k) chosen.col(k) = theta.col(from[k]);
  SoftmaxRegression next({0}, from.size(), false);
  next.set_theta(chosen);
  logit_ = std::move(next);
}

void MixingWeights::set_penalty(const Penalty& penalty) {
  extra_ = penalty.mode == Penalty::Mode::evidence ? kPriorRows : kHoldFinite;
}

void MixingWeights::add_prior_gradient(std::span<double> gradient) const {
  const vec weight = arma::exp(log_weights());
  const mat slope = extra_ * (1 - static_cast<double>(count()) * weight.t());
  logit_.add_logit_gradient(mat(1, 1, arma::fill::ones), slope, gradient);
}

void MixingWeights::update(const vec& rows, const Penalty& penalty) {
  set_penalty(penalty);
  logit_.set_theta(arma::log(rows + extra_).t());
}

void MixingWeights::scores(const mat& part, mat& out) const {
  logit_.scores(mat(part.n_rows, 1, arma::fill::ones), arma::zeros(arma::size(part)), part, out);
}

}  // namespace moekit
