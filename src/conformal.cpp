#include "conformal.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "components.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

constexpr std::size_t kMostScores = 10'000;
/// Tails below this are lost in the rounding of F.
constexpr double kLeastTail = 1e-12;
/// Rounding of shares of the weight, and of ranks among the scores kept.
constexpr double kShareRounding = 1e-9, kRankRounding = 1e-6;
constexpr double kLargest = 1e300;
/// Of a quantile, as a share of the numbers it lies among.
constexpr double kQuantileRounding = 1e-13;

void refuse_classes(const Model& model) {
  if (model.schema.targets() > 1)
    throw Error(Errc::usage, "intervals are calibrated for one target, and the model has several");
  if (model.schema.target.task == Task::classification)
    throw Error(Errc::usage, "intervals are for numbers; the model's target is a class");
}

struct ScoredRows {
  std::vector<double> score, weight;
};

ScoredRows score_block(const Model& model, const Block& block) {
  ScoredRows out;
  if (!block.target) return out;
  const Prediction p = predict(model, block);
  for (uword i = 0; i < block.rows; ++i) {
    const double y = block.target[i], w = block.weight ? block.weight[i] : 1.0;
    if (std::isnan(y) || !(w > 0)) continue;
    out.score.push_back(conformal_score(p, i, y));
    out.weight.push_back(w);
  }
  return out;
}

}  // namespace

double Conformal::threshold(double level) const {
  const auto m = static_cast<double>(scores.size());
  const double rank = std::ceil(level * (1 + heaviest) * m - kRankRounding);
  return scores[static_cast<std::size_t>(std::clamp(rank, 1.0, m)) - 1];
}

bool Conformal::enough(double level) const { return level * (1 + heaviest) <= 1 + kShareRounding; }

double conformal_score(const Prediction& prediction, uword row, double y) {
  const double below = prediction.cumulative[row];
  // A count's own probability belongs to neither side.
  const double strictly_below = prediction.discrete ? below - std::exp(prediction.log_density[row]) : below;
  const double tail = std::min(below, 1 - strictly_below);
  if (tail > kLeastTail) return std::max(0.0, 1 - 2 * tail);
  const double distance = std::abs(y - prediction.mean[row]) / prediction.sd[row];
  return distance < kLargest ? 1 + distance : kLargest;
}

Conformal conformal_of(std::vector<double> scores, const std::vector<double>& weights) {
  if (scores.empty()) throw Error(Errc::data, "there is no row with a known target to calibrate on");
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  double total = 0;
  for (const double w : weights) total += w;
  Conformal out;
  out.rows = scores.size();
  out.heaviest = *std::max_element(weights.begin(), weights.end()) / total;
  const std::size_t m = std::min(scores.size(), kMostScores);
  double sum = 0;  // weight of the rows up to `at`
  std::size_t at = 0;
  for (std::size_t j = 1; j <= m; ++j) {
    // The least score that enough weight reaches: thinning only ever moves a threshold up.
    const double wanted = total * (static_cast<double>(j) / static_cast<double>(m)) * (1 - kShareRounding);
    while (at < order.size() && sum < wanted) sum += weights[order[at++]];
    out.scores.push_back(scores[order[at - 1]]);
  }
  out.scores.back() = scores[order.back()];  // whatever the rounding of the sum
  return out;
}

Conformal calibrate(const Model& model, const Source& rows, const Compute& compute) {
  refuse_classes(model);
  std::vector<ScoredRows> part(rows.blocks());
  parallel_for(part.size(), compute, [&](std::size_t i) {
    BlockData buffer;
    part[i] = score_block(model, rows.read(i, buffer));
  });
  ScoredRows all;
  for (const ScoredRows& p : part) {
    all.score.insert(all.score.end(), p.score.begin(), p.score.end());
    all.weight.insert(all.weight.end(), p.weight.begin(), p.weight.end());
  }
  return conformal_of(std::move(all.score), all.weight);
}

TwoLevels levels_of_score(double score, bool discrete) {
  // A count whose score is the threshold itself sits on a step of F: rounding must not leave it outside.
  const double slack = discrete ? 0.1 * kLeastTail : 0;
  return {0.5 * (1 - score) - slack, 0.5 * (1 + score) + slack};
}

namespace {

/// The calibration row whose score the intervals reach up to lies on an end of its own: rounding must not
/// leave it outside.
void widen_by_rounding(const Model& model, mat& ends) {
  const bool positive = family_traits(model.family).log_link;
  for (uword i = 0; i < ends.n_rows; ++i) {
    const double lower = std::abs(ends(i, 0)), upper = std::abs(ends(i, 1));
    ends(i, 0) -= kQuantileRounding * (positive ? lower : lower + upper);
    ends(i, 1) += kQuantileRounding * (lower + upper);
  }
}

}  // namespace

mat intervals(const Model& model, const Block& block, double level) {
  refuse_classes(model);
  if (!(level > 0 && level < 1))
    throw Error(Errc::usage, "the probability of an interval lies between 0 and 1");
  const auto between = [&](double lower, double upper) { return quantiles(model, block, vec{lower, upper}); };
  if (!model.conformal.known()) return between(0.5 * (1 - level), 0.5 * (1 + level));
  const double score = model.conformal.threshold(level);
  const bool steps = discrete(model);
  if (score < 1) {
    const TwoLevels levels = levels_of_score(score, steps);
    mat out = between(levels.lower, levels.upper);
    if (!steps) widen_by_rounding(model, out);
    return out;
  }
  // Scores of 1 and more are distances: all that F can tell apart, and what lies as near to the mean.
  mat out = between(kLeastTail, 1 - kLeastTail);
  const Prediction p = predict(model, block);
  for (uword i = 0; i < block.rows; ++i) {
    const double reach = (score - 1) * p.sd[i];
    out(i, 0) = std::min(out(i, 0), steps ? std::floor(p.mean[i] - reach) : p.mean[i] - reach);
    out(i, 1) = std::max(out(i, 1), steps ? std::ceil(p.mean[i] + reach) : p.mean[i] + reach);
    if (steps) out(i, 0) = std::max(out(i, 0), 0.0);
  }
  if (!steps) widen_by_rounding(model, out);
  return out;
}

}  // namespace moekit
