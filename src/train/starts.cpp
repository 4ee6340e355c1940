#include "train/starts.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "linalg.hpp"
#include "moekit/error.hpp"
#include "train/outliers.hpp"

namespace moekit::train {

namespace {

using Regions = std::vector<std::uint32_t>;

/// Index of the nearest centre (columns of `centres`' transpose) for every row.
Regions nearest(const mat& x, const mat& centres) {
  Regions region(x.n_rows, 0);
  vec best(x.n_rows);
  best.fill(arma::datum::inf);
  for (uword k = 0; k < centres.n_rows; ++k) {
    vec distance(x.n_rows, arma::fill::zeros);
    for (uword j = 0; j < x.n_cols; ++j) distance += arma::square(x.col(j) - centres(k, j));
    for (uword i = 0; i < x.n_rows; ++i)
      if (distance[i] < best[i]) {
        best[i] = distance[i];
        region[i] = static_cast<std::uint32_t>(k);
      }
  }
  return region;
}

mat plus_plus_centres(const mat& x, uword k, Rng& rng) {
  mat centres(k, x.n_cols);
  centres.row(0) = x.row(rng.below(x.n_rows));
  vec distance(x.n_rows);
  distance.fill(arma::datum::inf);
  for (uword c = 1; c < k; ++c) {
    vec d(x.n_rows, arma::fill::zeros);
    for (uword j = 0; j < x.n_cols; ++j) d += arma::square(x.col(j) - centres(c - 1, j));
    distance = arma::min(distance, d);
    double left = rng.uniform() * arma::accu(distance);
    uword i = 0;
    while (i + 1 < x.n_rows && (left -= distance[i]) > 0) ++i;
    centres.row(c) = x.row(i);
  }
  return centres;
}

Regions k_means(const mat& x, uword k, Rng& rng) {
  constexpr int kRounds = 10;
  if (x.n_cols == 0) return Regions(x.n_rows, 0);
  mat centres = plus_plus_centres(x, k, rng);
  Regions region = nearest(x, centres);
  for (int round = 0; round < kRounds; ++round) {
    mat sum(k, x.n_cols, arma::fill::zeros);
    vec count(k, arma::fill::zeros);
    for (uword i = 0; i < x.n_rows; ++i) {
      sum.row(region[i]) += x.row(i);
      count[region[i]] += 1;
    }
    for (uword c = 0; c < k; ++c)
      if (count[c] > 0) centres.row(c) = sum.row(c) / count[c];
    region = nearest(x, centres);
  }
  return region;
}

Regions voronoi(const mat& x, uword k, Rng& rng) {
  if (x.n_cols == 0) return Regions(x.n_rows, 0);
  mat centres(k, x.n_cols);
  for (uword c = 0; c < k; ++c) centres.row(c) = x.row(rng.below(x.n_rows));
  return nearest(x, centres);
}

/// Regions by rank along `score`, with cuts at random ranks.
Regions by_rank(const vec& score, uword k, Rng& rng) {
  const uword n = score.n_elem;
  const arma::uvec order = arma::stable_sort_index(score);
  std::vector<double> cut;
  for (uword c = 0; c + 1 < k; ++c) cut.push_back(rng.uniform());
  std::sort(cut.begin(), cut.end());
  Regions region(n);
  uword r = 0;
  for (uword i = 0; i < n; ++i) {
    while (r < cut.size() && static_cast<double>(i) >= cut[r] * static_cast<double>(n)) ++r;
    region[order[i]] = static_cast<std::uint32_t>(r);
  }
  return region;
}

/// A random input (with one chance in two) or a random direction.
vec random_direction(uword d, Rng& rng) {
  vec v(d, arma::fill::zeros);
  if (rng.uniform() < 0.5) {
    v[rng.below(d)] = 1;
  } else {
    for (double& e : v) e = rng.normal();
  }
  return v;
}

Regions slices(const mat& x, uword k, Rng& rng) {
  if (x.n_cols == 0) return Regions(x.n_rows, 0);
  return by_rank(x * random_direction(x.n_cols, rng), k, rng);
}

/// Coefficients of a lightly penalised least-squares fit of the target on the chosen rows.
mat small_fit(const StartData& data, const arma::uvec& rows) {
  const mat x = data.design.rows(rows), y = data.target.rows(rows);
  mat gram = x.t() * x;
  gram.diag() += 1e-3 * static_cast<double>(rows.n_elem) + 1e-6;
  const SpdFactor factor(gram);
  mat w(x.n_cols, y.n_cols);
  for (uword j = 0; j < y.n_cols; ++j) w.col(j) = factor.solve(x.t() * y.col(j));
  return w;
}

Regions lines(const StartData& data, uword k, Rng& rng) {
  const uword n = data.design.n_rows;
  const uword few = std::min<uword>(n, data.design.n_cols + (data.design.n_cols > 2 ? 3 : 0));
  Regions region(n, 0);
  vec best(n);
  best.fill(arma::datum::inf);
  for (uword c = 0; c < k; ++c) {
    arma::uvec rows(few);
    for (uword& r : rows) r = rng.below(n);
    const mat left = data.target - data.design * small_fit(data, rows);
    const vec squares = arma::sum(arma::square(left), 1);
    for (uword i = 0; i < n; ++i)
      if (squares[i] < best[i]) {
        best[i] = squares[i];
        region[i] = static_cast<std::uint32_t>(c);
      }
  }
  return region;
}

Regions residuals(const StartData& data, uword k, Rng& rng) {
  const mat left =
      data.target - data.design * small_fit(data, arma::regspace<arma::uvec>(0, data.x.n_rows - 1));
  return by_rank(left.col(rng.below(left.n_cols)), k, rng);
}

Regions joint(const StartData& data, uword k, Rng& rng) {
  const double weight =
      std::sqrt(static_cast<double>(std::max<uword>(1, data.x.n_cols))) * (0.5 + 2 * rng.uniform());
  return k_means(arma::join_rows(data.x, weight * data.target), k, rng);
}

/// Sums over some rows, from which a least-squares fit of them follows.
struct FitSums {
  double rows = 0;
  mat gram, cross;  ///< of the design with itself and with the target
  rowvec squares;   ///< of each output

