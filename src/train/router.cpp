#include "train/router.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "linalg.hpp"
#include "moekit/rng.hpp"
#include "picking.hpp"
#include "simd/vector_math.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kNoiseStream = 0x6e6f697365;
/// Of the papers: Fedus et al. 2022, Shazeer et al. 2017; and the least noise of noisy top-k.
constexpr double kSwitchWeight = 0.01, kShazeerWeight = 0.1, kLeastNoise = 1e-2;
/// Of the bias: step (docs/math.md, section 14, has figures), and picks of an even load that a load is judged
/// by.
constexpr double kBiasStep = 0.2, kJudged = 16;
constexpr double kFewestRows = 4;  // that an expert's capacity lets it take

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double normal_density(double z) { return std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi); }
double normal_cumulative(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

/// Squared coefficient of variation of v, and its slope by each entry.
double variation(const vec& v, vec& slope) {
  const double n = static_cast<double>(v.n_elem), mean = arma::mean(v);
  slope.zeros(v.n_elem);
  if (!(mean > 0)) return 0;
  const double variance = arma::accu(arma::square(v - mean)) / n;
  slope = 2 * (v - mean) / (n * mean * mean) - 2 * variance / (n * mean * mean * mean);
  return variance / (mean * mean);
}

double weight_or(double given, double usual) { return given > 0 ? given : usual; }

}  // namespace

bool wants(const GradientOptions& options, Balance balance) {
  return std::find(options.balance.begin(), options.balance.end(), balance) != options.balance.end();
}

Router::Router(const GradientOptions& options, uword features, uword experts, std::uint64_t seed)
    : options_(options), seed_(seed), counts_(experts, 0.0), load_(experts, 0.0) {
  if (options_.noisy) sigma_input_.set_size(0, features);
}

/// H = logits + N(0, 1) (softplus(x W) + 0.01).
void Router::add_noise(const Batch& batch, const mat& noise) {
  Rng rng(seed_, kNoiseStream, step_);
  predictors(batch.gate_features(), noise, sigma_input_);
  sigma_.set_size(arma::size(logits_));
  draw_.set_size(arma::size(logits_));
  for (uword i = 0; i < draw_.n_elem; ++i) {
    draw_[i] = rng.normal();
    sigma_[i] = softplus(sigma_input_[i]) + kLeastNoise;
    noisy_[i] = logits_[i] + draw_[i] * sigma_[i];
  }
}

void Router::forward(const Mixture& m, Batch& batch, const mat& noise) {
  const uword n = batch.rows, experts = m.count();
  batch.picks = nullptr;
  ++step_;
  routed_ = m.routing.active(experts);
  scored_ = m.gate->logits(batch, logits_);
  if (scored_) {
    noisy_ = logits_;
    if (options_.noisy) add_noise(batch, noise);
    log_gate_ = noisy_;
    vec lse(n);
    prob_.set_size(n, experts);
    simd::softmax_rows(log_gate_.memptr(), n, experts, prob_.memptr(), lse.memptr());
    log_gate_.each_col() -= lse;
  } else {
    m.gate->log_prob(batch, log_gate_);
    prob_ = arma::exp(log_gate_);
  }
  if (m.routing.score == RoutingRule::Score::sigmoid) {
    sigmoid_.set_size(n, experts);
    for (uword i = 0; i < sigmoid_.n_elem; ++i) sigmoid_[i] = sigmoid(noisy_[i]);
    prob_ = sigmoid_.each_col() / vec(arma::sum(sigmoid_, 1));
  }
  std::fill(counts_.begin(), counts_.end(), static_cast<double>(n));
  dropped_ = 0;
  if (routed_) {
    mat score;
    // Sigmoid scores and hashes come from the rule; noise is in the logits already.
    if (m.routing.score == RoutingRule::Score::sigmoid) {
      log_gate_ = arma::log(arma::clamp(sigmoid_, 1e-300, 1.0));
      score = m.routing.bias.empty() ? noisy_ : sigmoid_;
    } else if (m.routing.score == RoutingRule::Score::hash) {
      routing_scores(m.routing, *m.gate, batch, log_gate_, score);
    } else {
      score = log_gate_;
    }
    if (!m.routing.bias.empty() && m.routing.score != RoutingRule::Score::hash)
      score.each_row() += arma::rowvec(m.routing.bias);
    pick_top(score, m.routing, picked_);
    if (options_.expert_choice) choose_rows(m);
    for (uword k = 0; k < experts; ++k)
      counts_[k] = static_cast<double>(
          std::accumulate(picked_.begin() + static_cast<std::ptrdiff_t>(k * n),
                          picked_.begin() + static_cast<std::ptrdiff_t>((k + 1) * n), std::size_t{0}));
    if (options_.capacity > 0) limit(m);
    gather_picks(picked_, n, experts, picks_);
    weigh_picks(picks_, log_gate_);
    batch.picks = &picks_;
  }
  gate_ = log_gate_;
  simd::exp_inplace(gate_.memptr(), gate_.n_elem);
}

