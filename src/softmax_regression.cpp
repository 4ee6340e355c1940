#include "softmax_regression.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evidence.hpp"
#include "lasso.hpp"
#include "picking.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

/// Where classes can be separated the likelihood rises for ever, and steps with it, until slopes of 1e200
/// lose all digits. This ridge costs 1e-6 of log-likelihood at slopes of 1,400, and stops that.
constexpr double kHoldFinite = 1e-12;

/// Precision of the intercepts' prior under the evidence (a standard deviation of 10,000 logits). A class
/// that an expert never meets would send its intercept to infinity.
constexpr double kInterceptPrecision = 1e-8;

/// Least precision of the slopes' prior, a standard deviation of some 3 logits for a change of one standard
/// deviation: where classes can almost be separated the evidence alone lets slopes grow far beyond what new
/// rows bear out. A weakly informative prior after Gelman, Jakulin, Pittau & Su 2008 (scale 2.5).
constexpr double kLeastPrecision = 0.1;

/// Longest Newton step of a coefficient, in logits for a change of one standard deviation.
constexpr double kLongestStep = 4;

/// From how many sums on curvature is summed in some passes only; in how many at first; then how rarely.
constexpr std::size_t kManySums = 1000;
constexpr int kFirstPasses = 3, kEvery = 8;

/// Orthonormal contrasts of C classes (Helmert): columns add up to zero.
mat helmert(uword classes) {
  mat b(classes, classes - 1, arma::fill::zeros);
  for (uword j = 0; j + 1 < classes; ++j) {
    const double size = std::sqrt(static_cast<double>((j + 1) * (j + 2)));
    for (uword i = 0; i <= j; ++i) b(i, j) = 1 / size;
    b(j + 1, j) = -static_cast<double>(j + 1) / size;
  }
  return b;
}

}  // namespace

SoftmaxRegression::SoftmaxRegression(std::vector<uword> groups, uword classes, bool binary_logit)
    : u_(groups.size(), classes - 1, arma::fill::zeros),
      groups_(std::move(groups)),
      precision_(*std::max_element(groups_.begin(), groups_.end()), 1.0),
      effective_(precision_.size(), 0.0),
      trace_(precision_.size(), 0.0) {
  contrast_ = binary_logit && classes == 2 ? mat(arma::vec{1.0, 0.0}) : helmert(classes);
}

void SoftmaxRegression::set_theta(const mat& theta) {
  if (classes() < 2) return;
  const bool binary = contrast_(1, 0) == 0;
  u_ = binary ? mat(theta.col(0) - theta.col(1)) : mat(theta * contrast_);
}

void SoftmaxRegression::probabilities(const mat& x, mat& prob, vec& scratch) const {
  predictors(x, theta(), prob);
  scratch.set_size(x.n_rows);
  simd::softmax_rows(prob.memptr(), x.n_rows, prob.n_cols, prob.memptr(), scratch.memptr());
}

void SoftmaxRegression::scores(const mat& x, const mat& prob, const mat& label, mat& out) const {
  const mat difference = (label - prob) * contrast_;
  const uword p = features();
  out.set_size(x.n_rows, u_.n_elem);
  for (uword j = 0; j < difference.n_cols; ++j)
    out.cols(j * p, (j + 1) * p - 1) = x.each_col() % difference.col(j);
}

void SoftmaxRegression::state(Archive& archive) {
  archive.fixed(std::span(u_.memptr(), u_.n_elem));
  archive.fixed(precision());
  archive.fixed(effective());
  archive.fixed(std::span(trace_));
  archive(evidence_, lasso_, least_, curvature_due_, updates_, grams_);
  Archive::require(grams_.size() == gram_sums() || (grams_.empty() && curvature_due_));
}

std::size_t SoftmaxRegression::gram_sums() const {
  const uword c = classes();
  return packed_size(features()) * (exact() ? c * (c - 1) / 2 : (c > 1 ? c : 0));
}

std::size_t SoftmaxRegression::sums() const { return features() * classes() + gram_sums(); }

void SoftmaxRegression::add(const mat& x, const mat& prob, const mat& label, const double* weight,
                            std::span<double> sums) const {
  add_gradient(x, prob, label, weight, sums);
  if (gram_columns() == 0) return;
  thread_local mat columns;
  columns.set_size(x.n_rows, gram_columns());
  fill_gram_weights(prob, weight, columns.memptr());
  add_weighted_grams(x, columns, sums.data() + gradient_sums());
}

void SoftmaxRegression::add_gradient(const mat& x, const mat& prob, const mat& label, const double* weight,
                                     std::span<double> sums) const {
  const uword n = x.n_rows, c = classes();
  if (c < 2) return;
  thread_local mat difference;
  difference.set_size(n, c);
  for (uword a = 0; a < c; ++a) {
    const double *y = label.colptr(a), *p = prob.colptr(a);
    double* to = difference.colptr(a);
    for (uword i = 0; i < n; ++i) to[i] = y[i] - weight[i] * p[i];
  }
  add_products(x, difference, sums.data());
}

