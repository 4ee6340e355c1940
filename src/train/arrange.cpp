#include "train/arrange.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

namespace moekit::train {

namespace {

using arma::mat;
using arma::uword;
using arma::vec;

constexpr double kCounts = 0.02;   // a row belongs to a part from this share of its weight on
constexpr double kRidge = 1e-3;    // of the mean variance, so that features without spread do no harm
constexpr uword kMostRows = 4000;  // that a part is judged by, evenly spread
constexpr int kNewtonSteps = 8;

using Side = std::vector<bool>;  // of each expert of a part: on the left?

double entropy(double a, double b) {
  const auto term = [&](double v) { return v > 0 ? -v * std::log(v / (a + b)) : 0.0; };
  return term(a) + term(b);
}

/// What a logistic regression of left against right on t leaves open, in all; `left` and `all`: weights.
double open_entropy(const vec& t, const vec& left, const vec& all) {
  const double share = arma::accu(left) / arma::accu(all);
  double a = std::log(share / (1 - share)), b = 0, step_a = 0, step_b = 0, length = 1;
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step <= kNewtonSteps; ++step) {
    const double at_a = a + length * step_a, at_b = b + length * step_b;
    double loss = 0, g0 = 0, g1 = 0, h00 = 0, h01 = 0, h11 = 0;
    for (uword i = 0; i < t.n_elem; ++i) {
      const double z = at_a + at_b * t[i], e = std::exp(-std::abs(z)), p = (z >= 0 ? 1.0 : e) / (1 + e);
      const double r = left[i] - all[i] * p, w = all[i] * p * (1 - p);
      loss += all[i] * (std::max(z, 0.0) + std::log1p(e)) - left[i] * z;
      g0 += r;
      g1 += r * t[i];
      h00 += w;
      h01 += w * t[i];
      h11 += w * t[i] * t[i];
    }
    if (!(loss < least)) {
      length /= 2;
      continue;
    }
    least = loss;
    a = at_a;
    b = at_b;
    length = 1;
    const double det = h00 * h11 - h01 * h01;
    if (!(det > 1e-12 * h00 * h11)) break;
    step_a = (h11 * g0 - h01 * g1) / det;
    step_b = (h00 * g1 - h01 * g0) / det;
  }
  return least;
}

/// Experts that are to be parted, and the rows that they answer for.
class Part {
 public:
  Part(const mat& x, const mat& share, const std::vector<uword>& experts);
  /// The sides that are told apart best.
  Side best_sides() const;

 private:
  vec discriminant(const Side& left) const;
  Side cut_along(const vec& direction) const;
  double left_open(const Side& left) const;

