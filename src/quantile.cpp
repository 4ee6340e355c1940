#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <vector>

#include "components.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr int kMostSteps = 300;

/// A quantile asks for the point whose tail, the smaller one, is `tail`: so levels near 1 keep their digits.
struct Level {
  explicit Level(double q) : upper(q > 0.5), tail(upper ? 1 - q : q) {}
  bool upper;
  double tail;
};

/// Solves ln G(y) = ln p for a tail G (falling for an upper tail, rising for a lower one) inside a bracket.
/// Newton on the logarithm is nearly exact far out, where G is like exp(-y^2); steps that leave the bracket
/// or do not halve are replaced by bisection, so a component as narrow as a step cannot mislead it.
class Search {
 public:
  Search(const Level& level, double lo, double hi, double start, double finest)
      : level_(level),
        log_tail_(std::log(level.tail)),
        lo_(lo),
        hi_(hi),
        y_(std::clamp(start, lo, hi)),
        finest_(finest),
        last_(hi - lo) {
    done_ = !(lo_ < hi_);
  }

  bool done() const { return done_; }
  double y() const { return y_; }

  void update(double tail, double density) {
    const double gap = std::log(std::max(tail, 1e-320)) - log_tail_;
    if (std::abs(gap) <= 2 * kEps * std::max(1.0, -log_tail_)) return finish(y_);  // equal but for rounding
    const bool right = level_.upper == (gap > 0);  // the solution lies to the right
    (right ? lo_ : hi_) = y_;
    const double size = tail / density * std::abs(gap);
    double next = right ? y_ + size : y_ - size;
    if (!(next > lo_ && next < hi_) || size > 0.5 * last_) next = lo_ + 0.5 * (hi_ - lo_);
    last_ = std::abs(next - y_);
    const double rounding = kEps * std::max(std::abs(y_), finest_);
    if (last_ <= rounding || hi_ - lo_ <= rounding || ++steps_ == kMostSteps) return finish(next);
    y_ = next;
  }

 private:
  void finish(double y) {
    y_ = y;
    done_ = true;
  }

  Level level_;
  double log_tail_;
  double lo_, hi_, y_;
  double finest_;  // least spread of a component: distances below its rounding mean nothing
  double last_;    // length of the step before
  int steps_ = 0;
  bool done_ = false;
};

/// The components of one row whose weight is more than `least`.
struct Row {
  std::vector<double> weight, mean, sd;
  double centre = 0, finest = 0;

  void take(const Components& c, uword i, double least = 0) {
    weight.clear(), mean.clear(), sd.clear();
    centre = 0, finest = std::numeric_limits<double>::infinity();
    for (uword k = 0; k < c.weight.n_cols; ++k) {
      if (!(c.weight(i, k) > least)) continue;
      weight.push_back(c.weight(i, k)), mean.push_back(c.mean(i, k)), sd.push_back(c.sd(i, k));
      centre += weight.back() * mean.back();
      finest = std::min(finest, sd.back());
    }
  }
};

/// Every component's quantile lies between its mean and mean +- sd sqrt(-2 ln 2p), since the normal tail is
/// at most exp(-z^2 / 2) / 2; so does the mixture's between the extremes of these.
double normal_quantile(const Row& row, double q) {
  const Level level(q);
  const double reach = std::sqrt(-2 * std::log(2 * level.tail)) * (level.upper ? 1 : -1);
  double lo = row.mean[0], hi = row.mean[0];
  for (std::size_t k = 0; k < row.mean.size(); ++k) {
    const double end = row.mean[k] + row.sd[k] * reach;
    lo = std::min({lo, row.mean[k], end});
    hi = std::max({hi, row.mean[k], end});
  }
  Search search(level, lo, hi, row.centre, row.finest);
  while (!search.done()) {
    double tail = 0, density = 0;
    for (std::size_t k = 0; k < row.mean.size(); ++k) {
      const double z = (search.y() - row.mean[k]) / row.sd[k];
      tail += row.weight[k] * 0.5 * std::erfc((level.upper ? z : -z) / std::numbers::sqrt2);
      density += row.weight[k] / row.sd[k] * std::exp(-0.5 * z * z);
    }
    search.update(tail, density / std::sqrt(2 * std::numbers::pi));
  }
  return search.y();
}

/// Ends between which the level's quantile lies whatever the shape of the components (Cantelli's inequality).
void bracket(const Row& row, double q, double& lo, double& hi) {
  const double below = std::sqrt((1 - q) / q), above = std::sqrt(q / (1 - q));
  lo = std::numeric_limits<double>::infinity(), hi = -lo;
  for (std::size_t k = 0; k < row.mean.size(); ++k) {
    lo = std::min(lo, row.mean[k] - row.sd[k] * below);
    hi = std::max(hi, row.mean[k] + row.sd[k] * above);
  }
}