void SoftmaxRegression::add_picks(const mat& x, const Picks& picks, const mat& prob, const mat& label,
                                  std::span<double> sums) const {
  thread_local mat rows, difference, curvature;
  thread_local vec weight;
  weight.zeros(x.n_rows);
  for_picks(picks, [&](uword, uword i, uword k) { weight[i] += label(i, k); });
  for (uword k = 0; k < classes(); ++k) {
    const std::span<const uword> of_class = rows_of(picks, k);
    if (of_class.empty()) continue;
    gather_rows(x, of_class, rows);
    difference.set_size(of_class.size(), 1);
    curvature.set_size(of_class.size(), 1);
    for (uword r = 0; r < of_class.size(); ++r) {
      const uword i = of_class[r];
      const double p = prob(i, k);
      difference[r] = label(i, k) - weight[i] * p;
      curvature[r] = weight[i] * p * (1 - p);
    }
    add_products(rows, difference, sums.data() + k * features());
    if (gram_columns() > 0)
      add_weighted_grams(rows, curvature, sums.data() + gradient_sums() + k * packed_size(features()));
  }
}

uword SoftmaxRegression::gram_columns() const {
  return curvature_due_ && features() > 0 ? gram_sums() / packed_size(features()) : 0;
}

void SoftmaxRegression::fill_gram_weights(const mat& prob, const double* weight, double* out) const {
  const uword n = prob.n_rows, c = classes();
  for (uword a = 0; a < c; ++a) {
    const double* p = prob.colptr(a);
    for (uword b = 0; exact() && b < a; ++b) {
      const double* q = prob.colptr(b);
      for (uword i = 0; i < n; ++i) *out++ = weight[i] * p[i] * q[i];
    }
    for (uword i = 0; !exact() && i < n; ++i) *out++ = weight[i] * p[i] * (1 - p[i]);
  }
}

mat SoftmaxRegression::hessian(const double* grams) const {
  const uword c = classes(), p = features(), m = c - 1;
  mat h(p * m, p * m, arma::fill::zeros);
  // H = sum over pairs a > b of S_ab times the outer product of the contrasts' differences.
  for (uword a = 1, pair = 0; a < c; ++a)
    for (uword b = 0; b < a; ++b, ++pair) {
      const mat s = unpack(grams + pair * packed_size(p), p);
      const arma::rowvec d = contrast_.row(a) - contrast_.row(b);
      for (uword j = 0; j < m; ++j)
        for (uword k = 0; k < m; ++k)
          if (d[j] != 0 && d[k] != 0) h.submat(j * p, k * p, arma::size(p, p)) += d[j] * d[k] * s;
    }
  return h;
}

double SoftmaxRegression::held(uword feature) const {
  return groups_[feature] == 0 ? intercept_precision() : precision_[groups_[feature] - 1];
}

void SoftmaxRegression::exact_step(const mat& gradient, const double* grams, bool trace) {
  const uword p = features(), m = classes() - 1;
  mat h = hessian(grams);
  mat g = gradient * contrast_;
  for (uword j = 0; j < m; ++j)
    for (uword i = 0; i < p; ++i) {
      h(j * p + i, j * p + i) += held(i);
      g(i, j) -= held(i) * u_(i, j);
    }
  const SpdFactor factor(h);
  mat step = arma::reshape(factor.solve(arma::vectorise(g)), p, m);
  if (lasso_ > 0) {
    mat residual = g - arma::reshape(h * arma::vectorise(step), p, m);
    const auto largest = [&](uword i) {
      double sum = 0;
      for (uword j = 0; j < m; ++j) sum += h(j * p + i, j * p + i);
      return sum;
    };
    const auto apply = [&](uword i, const arma::rowvec& change, mat& left) {
      for (uword j = 0; j < m; ++j) left -= arma::reshape(h.col(j * p + i) * change[j], p, m);
    };
    lasso_step(u_, lasso_, free_features(groups_), largest, apply, step, residual);
  }
  // Where responsibilities are nearly certain the curvature says little about places further off.
  const double longest = arma::abs(step).max();
  u_ += longest > kLongestStep ? mat(step * (kLongestStep / longest)) : step;
  if (!trace) return;
  const vec variance = factor.inverse().eval().diag();
  std::fill(trace_.begin(), trace_.end(), 0.0);
  for (uword j = 0; j < m; ++j)
    for (uword i = 0; i < p; ++i)
      if (groups_[i] > 0) trace_[groups_[i] - 1] += variance[j * p + i];
}