/// C = ceil(CF k n / K), at least 4; over that the least probable rows are dropped.
void Router::limit(const Mixture& m) {
  const uword n = prob_.n_rows, experts = m.count();
  const double even = static_cast<double>(m.routing.top_k * n) / static_cast<double>(experts);
  const auto most = static_cast<std::size_t>(std::max(kFewestRows, std::ceil(options_.capacity * even)));
  std::vector<uword> rows;
  for (uword k = 0; k < experts; ++k) {
    if (!m.routing.shared.empty() && m.routing.shared[k]) continue;
    rows.clear();
    for (uword i = 0; i < n; ++i)
      if (picked_[i + k * n]) rows.push_back(i);
    if (rows.size() <= most) continue;
    std::stable_sort(rows.begin(), rows.end(), [&](uword a, uword b) { return prob_(a, k) > prob_(b, k); });
    for (std::size_t r = most; r < rows.size(); ++r) picked_[rows[r] + k * n] = 0;
    dropped_ += static_cast<double>(rows.size() - most);
  }
}

/// Every expert takes the rows that it is most probable for; a row that nobody takes keeps its first pick.
void Router::choose_rows(const Mixture& m) {
  const uword n = prob_.n_rows, experts = m.count();
  const double factor = options_.capacity > 0 ? options_.capacity : 1;
  const auto take = std::min<std::size_t>(
      n, static_cast<std::size_t>(
             std::ceil(factor * static_cast<double>(m.routing.top_k * n) / static_cast<double>(experts))));
  std::fill(picked_.begin(), picked_.end(), std::uint8_t{0});
  std::vector<uword> order(n);
  std::vector<std::uint8_t> taken(n, 0);
  for (uword k = 0; k < experts; ++k) {
    std::iota(order.begin(), order.end(), uword{0});
    std::stable_sort(order.begin(), order.end(), [&](uword a, uword b) { return prob_(a, k) > prob_(b, k); });
    for (std::size_t r = 0; r < take; ++r) {
      picked_[order[r] + k * n] = 1;
      taken[order[r]] = 1;
    }
  }
  for (uword i = 0; i < n; ++i)
    if (!taken[i]) picked_[i + prob_.row(i).index_max() * n] = 1;
}

/// alpha K sum_k f_k P_k, a row; f (over the picks, divided by their number) is not differentiated.
double Router::add_switch(mat& slope) const {
  const double n = static_cast<double>(prob_.n_rows), experts = static_cast<double>(prob_.n_cols);
  const vec counts(counts_);
  const double slots = std::max(1.0, arma::accu(counts));
  const double alpha = weight_or(options_.balance_weight, kSwitchWeight);
  const vec each = alpha * experts / slots * counts;
  const vec own = prob_ * each;  // sum_k a_k p_ik
  for (uword k = 0; k < prob_.n_cols; ++k)
    for (uword i = 0; i < prob_.n_rows; ++i) slope(i, k) -= prob_(i, k) * (each[k] - own[i]);
  return -n * arma::dot(each, vec(arma::mean(prob_, 0).t()));
}

/// w CV^2 of I_k = sum_i G_ik, times the rows so that it is a loss a row as the others are.
double Router::add_importance(const Batch& batch, mat& slope) const {
  vec each;
  const double n = static_cast<double>(batch.rows),
               weight = n * weight_or(options_.balance_weight, kShazeerWeight),
               cv2 = variation(arma::sum(gate_, 0).t(), each);
  slope -= weight * (gate_.each_row() % each.t());
  return -weight * cv2;
}

