#include "scores.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "moekit/evaluate.hpp"

namespace moekit {

namespace {

constexpr double kLogRootTwoPi = 0.91893853320467274178;

/// ln P(Z > z) for z >= 0. Far out by the asymptotic series of Mills' ratio, where erfc would be zero.
double log_upper_tail(double z) {
  if (z < 30) return std::log(0.5 * std::erfc(z / std::numbers::sqrt2));
  const double v = 1 / (z * z);
  return -0.5 * z * z - kLogRootTwoPi - std::log(z) + std::log1p(-v * (1 - v * (3 - v * (15 - 105 * v))));
}

/// E|X| of X ~ N(mean, sd^2).
double mean_absolute(double mean, double sd) {
  const double z = std::abs(mean) / sd;
  if (!(z < 9)) return std::abs(mean);  // what the other side adds is under rounding; also sd = 0
  const double density = std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi);
  return sd * (2 * density + z * std::erf(z / std::numbers::sqrt2));
}

/// Grimit, Gneiting, Berrocal, Johnson 2006, eq. 5: sum_i w_i A(y - m_i, s_i^2)
/// - 1/2 sum_ij w_i w_j A(m_i - m_j, s_i^2 + s_j^2), where A(m, s^2) = E|N(m, s^2)|.
double crps(double y, const std::vector<double>& w, const std::vector<double>& m,
            const std::vector<double>& s) {
  double error = 0, spread = 0;
  for (std::size_t i = 0; i < w.size(); ++i) error += w[i] * mean_absolute(y - m[i], s[i]);
  for (std::size_t i = 0; i < w.size(); ++i) {
    spread += 0.5 * w[i] * w[i] * mean_absolute(0, std::numbers::sqrt2 * s[i]);
    for (std::size_t j = 0; j < i; ++j) {
      const double both = w[i] * w[j], distance = m[i] - m[j];
      if (both * (std::abs(distance) + s[i] + s[j]) < 1e-18 * error) continue;  // under rounding
      spread += both * mean_absolute(distance, std::hypot(s[i], s[j]));
    }
  }
  return std::max(error - spread, 0.0);
}

/// ln of the probability of (lo, hi) under the components of one row.
double log_mixture_interval(const Components& c, uword i, double lo, double hi) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (uword k = 0; k < c.weight.n_cols; ++k) {
    if (!(c.weight(i, k) > 0)) continue;
    const double term = std::log(c.weight(i, k)) + log_normal_interval((lo - c.mean(i, k)) / c.sd(i, k),
                                                                       (hi - c.mean(i, k)) / c.sd(i, k));
    if (term > most) {
      sum = sum * std::exp(most - term) + 1;
      most = term;
    } else {
      sum += std::exp(term - most);
    }
  }
  return most + std::log(sum);
}

vec gaussian_crps(const Components& c, const vec& y) {
  vec out(y.n_elem);
  std::vector<double> w, m, s;
  for (uword i = 0; i < y.n_elem; ++i) {
    w.clear(), m.clear(), s.clear();
    for (uword k = 0; k < c.weight.n_cols; ++k)
      if (c.weight(i, k) > 0) w.push_back(c.weight(i, k)), m.push_back(c.mean(i, k)), s.push_back(c.sd(i, k));
    out[i] = crps(y[i], w, m, s);
  }
  return out;
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

/// Whole numbers from the lowest to the highest that matter in any row: sum of (F(j) - 1[y <= j])^2.
vec stepped_crps(const Model& model, const Block& block, const Components& c, const vec& y) {
  constexpr double kMostTerms = 4000;
  const uword n = y.n_elem;
  vec lo(n), stride(n), out(n, arma::fill::zeros);
  double most = 0;
  for (uword i = 0; i < n; ++i) {
    lo[i] = std::max(0.0, std::floor(std::min(y[i], (c.mean.row(i) - 12 * c.sd.row(i)).min())));
    const double hi = std::ceil(std::max(y[i], (c.mean.row(i) + 40 * c.sd.row(i)).max())) + 1;
    stride[i] = std::max(1.0, std::ceil((hi - lo[i]) / kMostTerms));
    most = std::max(most, (hi - lo[i]) / stride[i]);
  }
  for (double j = 0; j <= most; ++j) {
    const vec at = lo + j * stride;
    const vec below = standard_cumulative(model, block, at);
    for (uword i = 0; i < n; ++i) {
      const double gap = below[i] - (y[i] <= at[i] ? 1.0 : 0.0);
      out[i] += stride[i] * gap * gap;
    }
  }
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

double crps_gaussian_mixture(double y, const rowvec& weight, const rowvec& mean, const rowvec& sd) {
  const auto list = [](const rowvec& v) { return std::vector<double>(v.begin(), v.end()); };
  return crps(y, list(weight), list(mean), list(sd));
}

/// Five-point Gauss-Legendre between breaks set by every component's mean and spread, and by y, where the
/// integrand jumps. All rows have the same number of breaks, so the block goes through at once.
vec integrated_crps(const Model& model, const Block& block, const Components& c, const vec& y) {
  if (discrete(model)) return stepped_crps(model, block, c, y);
  constexpr double kNode[] = {-0.90617984593866399, -0.53846931010568309, 0, 0.53846931010568309,
                              0.90617984593866399};
  constexpr double kWeight[] = {0.23692688505618909, 0.47862867049936647, 0.56888888888888889,
                                0.47862867049936647, 0.23692688505618909};
  constexpr double kBreak[] = {-30, -12, -8, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 8, 12, 30};
  const uword n = y.n_elem, k = c.mean.n_cols, per = std::size(kBreak);
  mat breaks(k * per + 1, n);
  for (uword i = 0; i < n; ++i) {
    breaks(k * per, i) = y[i];
    for (uword j = 0; j < k * per; ++j)
      breaks(j, i) = c.mean(i, j / per) + c.sd(i, j / per) * kBreak[j % per];
  }
  breaks = arma::sort(breaks);
  vec out(n, arma::fill::zeros), at(n);
  for (uword panel = 0; panel + 1 < breaks.n_rows; ++panel) {
    const vec lo = breaks.row(panel).t(), half = 0.5 * (breaks.row(panel + 1).t() - lo);
    for (std::size_t q = 0; q < std::size(kNode); ++q) {
      at = lo + half * (1 + kNode[q]);
      const vec below = standard_cumulative(model, block, at);
      for (uword i = 0; i < n; ++i) {
        const double gap = below[i] - (y[i] <= at[i] ? 1.0 : 0.0);
        out[i] += half[i] * kWeight[q] * gap * gap;
      }
    }
  }
  return out;
}

RowScores row_scores(const Model& model, const Block& block) {
  const Target& target = model.schema.target;
  const Unit unit = target_unit(target);
  const Components c = components(model, block);
  vec y(block.rows);
  for (uword i = 0; i < block.rows; ++i)
    y[i] = std::isnan(block.target[i]) ? 0.0 : unit.standard(block.target[i]);
  RowScores out;
  out.crps = gaussian(model) ? gaussian_crps(c, y) : integrated_crps(model, block, c, y);
  if (target.step > 0 && target.task == Task::regression)  // counts have probabilities, no density
    out.log_grid = log_interval(model, block, c, y, target.step / unit.sd) - std::log(target.step);
  return out;
}

}  // namespace moekit
