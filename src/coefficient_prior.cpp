#include "coefficient_prior.hpp"

#include <algorithm>
#include <cmath>

#include "evidence.hpp"
#include "lasso.hpp"

namespace moekit {

CoefficientPrior::CoefficientPrior(std::vector<uword> groups, uword predictors, double least)
    : groups_(std::move(groups)), least_(least), common_(groups_.size(), arma::fill::zeros) {
  const uword count = *std::max_element(groups_.begin(), groups_.end());
  precision_.ones(count, predictors);
  effective_.zeros(count, predictors);
  size_.zeros(count, predictors);
  least_of_.zeros(count, predictors);
}

void CoefficientPrior::set(const Penalty& penalty) {
  evidence_ = penalty.mode == Penalty::Mode::evidence;
  ridge_ = penalty.mode == Penalty::Mode::fixed ? penalty.ridge : 0;
  lasso_ = penalty.lasso;
  if (!evidence_ || lasso_ > 0) common_.zeros();
}

vec CoefficientPrior::step(uword k, const vec& w, const mat& curvature, const vec& score,
                           vec* variance) const {
  mat h = curvature;
  vec g = score;
  for (uword j = 0; j < features(); ++j) {
    const double held = precision(j, k);
    h(j, j) += held;
    g[j] -= held * (w[j] - common_[j]);
  }
  const SpdFactor factor(h);
  if (lasso_ > 0) {
    if (variance) *variance = factor.inverse().eval().diag();
    mat step = factor.solve(g), residual = g - h * step;
    lasso_step(
        w, lasso_, free_features(groups_), [&](uword i) { return h(i, i); },
        [&](uword i, const arma::rowvec& change, mat& left) { left -= h.col(i) * change[0]; }, step,
        residual);
    // The difference of what is exactly zero may not round.
    for (uword j = 0; j < features(); ++j)
      if (std::abs(w[j] + step(j, 0)) < 1e-14) step(j, 0) = -w[j];
    return step.col(0);
  }
  if (variance) *variance = factor.inverse().eval().diag();
  return factor.solve(g);
}

/// Squared length and effective number of each group; away: p, from the common vector.
void CoefficientPrior::measure(uword k, const vec& away, const vec& variance) {
  const uword count = precision_.n_rows;
  vec size(count, arma::fill::zeros), trace(count, arma::fill::zeros), members(count, arma::fill::zeros);
  for (uword j = 0; j < features(); ++j) {
    if (groups_[j] == 0) continue;
    const uword g = groups_[j] - 1;
    size[g] += away[j] * away[j];
    trace[g] += variance[j];
    members[g] += 1;
  }
  for (uword g = 0; g < count; ++g) {
    const double free = members[g] - precision_(g, k) * trace[g];
    effective_(g, k) = std::clamp(free, 0.0, members[g]);
  }
  size_.col(k) = size;
}

void CoefficientPrior::refresh(uword k, const vec& w, const mat& curvature, const vec& score, double rows) {
  constexpr double kMostSlopes = 0.5;  // that a row determines
  constexpr double kStronger = 1.5, kStrongest = 1e12;
  if (precision_.is_empty()) return;  // no slopes
  vec variance;
  least_of_.col(k).zeros();
  while (true) {
    const vec next = w + step(k, w, curvature, score, &variance);
    measure(k, next - common_, variance);
    if (effective(k) <= kMostSlopes * rows || precision_.col(k).max() > kStrongest) break;
    precision_.col(k) *= kStronger;
    least_of_.col(k) = precision_.col(k);
  }
}

void CoefficientPrior::share() {
  constexpr double c = 1;  // the others together count as much as the predictor itself
  const double n = static_cast<double>(precision_.n_cols);
  for (uword g = 0; g < precision_.n_rows; ++g) {
    const double effective = c * arma::accu(effective_.row(g)) / n, size = c * arma::accu(size_.row(g)) / n;
    for (uword k = 0; k < precision_.n_cols; ++k)
      precision_(g, k) = std::max(
          least_of_(g, k), evidence_precision(effective_(g, k) + effective, size_(g, k) + size, least_));
  }
}

bool CoefficientPrior::bears_common(double rows) const {
  constexpr double kRows = 2;  // that each entry takes
  return precision_.n_cols > 1 && rows > kRows * static_cast<double>(features());
}

void CoefficientPrior::update_common(const mat& w) {
  if (lasso_ > 0) return;  // zero is where it draws to
  for (uword j = 0; j < features(); ++j) {
    if (groups_[j] == 0) continue;
    double sum = 0, weight = std::max(1.0, least_);
    for (uword k = 0; k < w.n_cols; ++k) {
      sum += precision(j, k) * w(j, k);
      weight += precision(j, k);
    }
    common_[j] = sum / weight;
  }
}

double CoefficientPrior::log_prior(uword k, const vec& w) const {
  double sum = 0;
  for (uword j = 0; j < features(); ++j)
    sum -= 0.5 * precision(j, k) * (w[j] - common_[j]) * (w[j] - common_[j]);
  return lasso_ > 0 ? sum - lasso_ * lasso_size(w, free_features(groups_)) : sum;
}

void CoefficientPrior::add_gradient(uword k, const vec& w, double* gradient) const {
  for (uword j = 0; j < features(); ++j) gradient[j] -= precision(j, k) * (w[j] - common_[j]);
}

void CoefficientPrior::add_fields(uword k, const char* const names[3], std::vector<Field>& fields) {
  const uword count = precision_.n_rows;
  const auto column = [&](mat& m) {
    return count > 0 ? std::span<double>(m.colptr(k), count) : std::span<double>();
  };
  fields.push_back({names[0], column(precision_), Field::Kind::fixed});
  fields.push_back({names[1], column(effective_), Field::Kind::fixed});
  // Common to all: with the first expert.
  if (k == 0) fields.push_back({names[2], {common_.memptr(), common_.n_elem}, Field::Kind::fixed});
}

void CoefficientPrior::state(Archive& archive) {
  for (mat* m : {&precision_, &effective_, &size_, &least_of_})
    archive.fixed(std::span(m->memptr(), m->n_elem));
  archive.fixed(std::span(common_.memptr(), common_.n_elem));
  archive(evidence_, ridge_, lasso_);
}

void CoefficientPrior::select(const arma::uvec& from) {
  for (mat* m : {&precision_, &effective_, &size_, &least_of_}) *m = columns_of(*m, from);
}

}  // namespace moekit