  uword count_;
  mat x_;        // rows x features, around their mean
  mat share_;    // rows x experts
  vec all_;      // rows
  vec rows_;     // of each expert
  mat centre_;   // features x experts
  mat inverse_;  // of the scatter
};

Part::Part(const mat& x, const mat& share, const std::vector<uword>& experts)
    : count_(experts.size()), share_(share.cols(arma::conv_to<arma::uvec>::from(experts))) {
  arma::uvec own = arma::find(arma::sum(share_, 1) > kCounts * arma::sum(share, 1));
  if (const uword every = 1 + own.n_elem / kMostRows; every > 1)
    own = own.elem(arma::regspace<arma::uvec>(0, every, own.n_elem - 1)).eval();
  if (own.is_empty()) own = arma::uvec{0};  // experts without rows: any will do
  share_ = share_.rows(own);
  x_ = x.rows(own);
  all_ = arma::sum(share_, 1);
  rows_ = arma::sum(share_, 0).t() + 1e-9;  // experts without rows have a place too
  const double total = arma::accu(rows_);
  x_.each_row() -= arma::rowvec(all_.t() * x_ / total);
  centre_ = x_.t() * share_;
  centre_.each_row() /= rows_.t();
  mat scatter = x_.t() * (x_.each_col() % all_) / total;
  const double ridge =
      kRidge * arma::trace(scatter) / static_cast<double>(std::max<uword>(1, scatter.n_rows));
  scatter.diag() += ridge > 0 ? ridge : 1.0;
  if (!arma::inv_sympd(inverse_, scatter)) inverse_ = arma::diagmat(1 / scatter.diag());
}

/// The direction that tells the sides apart; the scatter around both centres in place of the whole would only
/// change its length.
vec Part::discriminant(const Side& left) const {
  vec a(centre_.n_rows, arma::fill::zeros), b = a;
  double of_a = 0, of_b = 0;
  for (uword k = 0; k < count_; ++k) {
    (left[k] ? a : b) += rows_[k] * centre_.col(k);
    (left[k] ? of_a : of_b) += rows_[k];
  }
  return inverse_ * (a / of_a - b / of_b);
}

/// Experts in the order of their centres along a direction, cut where the sides differ most.
Side Part::cut_along(const vec& direction) const {
  const vec score = centre_.t() * direction;
  const arma::uvec order = arma::stable_sort_index(score);
  const double total = arma::accu(rows_), mean = arma::dot(rows_, score) / total;
  double of_left = 0, sum = 0, most = -1;
  uword chosen = 0;
  for (uword k = 0; k + 1 < count_; ++k) {
    of_left += rows_[order[k]];
    sum += rows_[order[k]] * (score[order[k]] - mean);
    const double between = sum * sum * (1 / of_left + 1 / (total - of_left));
    if (!(between > most)) continue;
    most = between;
    chosen = k;
  }
  Side left(count_, false);
  for (uword k = 0; k <= chosen; ++k) left[order[k]] = true;
  return left;
}

/// Share of the entropy between the sides that their discriminant leaves open.
double Part::left_open(const Side& left) const {
  vec of_left(all_.n_elem, arma::fill::zeros);
  for (uword k = 0; k < count_; ++k)
    if (left[k]) of_left += share_.col(k);
  const double a = arma::accu(of_left), b = arma::accu(all_) - a, whole = entropy(a, b);
  if (!(a > 0 && b > 0 && whole > 0)) return 1;
  return open_entropy(x_ * discriminant(left), of_left, all_) / whole;
}

Side Part::best_sides() const {
  std::map<Side, double> open;  // with the first expert on the right: a cut has no left and right
  const auto look = [&](Side left) {
    if (left[0]) left.flip();
    const auto [at, fresh] = open.try_emplace(left, 0.0);
    if (fresh) at->second = left_open(left);
    return at;
  };
  auto best = look(cut_along(inverse_ * (centre_.col(0) - centre_.col(1))));
  const auto better = [&](const Side& left) {
    const auto found = look(left);
    const bool gain = found->second < best->second;
    if (gain) best = found;
    return gain;
  };
  for (uword k = 0; k < count_; ++k) {
    Side alone(count_, false);
    alone[k] = true;
    better(alone);
    for (uword j = 0; j < k; ++j) better(cut_along(inverse_ * (centre_.col(k) - centre_.col(j))));
  }
  for (bool moved = true; moved;) {
    moved = false;
    for (uword k = 0; k < count_; ++k) {
      Side left = best->first;
      left[k] = !left[k];
      if (std::ranges::count(left, true) % static_cast<std::ptrdiff_t>(count_) != 0)
        moved = better(left) || moved;
    }
  }
  return best->first;
}

}  // namespace

Arrangement arrange_experts(const mat& x, const mat& share) {
  const uword count = share.n_cols;
  if (x.is_empty())  // nothing to go by: any tree will do
    return arrange_experts(mat(1, 1, arma::fill::zeros), mat(1, count, arma::fill::zeros));
  Arrangement out{std::vector<double>(count), std::vector<double>(count - 1)};
  struct Open {
    std::vector<uword> experts;
    uword first, depth;
  };
  std::vector<uword> all(count);
  std::iota(all.begin(), all.end(), uword{0});
  std::vector<Open> open{{all, 0, 0}};
  while (!open.empty()) {
    const Open now = std::move(open.back());
    open.pop_back();
    if (now.experts.size() == 1) {
      out.place[now.experts[0]] = static_cast<double>(now.first);
      continue;
    }
    const Side side = Part(x, share, now.experts).best_sides();
    Open left{{}, now.first, now.depth + 1}, right = left;
    for (uword k = 0; k < now.experts.size(); ++k) (side[k] ? left : right).experts.push_back(now.experts[k]);
    right.first += left.experts.size();
    out.depth[right.first - 1] = static_cast<double>(now.depth);
    open.push_back(std::move(left));
    open.push_back(std::move(right));
  }
  return out;
}

}  // namespace moekit::train