/// Any continuous family: all rows of the block step together.
vec smooth_quantile(const Model& model, const Block& inputs, const Components& c, double q) {
  const Level level(q);
  std::vector<Search> search;
  Row row;
  for (uword i = 0; i < inputs.rows; ++i) {
    double lo, hi;
    row.take(c, i);
    bracket(row, q, lo, hi);
    search.emplace_back(level, lo, hi, row.centre, row.finest);
  }
  vec at(inputs.rows);
  const auto open = [](const Search& s) { return !s.done(); };
  while (std::any_of(search.begin(), search.end(), open)) {
    for (uword i = 0; i < at.n_elem; ++i) at[i] = search[i].y();
    const vec below = standard_cumulative(model, inputs, at);
    const vec density = standard_density(model, inputs, at);
    for (uword i = 0; i < at.n_elem; ++i)
      if (!search[i].done()) search[i].update(level.upper ? 1 - below[i] : below[i], density[i]);
  }
  for (uword i = 0; i < at.n_elem; ++i) at[i] = search[i].y();
  return at;
}

/// Counts: bisection over whole numbers; F(lo) < q <= F(hi) all along.
vec count_quantile(const Model& model, const Block& inputs, const Components& c, double q) {
  vec lo(inputs.rows), hi(inputs.rows);
  Row row;
  for (uword i = 0; i < inputs.rows; ++i) {
    row.take(c, i);
    bracket(row, q, lo[i], hi[i]);
    lo[i] = -1;  // counts have F(-1) = 0
    hi[i] = std::max(0.0, std::ceil(hi[i]));
  }
  // Numbers above 2^53 have gaps: there the halves end earlier.
  const auto open = [&](uword i, double middle) { return middle > lo[i] && middle < hi[i]; };
  for (bool any = true; any;) {
    any = false;
    const vec middle = arma::floor(lo + 0.5 * (hi - lo));
    const vec below = standard_cumulative(model, inputs, middle);
    for (uword i = 0; i < lo.n_elem; ++i)
      if (open(i, middle[i])) any = true, (below[i] < q ? lo : hi)[i] = middle[i];
  }
  return hi;
}

/// Quantiles of the standardised target at rising levels: n x levels.
mat standard_quantiles(const Model& model, const Block& inputs, const std::vector<double>& levels) {
  if (levels.empty()) return mat(inputs.rows, 0);
  const Components c = components(model, inputs);
  mat out(inputs.rows, levels.size());
  if (gaussian(model)) {
    // All that lighter components could add to the smallest tail is under its rounding.
    const double tail = std::min(levels.front(), 1 - levels.back());
    const double least = 1e-17 * tail / static_cast<double>(c.weight.n_cols);
    Row row;
    for (uword i = 0; i < inputs.rows; ++i) {
      row.take(c, i, least);
      for (std::size_t l = 0; l < levels.size(); ++l) out(i, l) = normal_quantile(row, levels[l]);
    }
    return out;
  }
  for (std::size_t l = 0; l < levels.size(); ++l)
    out.col(l) = discrete(model) ? count_quantile(model, inputs, c, levels[l])
                                 : smooth_quantile(model, inputs, c, levels[l]);
  return out;
}

}  // namespace

vec standard_density(const Model& model, const Block& inputs, const vec& at) {
  const double part = 1.0 / static_cast<double>(model.members.size());
  vec out(inputs.rows, arma::fill::zeros);
  Posterior post;
  mat each;
  for (const Mixture& member : model.members) {
    gate_weights(member, model.schema, inputs, post);
    post.batch.target = at;
    member.experts->log_density(post.batch, each);
    out += part * arma::sum(post.gate % arma::exp(each), 1);
  }
  return out;
}

mat quantiles(const Model& model, const Block& block, const vec& levels) {
  if (model.schema.target.task == Task::classification)
    throw Error(Errc::usage, "quantiles are for numbers; the model's target is a class");
  for (const double q : levels)
    if (!(q > 0 && q < 1)) throw Error(Errc::usage, "a quantile's level lies between 0 and 1");
  Block inputs = block;
  inputs.target = nullptr;
  std::vector<uword> order(levels.n_elem);
  std::iota(order.begin(), order.end(), uword{0});
  std::sort(order.begin(), order.end(), [&](uword a, uword b) { return levels[a] < levels[b]; });
  std::vector<double> rising;
  for (const uword l : order) rising.push_back(levels[l]);
  const mat standard = standard_quantiles(model, inputs, rising);
  const Unit unit = target_unit(model.schema.target);
  mat out(block.rows, levels.n_elem);
  for (uword i = 0; i < block.rows; ++i) {
    double last = -std::numeric_limits<double>::infinity();  // rounding must not make levels cross
    for (std::size_t l = 0; l < order.size(); ++l) {
      last = std::max(last, unit.user(standard(i, l)));
      out(i, order[l]) = last;
    }
  }
  return out;
}

}  // namespace moekit
