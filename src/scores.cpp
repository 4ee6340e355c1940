#include "scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "integrated_crps.hpp"
#include "log_sum.hpp"
#include "moekit/evaluate.hpp"
#include "simd/absolute.hpp"

namespace moekit {

namespace {

constexpr double kLogRootTwoPi = 0.91893853320467274178;

/// ln P(Z > z) for z >= 0. Far out by the asymptotic series of Mills' ratio, where erfc would be zero.
double log_upper_tail(double z) {
  if (z < 30) return std::log(0.5 * std::erfc(z / std::numbers::sqrt2));
  const double v = 1 / (z * z);
  return -0.5 * z * z - kLogRootTwoPi - std::log(z) + std::log1p(-v * (1 - v * (3 - v * (15 - 105 * v))));
}

/// The CRPS of mixtures of normal distributions, row by row.
class MixtureCrps {
 public:
  /// Grimit, Gneiting, Berrocal, Johnson 2006, eq. 5: sum_i w_i E|X_i - y| - 1/2 sum_ij w_i w_j E|X_i - X_j|.
  template <class Row>
  double operator()(double y, uword count, const Row& weight, const Row& mean, const Row& sd) {
    constexpr std::size_t kPad = simd::kAbsolutePadding;
    if (w_.size() < count + kPad) {
      for (std::vector<double>* v : {&w_, &m_, &v_, &each_}) v->resize(count + kPad);
    }
    // In units of the largest distance, so that no square overflows.
    double scale = 0;
    for (uword k = 0; k < count; ++k) {
      if (!(weight[k] > 0)) continue;
      if (!std::isfinite(mean[k] - y) || !std::isfinite(sd[k])) return std::nan("");
      scale = std::max({scale, std::abs(mean[k] - y), sd[k]});
    }
    if (!(scale > 0)) return 0;
    std::size_t n = 0;
    for (uword k = 0; k < count; ++k) {
      if (!(weight[k] > 0)) continue;
      const double s = sd[k] / scale;
      w_[n] = weight[k], m_[n] = (mean[k] - y) / scale, v_[n] = s * s, ++n;
    }
    return scale * standard(n);
  }

 private:
  /// y = 0.
  double standard(std::size_t n) {
    simd::mean_absolute({w_.data(), m_.data(), v_.data(), n}, each_.data());
    double error = 0, spread = 0, all = 0;
    for (std::size_t i = 0; i < n; ++i) {
      error += w_[i] * each_[i];
      all += w_[i];
      spread += w_[i] * w_[i] * std::sqrt(v_[i] / std::numbers::pi);
    }
    // What a component adds to the second sum is at most w_k (E|X_k - y| + sum_j w_j E|X_j - y|), so those
    // that are left out add less than 1e-15 of the error together.
    const double least = 1e-15 * error / static_cast<double>(n);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (w_[i] * (all * each_[i] + error) < least) continue;
      w_[kept] = w_[i], m_[kept] = m_[i], v_[kept] = v_[i], ++kept;
    }
    spread += simd::mean_absolute_differences({w_.data(), m_.data(), v_.data(), kept});
    return std::max(error - spread, 0.0);
  }

  std::vector<double> w_, m_, v_, each_;
};

/// ln of the probability of (lo, hi) under the components of one row.
double log_mixture_interval(const Components& c, uword i, double lo, double hi) {
  LogSum sum;
  for (uword k = 0; k < c.weight.n_cols; ++k)
    if (c.weight(i, k) > 0)
      sum.add(std::log(c.weight(i, k)) +
              log_normal_interval((lo - c.mean(i, k)) / c.sd(i, k), (hi - c.mean(i, k)) / c.sd(i, k)));
  return sum.value();
}

/// step: on the standardised target.
vec log_interval(const Model& model, const Block& block, const Components& c, const vec& y, double step) {
  vec out(y.n_elem);
  if (gaussian(model)) {
    for (uword i = 0; i < y.n_elem; ++i)
      out[i] = log_mixture_interval(c, i, y[i] - 0.5 * step, y[i] + 0.5 * step);
    return out;
  }
  out = standard_cumulative(model, block, y + 0.5 * step) - standard_cumulative(model, block, y - 0.5 * step);
  out.transform([](double p) { return std::log(std::max(p, std::numeric_limits<double>::min())); });
  return out;
}

}  // namespace

double log_normal_interval(double a, double b) {
  if (a + b < 0) return log_normal_interval(-b, -a);
  const double middle = 0.5 * (a + b), width = b - a;
  // A narrow interval: the density in the middle times the width, and the first correction.
  if (width * std::max(1.0, middle) < 1e-3)
    return -0.5 * middle * middle - kLogRootTwoPi + std::log(width) +
           std::log1p(width * width * (middle * middle - 1) / 24);
  if (a <= 0) return std::log(0.5 * (std::erf(b / std::numbers::sqrt2) - std::erf(a / std::numbers::sqrt2)));
  const double near = log_upper_tail(a);
  return near + std::log(-std::expm1(log_upper_tail(b) - near));
}

vec gaussian_crps(const Components& c, const vec& y) {
  vec out(y.n_elem);
  if (c.weight.n_cols <= simd::kMostTogether) {
    simd::mixture_crps(y.memptr(), c.weight.memptr(), c.mean.memptr(), c.sd.memptr(), y.n_elem,
                       c.weight.n_cols, out.memptr());
    return out;
  }
  const mat weight = c.weight.t(), mean = c.mean.t(), sd = c.sd.t();
  MixtureCrps crps;
  for (uword i = 0; i < y.n_elem; ++i)
    out[i] = crps(y[i], weight.n_rows, weight.colptr(i), mean.colptr(i), sd.colptr(i));
  return out;
}

double crps_gaussian_mixture(double y, const rowvec& weight, const rowvec& mean, const rowvec& sd) {
  return MixtureCrps()(y, weight.n_elem, weight.memptr(), mean.memptr(), sd.memptr());
}

namespace {

RowScores row_scores(const Model& model, const Block& block, const Components& c) {
  const Target& target = model.schema.target;
  const Unit unit = target_unit(target);
  vec y(block.rows);
  for (uword i = 0; i < block.rows; ++i)
    y[i] = std::isnan(block.target[i]) ? 0.0 : unit.standard(block.target[i]);
  RowScores out;
  out.crps = gaussian(model) ? gaussian_crps(c, y) : integrated_crps(model, block, c, y);
  if (target.step > 0 && target.task == Task::regression)  // counts have probabilities, no density
    out.log_grid = log_interval(model, block, c, y, target.step / unit.sd) - std::log(target.step);
  return out;
}

}  // namespace

RowScores row_scores(const Model& model, const Block& block) {
  return row_scores(model, block, components(model, block));
}

RowScores row_scores(const Model& model, const Block& block, const Prediction& p) {
  // Back from the target's units: a target far from zero would lose digits.
  const Unit unit = target_unit(model.schema.target);
  if (model.members.size() > 1 || p.component_mean.is_empty() || std::abs(unit.mean) > 1e3 * unit.sd)
    return row_scores(model, block);
  Components c;
  c.weight = p.gate;
  c.mean = p.component_mean;
  c.mean.transform([&](double y) { return unit.standard(y); });
  c.sd = p.component_sd / unit.sd;
  return row_scores(model, block, c);
}

}  // namespace moekit