void SoftmaxRegression::bounded_step(const mat& gradient, const double* grams, bool trace) {
  const uword p = features(), c = classes();
  mat step(p, c);
  const mat now = theta();
  std::vector<mat> bounds;
  mat left(p, c);
  if (trace) std::fill(trace_.begin(), trace_.end(), 0.0);
  for (uword a = 0; a < c; ++a) {
    mat h = unpack(grams + a * packed_size(p), p);
    vec g = gradient.col(a);
    mat bound = 2 * h;
    for (uword i = 0; i < p; ++i) {
      g[i] -= held(i) * now(i, a);
      bound(i, i) += held(i);
    }
    const SpdFactor factor(bound);
    step.col(a) = factor.solve(g);
    if (lasso_ > 0) {
      left.col(a) = g - bound * step.col(a);
      bounds.push_back(bound);
    }
    if (!trace) continue;
    for (uword i = 0; i < p; ++i) h(i, i) += held(i);
    const SpdFactor own(h);
    const vec variance = own.inverse().eval().diag();
    // C classes share C - 1 contrasts.
    const double part = static_cast<double>(c - 1) / static_cast<double>(c);
    for (uword i = 0; i < p; ++i)
      if (groups_[i] > 0) trace_[groups_[i] - 1] += part * variance[i];
  }
  if (lasso_ > 0) {
    const auto largest = [&](uword i) {
      double most = 0;
      for (const mat& b : bounds) most = std::max(most, b(i, i));
      return most;
    };
    const auto apply = [&](uword i, const arma::rowvec& change, mat& residual) {
      for (uword a = 0; a < c; ++a) residual.col(a) -= bounds[a].col(i) * change[a];
    };
    lasso_step(now, lasso_, free_features(groups_), largest, apply, step, left);
  }
  // Class by class: one that has next to no probability where it should has next to no curvature either.
  for (uword a = 0; a < c; ++a) {
    const double longest = arma::abs(step.col(a)).max();
    if (longest > kLongestStep) step.col(a) *= kLongestStep / longest;
  }
  set_theta(now + step);
}

void SoftmaxRegression::set_penalty(const Penalty& penalty) {
  evidence_ = penalty.mode == Penalty::Mode::evidence;
  lasso_ = penalty.lasso;
  if (!evidence_)
    std::fill(precision_.begin(), precision_.end(),
              penalty.mode == Penalty::Mode::none ? kHoldFinite : penalty.ridge);
}

void SoftmaxRegression::add_prior_gradient(std::span<double> gradient) const {
  const uword p = features();
  for (uword j = 0; j < u_.n_cols; ++j)
    for (uword i = 0; i < p; ++i) gradient[j * p + i] -= held(i) * u_(i, j);
}

void SoftmaxRegression::add_logit_gradient(const mat& x, const mat& weight,
                                           std::span<double> gradient) const {
  if (classes() < 2) return;
  mat of_theta(features(), classes(), arma::fill::zeros);
  add_products(x, weight, of_theta.memptr());
  const mat of_u = of_theta * contrast_;
  for (uword i = 0; i < of_u.n_elem; ++i) gradient[i] += of_u[i];
}

void SoftmaxRegression::update(std::span<const double> sums, const Penalty& penalty) {
  const uword p = features(), c = classes();
  if (c < 2) return;
  set_penalty(penalty);
  const mat gradient(const_cast<double*>(sums.data()), p, c, false, true);
  if (curvature_due_) grams_.assign(sums.begin() + static_cast<std::ptrdiff_t>(p * c), sums.end());
  ++updates_;
  curvature_due_ = gram_sums() < kManySums || updates_ < kFirstPasses || updates_ % kEvery == 0;
  const auto step = [&](bool trace) {
    if (exact())
      exact_step(gradient, grams_.data(), trace);
    else
      bounded_step(gradient, grams_.data(), trace);
  };
  const mat start = u_;
  const bool refreshed = evidence_ && penalty.refresh;
  step(refreshed);
  if (!refreshed) return;
  // The step that counts is one under the new penalty, from the same place.
  refresh();
  u_ = start;
  step(false);
}

void SoftmaxRegression::refresh() {
  std::vector<double> size(precision_.size(), 0.0), members(precision_.size(), 0.0);
  for (uword i = 0; i < features(); ++i) {
    if (groups_[i] == 0) continue;
    size[groups_[i] - 1] += arma::accu(arma::square(u_.row(i)));
    members[groups_[i] - 1] += static_cast<double>(u_.n_cols);
  }
  for (std::size_t g = 0; g < precision_.size(); ++g) {
    effective_[g] = std::clamp(members[g] - precision_[g] * trace_[g], 0.0, members[g]);
    precision_[g] = evidence_precision(effective_[g], size[g], least_ * kLeastPrecision);
  }
}

double SoftmaxRegression::intercept_precision() const {
  return evidence_ ? kInterceptPrecision : kHoldFinite;
}

double SoftmaxRegression::log_prior() const {
  if (classes() < 2) return 0;
  double sum = 0;
  for (uword i = 0; i < features(); ++i) sum -= 0.5 * held(i) * arma::accu(arma::square(u_.row(i)));
  return lasso_ > 0 ? sum - lasso_ * lasso_size(u_, free_features(groups_)) : sum;
}

double SoftmaxRegression::effective_parameters() const {
  if (!evidence_) return free_parameters();
  return std::accumulate(effective_.begin(), effective_.end(), static_cast<double>(classes() - 1));
}

}  // namespace moekit
