#include "moekit/routing_rule.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "log_sum.hpp"
#include "moekit/error.hpp"
#include "picking.hpp"

namespace moekit {

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// ln sigmoid(x).
double log_sigmoid(double x) { return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x))); }

/// The k largest of each row, column by column, so that equal scores go to the lower index.
class RowBest {
 public:
  RowBest(uword rows, uword k) : best_(k, rows), index_(k, rows), least_(rows) {
    best_.fill(kNever);
    index_.fill(UINT64_MAX);
    least_.fill(kNever);
  }
  void offer(const double* score, uword expert) {
    for (uword row = 0; row < least_.n_elem; ++row) {
      // A score of -inf still is one: an expert that nobody else leaves a place to.
      const double s = std::max(score[row], -1e300);
      if (s > least_[row]) insert(row, s, expert);
    }
  }
  const arma::umat& index() const { return index_; }

 private:
  void insert(uword row, double score, uword expert) {
    double* best = best_.colptr(row);
    uword* index = index_.colptr(row);
    uword at = best_.n_rows - 1;
    for (; at > 0 && score > best[at - 1]; --at) {
      best[at] = best[at - 1];
      index[at] = index[at - 1];
    }
    best[at] = score;
    index[at] = expert;
    least_[row] = best[best_.n_rows - 1];
  }

  mat best_;
  arma::umat index_;
  vec least_;  // of those kept: most scores lose to it, and it is next to its neighbours'
};

std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// Different experts by a hash of the row's features: the k that rank first in an order it draws.
void hash_picks(const RoutingRule& rule, const Batch& batch, uword experts, uword k, mat& score) {
  for (uword i = 0; i < batch.rows; ++i) {
    std::uint64_t hash = 0x9e3779b97f4a7c15u;
    for (uword j = 0; j < batch.gate_features().n_cols; ++j)
      hash =
          mixed(hash ^ std::bit_cast<std::uint64_t>(batch.gate_features()(i, j) + 0.0)) + 0x9e3779b97f4a7c15u;
    for (uword j = 0; j < experts; ++j) score(i, j) = kNever;
    for (uword found = 0; found < k;) {
      hash = mixed(hash + 0x9e3779b97f4a7c15u);
      const uword at = hash % experts, expert = rule.hash_order.empty() ? at : rule.hash_order[at];
      if (score(i, expert) == 0) continue;
      score(i, expert) = 0;
      ++found;
    }
  }
}

}  // namespace

void RoutingRule::select(std::span<const uword> from) {
  const auto chosen = [&](auto& list) {
    if (list.empty()) return;
    auto old = list;
    list.clear();
    for (const uword k : from) list.push_back(old[k]);
  };
  chosen(bias);
  chosen(shared);
  if (score != Score::hash) return;
  std::vector<uword> place(from.size());
  for (uword j = 0; j < from.size(); ++j) place[from[j]] = j;
  if (hash_order.empty())
    hash_order = place;
  else
    for (uword& k : hash_order) k = place[k];
}

void pick_top(const mat& score, const RoutingRule& rule, std::vector<std::uint8_t>& picked) {
  const uword n = score.n_rows, experts = score.n_cols;
  uword others = experts;
  for (const std::uint8_t s : rule.shared) others -= s;
  const uword k = rule.top_k == 0 ? others : std::min(rule.top_k, others);
  picked.assign(n * experts, 0);
  RowBest best(n, std::max<uword>(k, 1));
  for (uword j = 0; j < experts; ++j) {
    if (!rule.shared.empty() && rule.shared[j]) {
      std::fill_n(picked.begin() + static_cast<std::ptrdiff_t>(j * n), n, std::uint8_t{1});
      continue;
    }
    best.offer(score.colptr(j), j);
  }
  for (uword i = 0; k > 0 && i < n; ++i)
    for (const uword j : best.index().col(i))
      if (j < experts) picked[i + j * n] = 1;
}

void gather_picks(const std::vector<std::uint8_t>& picked, uword rows, uword experts, Picks& picks) {
  picks.begin.assign(1, 0);
  picks.rows.clear();
  for (uword k = 0; k < experts; ++k) {
    const std::uint8_t* of = picked.data() + k * rows;
    for (uword i = 0; i < rows; ++i)
      if (of[i]) picks.rows.push_back(i);
    picks.begin.push_back(picks.rows.size());
  }
}

void log_sums(const Picks& picks, uword rows, const double* value, vec& out) {
  thread_local std::vector<LogSum> sum;
  sum.assign(rows, LogSum());
  for_picks(picks, [&](uword at, uword i, uword) { sum[i].add(value[at]); });
  out.set_size(rows);
  for (uword i = 0; i < rows; ++i) out[i] = sum[i].value();
}

void weigh_picks(const Picks& picks, mat& log_gate) {
  thread_local std::vector<double> kept;
  thread_local vec sum;
  kept.resize(picks.rows.size());
  for_picks(picks, [&](uword at, uword i, uword k) { kept[at] = log_gate(i, k); });
  log_sums(picks, log_gate.n_rows, kept.data(), sum);
  log_gate.fill(kNever);
  for_picks(picks, [&](uword at, uword i, uword k) { log_gate(i, k) = kept[at] - sum[i]; });
}

void routing_scores(const RoutingRule& rule, const GateFamily& gate, const Batch& batch, mat& log_gate,
                    mat& score) {
  const uword experts = log_gate.n_cols;
  if (rule.score == RoutingRule::Score::hash) {
    score.set_size(arma::size(log_gate));
    hash_picks(rule, batch, experts, std::clamp<uword>(rule.top_k, 1, experts), score);
    log_gate.zeros();
    return;
  }
  if (rule.score == RoutingRule::Score::sigmoid) {
    if (!gate.logits(batch, log_gate))
      throw Error(Errc::internal,
                  "a " + std::string(gate.name()) + " gate has no logits to take sigmoids of");
    log_gate.transform(log_sigmoid);
  }
  score = log_gate;
  if (rule.bias.empty()) return;  // logarithms have the same order, and no two that differ become equal
  // Beside a sure pick the other weights are all but 0: a bias added to them, not to their logarithms, would
  // give every such row the same further pick.
  if (rule.score == RoutingRule::Score::sigmoid) score = arma::exp(score);
  score.each_row() += arma::rowvec(rule.bias);
}

void route(const RoutingRule& rule, const GateFamily& gate, const Batch& batch, mat& log_gate, Picks& picks) {
  thread_local mat score;
  thread_local std::vector<std::uint8_t> picked;
  if (rule.score == RoutingRule::Score::softmax && rule.bias.empty()) {
    pick_top(log_gate, rule, picked);
  } else {
    routing_scores(rule, gate, batch, log_gate, score);
    pick_top(score, rule, picked);
  }
  gather_picks(picked, log_gate.n_rows, log_gate.n_cols, picks);
  weigh_picks(picks, log_gate);
}

}  // namespace moekit