/// w CV^2 of sum_i Phi((logit_ik - the k-th largest of the others' noisy ones) / sigma_ik).
double Router::add_load(const Mixture& m, mat& slope, mat& of_sigma) const {
  const uword n = prob_.n_rows, experts = prob_.n_cols, k = m.routing.top_k;
  std::vector<uword> order(experts);
  mat z(n, experts);
  arma::umat threshold(n, experts);
  vec load(experts, arma::fill::zeros), each;
  for (uword i = 0; i < n; ++i) {
    std::iota(order.begin(), order.end(), uword{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k + 1), order.end(),
                      [&](uword a, uword b) { return noisy_(i, a) > noisy_(i, b); });
    for (uword j = 0; j < experts; ++j) {
      const bool among = noisy_(i, j) >= noisy_(i, order[k - 1]);
      threshold(i, j) = among ? order[k] : order[k - 1];
      z(i, j) = (logits_(i, j) - noisy_(i, threshold(i, j))) / sigma_(i, j);
      load[j] += normal_cumulative(z(i, j));
    }
  }
  const double weight = static_cast<double>(n) * weight_or(options_.balance_weight, kShazeerWeight);
  const double cv2 = variation(load, each);
  for (uword i = 0; i < n; ++i)
    for (uword j = 0; j < experts; ++j) {
      const double pull = -weight * each[j] * normal_density(z(i, j)) / sigma_(i, j);
      const uword t = threshold(i, j);
      slope(i, j) += pull;
      slope(i, t) -= pull;
      of_sigma(i, t) -= pull * draw_(i, t);
      of_sigma(i, j) -= pull * z(i, j);
    }
  return -weight * cv2;
}

double Router::backward(const Mixture& m, const Batch& batch, mat slope, std::span<double> gradient,
                        mat& of_noise) {
  double objective = 0;
  if (wants(options_, Balance::importance)) objective += add_importance(batch, slope);
  if (m.routing.score == RoutingRule::Score::hash) return objective;
  if (!routed_ && !scored_) {
    m.gate->add_gradient(batch, slope, gradient);
    return objective;
  }
  // Through the normalisation over the picks.
  const vec all = arma::sum(slope, 1);
  slope -= gate_.each_col() % all;
  if (!scored_) {
    m.gate->add_gradient(batch, slope, gradient);
    return objective;
  }
  if (m.routing.score == RoutingRule::Score::sigmoid) slope %= 1 - sigmoid_;
  if (wants(options_, Balance::switching)) objective += add_switch(slope);
  if (options_.z_loss > 0)
    for (uword i = 0; i < batch.rows; ++i) {
      const double most = noisy_.row(i).max(),
                   lse = most + std::log(arma::accu(arma::exp(noisy_.row(i) - most)));
      objective -= options_.z_loss * lse * lse;
      slope.row(i) -= 2 * options_.z_loss * lse * arma::exp(noisy_.row(i) - lse);
    }
  if (options_.noisy) {
    mat of_sigma = slope % draw_;
    if (wants(options_, Balance::load)) objective += add_load(m, slope, of_sigma);
    for (uword i = 0; i < of_sigma.n_elem; ++i) of_sigma[i] *= sigmoid(sigma_input_[i]);
    add_products(batch.gate_features(), of_sigma, of_noise.memptr());
  }
  m.gate->add_logit_gradient(batch, slope, gradient);
  return objective;
}

/// Loads are sums over past updates that fade, so that a batch with few rows an expert does not push at
/// random.
void Router::balance_step(RoutingRule& rule, double share) {
  std::vector<std::size_t> counted;
  for (std::size_t k = 0; k < counts_.size(); ++k)
    if (rule.shared.empty() || !rule.shared[k]) counted.push_back(k);
  const double experts = static_cast<double>(counted.size());
  double now = 0, mean = 0;
  for (const std::size_t k : counted) now += counts_[k] / experts;
  if (!(now > 0)) return;
  const double kept = std::max(0.0, 1 - now / kJudged);
  for (const std::size_t k : counted) {
    load_[k] = kept * load_[k] + counts_[k];
    mean += std::log1p(load_[k]) / experts;
  }
  const double step = share * weight_or(options_.balance_weight, kBiasStep);
  if (rule.bias.empty()) rule.bias.assign(counts_.size(), 0.0);
  for (const std::size_t k : counted) rule.bias[k] -= step * (std::log1p(load_[k]) - mean);
}

}  // namespace moekit::train