  FitSums() = default;
  FitSums(const mat& x, const mat& y)
      : rows(static_cast<double>(x.n_rows)),
        gram(x.t() * x),
        cross(x.t() * y),
        squares(arma::sum(arma::square(y), 0)) {}
  FitSums operator-(const FitSums& part) const {
    FitSums rest = *this;
    rest.rows -= part.rows;
    rest.gram -= part.gram;
    rest.cross -= part.cross;
    rest.squares -= part.squares;
    return rest;
  }
};

/// Sum over outputs and rows of n/2 ln(residual variance): what a Gaussian fit of these rows costs.
double region_cost(const FitSums& sums) {
  mat penalised = sums.gram;
  penalised.diag() += 1e-3 * sums.rows + 1e-6;
  const SpdFactor factor(penalised);
  const double p = static_cast<double>(sums.gram.n_cols), outputs = static_cast<double>(sums.cross.n_cols);
  double cost = 0;
  for (uword j = 0; j < sums.cross.n_cols; ++j) {
    const vec w = factor.solve(sums.cross.col(j));
    const double left = sums.squares[j] - 2 * arma::dot(w, sums.cross.col(j)) + arma::dot(w, sums.gram * w);
    cost += 0.5 * sums.rows * std::log(std::max(left, 0.0) / sums.rows + 1e-4);
  }
  return cost + 0.5 * p * outputs * std::log(sums.rows);
}

struct Cut {
  double gain = 0;
  arma::uvec low, high;
};

/// Gains are measured on so many rows of a region at most; the cut then applies to all of it.
constexpr uword kCutRows = 2000;

arma::uvec some_rows(const arma::uvec& rows, Rng& rng) {
  if (rows.n_elem <= kCutRows) return rows;
  arma::uvec some(kCutRows);
  for (uword& r : some) r = rows[rng.below(rows.n_elem)];
  return some;
}

Cut best_cut(const StartData& data, const arma::uvec& rows, Rng& rng) {
  constexpr int kTrials = 12;
  Cut best;
  const arma::uvec seen = some_rows(rows, rng);
  const uword least = std::max<uword>(5, std::min<uword>(data.design.n_cols, seen.n_elem / 5));
  if (seen.n_elem < 2 * least || data.x.n_cols == 0) return best;
  const mat x = data.x.rows(seen), design = data.design.rows(seen), target = data.target.rows(seen);
  const FitSums sums(design, target);
  const double whole = region_cost(sums);
  best.gain = -arma::datum::inf;
  vec direction;
  double threshold = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const vec along = random_direction(data.x.n_cols, rng);
    const vec score = x * along;
    const arma::uvec order = arma::stable_sort_index(score);
    const uword at = least + rng.below(seen.n_elem - 2 * least + 1);
    const bool few_low = at <= seen.n_elem - at;
    const arma::uvec side = few_low ? order.head(at) : order.tail(seen.n_elem - at);
    const FitSums part(design.rows(side), target.rows(side));
    const double gain = whole - region_cost(part) - region_cost(sums - part);
    if (gain <= best.gain) continue;
    best.gain = gain;
    direction = along;
    threshold = score[order[at]];
  }
  const vec score = data.x.rows(rows) * direction;
  best.low = rows(arma::find(score < threshold));
  best.high = rows(arma::find(score >= threshold));
  if (best.low.is_empty() || best.high.is_empty()) best = Cut{};
  return best;
}

/// Greedy cuts: always the one that gains most among the regions' best.
Regions tree(const StartData& data, uword k, Rng& rng) {
  std::vector<arma::uvec> region{arma::regspace<arma::uvec>(0, data.x.n_rows - 1)};
  std::vector<Cut> cut{best_cut(data, region[0], rng)};
  while (region.size() < k) {
    std::size_t chosen = region.size();
    for (std::size_t r = 0; r < region.size(); ++r)
      if (!cut[r].low.is_empty() && (chosen == region.size() || cut[r].gain > cut[chosen].gain)) chosen = r;
    if (chosen == region.size()) break;
    region.push_back(cut[chosen].high);
    region[chosen] = cut[chosen].low;
    cut.push_back(best_cut(data, region.back(), rng));
    cut[chosen] = best_cut(data, region[chosen], rng);
  }
  Regions out(data.x.n_rows, 0);
  for (std::size_t r = 0; r < region.size(); ++r)
    for (const uword i : region[r]) out[i] = static_cast<std::uint32_t>(r);
  return out;
}

Regions anywhere(uword n, uword k, Rng& rng) {
  Regions region(n);
  for (auto& r : region) r = static_cast<std::uint32_t>(rng.below(k));
  return region;
}

}  // namespace

StartData start_data(const Mixture& mixture, const Schema& schema, const Source& sample) {
  StartData data;
  const uword n = sample.rows();
  const uword classes = mixture.experts->classes();
  data.x.set_size(n, mixture.gate_basis.size() - 1);
  data.design.set_size(n, mixture.expert_basis.size());
  data.target.zeros(n, classes > 0 ? classes : mixture.experts->targets());
  BlockData buffer;
  Batch batch;
  for (std::size_t b = 0; b < sample.blocks(); ++b) {
    const Block block = sample.read(b, buffer);
    mixture.prepare(schema, block, batch);
    const arma::span rows(block.first, block.first + block.rows - 1);
    if (data.x.n_cols > 0) data.x.rows(rows.a, rows.b) = batch.gate_features().tail_cols(data.x.n_cols);
    data.design.rows(rows.a, rows.b) = batch.expert;
    if (classes == 0)
      data.target.rows(rows.a, rows.b) = batch.targets.is_empty() ? mat(batch.target) : batch.targets;
    else
      for (uword i = 0; i < block.rows; ++i)
        data.target(block.first + i, static_cast<uword>(batch.target[i])) = 1;
  }
  if (family_traits(mixture.experts->name()).heavy_tails) hide_outliers(data.target);
  data.target.each_row() -= arma::mean(data.target, 0);
  return data;
}

const std::vector<std::string>& start_kinds() {
  static const std::vector<std::string> kinds{"tree",   "k-means",   "lines",   "joint",
                                              "slices", "residuals", "voronoi", "random"};
  return kinds;
}

const std::vector<std::string>& hierarchy_start_kinds() {
  static const std::vector<std::string> kinds{"grown",   "joint", "grown",  "voronoi",   "tree",
                                              "k-means", "grown", "slices", "residuals", "lines"};
  return kinds;
}

std::vector<std::uint32_t> draw_start(const std::string& kind, const StartData& data, uword k, Rng rng) {
  if (kind == "tree") return tree(data, k, rng);
  if (kind == "k-means") return k_means(data.x, k, rng);
  if (kind == "lines") return lines(data, k, rng);
  if (kind == "joint") return joint(data, k, rng);
  if (kind == "slices") return slices(data.x, k, rng);
  if (kind == "residuals") return residuals(data, k, rng);
  if (kind == "voronoi") return voronoi(data.x, k, rng);
  if (kind == "random") return anywhere(data.x.n_rows, k, rng);
  throw Error(Errc::internal, "there is no kind of start '" + kind + "'");
}

}  // namespace moekit::train
