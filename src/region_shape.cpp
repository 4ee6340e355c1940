#include "moekit/region_shape.hpp"

#include <algorithm>
#include <cmath>

#include "moekit/error.hpp"
#include "moekit/flags.hpp"

namespace moekit {

namespace {

/// Far outside the training range a deviation is held here, so that no square is infinite.
constexpr double kFarthest = 1e100;
/// Every region counts so many rows with the spread of all rows: an input that is constant among the few rows
/// of a region must not put all others infinitely far away.
constexpr double kPriorRows = 5;
constexpr double kInside = 0.999;
/// Beyond the farthest training rows by half: where a held-out row of the same table hardly ever is.
constexpr double kMargin = 1.5;

/// Which inputs gate and experts see at all.
std::vector<bool> inputs_used(const Mixture& mixture, const Schema& schema) {
  std::vector<bool> used(schema.inputs.size(), false);
  for (const Basis* basis : {&mixture.gate_basis, &mixture.expert_basis, &mixture.noise_basis})
    for (const Term& term : basis->terms())
      if (term.kind != Term::Kind::intercept) used[term.column] = true;
  return used;
}

/// out: n x d.
void standardise(const RegionShapes& shapes, const Schema& schema, const Block& block, mat& out) {
  out.set_size(block.rows, shapes.columns.size());
  for (uword j = 0; j < out.n_cols; ++j) {
    const Column& column = schema.inputs[shapes.columns[j]];
    const double* x = block.numeric_column(column.index);
    double* to = out.colptr(j);
    for (uword i = 0; i < block.rows; ++i)
      to[i] = std::isnan(x[i]) ? 0.0 : std::clamp((x[i] - column.mean) / column.sd, -kFarthest, kFarthest);
  }
}

/// Least distances to any region: n each.
struct Nearest {
  vec distance, deviation;
};

Nearest nearest_region(const RegionShapes& shapes, const mat& z) {
  const uword n = z.n_rows;
  Nearest out{vec(n), vec(n)};
  out.distance.fill(arma::datum::inf);
  out.deviation.fill(arma::datum::inf);
  vec squares(n), largest(n);
  for (uword k = 0; k < shapes.mean.n_rows; ++k) {
    squares.zeros();
    largest.zeros();
    for (uword j = 0; j < z.n_cols; ++j) {
      const double mean = shapes.mean(k, j), precision = 1 / shapes.sd(k, j);
      const double* x = z.colptr(j);
      for (uword i = 0; i < n; ++i) {
        const double off = std::abs(x[i] - mean) * precision;
        squares[i] += off * off;
        largest[i] = std::max(largest[i], off);
      }
    }
    out.distance = arma::min(out.distance, arma::sqrt(squares));
    out.deviation = arma::min(out.deviation, largest);
  }
  return out;
}

/// Means and spreads of the regions. Inputs are standardised, so their plain moments keep their digits: what
/// cancels is 1e-16 of the square of a mean, far below the prior's part of a variance.
void fill_moments(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
                  RegionShapes& shapes) {
  const uword experts = mixture.count(), d = shapes.columns.size();
  std::vector<double> total(1 + experts * (1 + 2 * d), 0.0);
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>(), z = mat()](const Block& block,
                                                                std::span<double> sums) mutable {
      posterior(mixture, schema, block, *work);
      standardise(shapes, schema, block, z);
      vec weight(block.rows);
      for (uword i = 0; i < block.rows; ++i) weight[i] = block.weight ? block.weight[i] : 1.0;
      sums[0] += arma::accu(weight);
      double* to = &sums[1];
      for (uword k = 0; k < experts; ++k) {
        const vec r = work->responsibility.col(k) % weight;
        *to++ += arma::accu(r);
        for (uword j = 0; j < d; ++j) {
          *to++ += arma::dot(r, z.col(j));
          *to++ += arma::accu(r % arma::square(z.col(j)));
        }
      }
    };
  });
  shapes.mean.zeros(experts, d);
  shapes.sd.ones(experts, d);
  const double rows_a_weight = static_cast<double>(source.rows()) / total[0];
  const double* from = &total[1];
  for (uword k = 0; k < experts; ++k) {
    const double weight = *from++, rows = weight * rows_a_weight;
    for (uword j = 0; j < d; ++j, from += 2) {
      if (!(weight > 0)) continue;  // nobody's region stays at the middle of the table
      const double mean = from[0] / weight, variance = std::max(0.0, from[1] / weight - mean * mean);
      shapes.mean(k, j) = mean;
      shapes.sd(k, j) = std::sqrt((rows * variance + kPriorRows) / (rows + kPriorRows));
    }
  }
}

/// Counts of distances by size, so that a quantile over all rows needs one pass and little memory.
struct Histogram {
  static constexpr std::size_t kBins = 4200;
  static constexpr double kFirst = 1e-6, kStep = 0.01;  // of the logarithm: edges 1 % apart

  static std::size_t bin(double value) {
    if (!(value > kFirst)) return 0;
    return std::min(kBins - 1, 1 + static_cast<std::size_t>(std::log(value / kFirst) / kStep));
  }
  /// Upper edge of the bin that holds the quantile.
  static double quantile(std::span<const double> counts, double level) {
    double all = 0, sum = 0;
    for (const double c : counts) all += c;
    std::size_t b = 0;
    while (b + 1 < kBins && (sum += counts[b]) < level * all) ++b;
    return kFirst * std::exp(kStep * static_cast<double>(b));
  }
};

void fill_limits(const Schema& schema, const Source& source, const Compute& compute, RegionShapes& shapes) {
  std::vector<double> counts(2 * Histogram::kBins, 0.0);
  sum_over(source, compute, counts, [&]() -> Adder {
    return [&, z = mat()](const Block& block, std::span<double> sums) mutable {
      standardise(shapes, schema, block, z);
      const Nearest nearest = nearest_region(shapes, z);
      for (uword i = 0; i < block.rows; ++i) {
        const double w = block.weight ? block.weight[i] : 1.0;
        sums[Histogram::bin(nearest.distance[i])] += w;
        sums[Histogram::kBins + Histogram::bin(nearest.deviation[i])] += w;
      }
    };
  });
  const std::span<const double> all(counts);
  shapes.distance = Histogram::quantile(all.first(Histogram::kBins), kInside);
  shapes.deviation = Histogram::quantile(all.last(Histogram::kBins), kInside);
}

/// Marks rows with a level that no training row had. A new level has the code of a missing value, so where
/// training rows lacked values it can't be told from those.
void mark_unseen_levels(const Mixture& mixture, const Schema& schema, const Block& block, vec& out) {
  const std::vector<bool> used = inputs_used(mixture, schema);
  for (std::size_t c = 0; c < used.size(); ++c) {
    const Column& column = schema.inputs[c];
    if (!used[c] || column.kind != ColumnKind::categorical) continue;
    const std::uint32_t* code = block.level_column(column.index);
    for (uword i = 0; i < block.rows; ++i)
      if (code[i] >= column.shares.size() || !(column.shares[code[i]] > 0)) out[i] = arma::datum::inf;
  }
}

vec member_extrapolation(const Mixture& member, const Schema& schema, const Block& block) {
  const RegionShapes& shapes = member.shapes;
  mat z;
  standardise(shapes, schema, block, z);
  const Nearest nearest = nearest_region(shapes, z);
  vec out(block.rows);
  for (uword i = 0; i < block.rows; ++i)
    out[i] = std::max(nearest.distance[i] / (kMargin * shapes.distance),
                      nearest.deviation[i] / (kMargin * shapes.deviation));
  mark_unseen_levels(member, schema, block, out);
  return out;
}

}  // namespace

void RegionShapes::select(std::span<const uword> from) {
  if (!known()) return;
  const arma::uvec rows(std::vector<uword>(from.begin(), from.end()));
  mean = mat(mean.rows(rows));
  sd = mat(sd.rows(rows));
}

RegionShapes region_shapes(const Mixture& mixture, const Schema& schema, const Source& source,
                           const Compute& compute) {
  RegionShapes shapes;
  const std::vector<bool> used = inputs_used(mixture, schema);
  for (std::uint32_t c = 0; c < used.size(); ++c)
    if (used[c] && schema.inputs[c].kind == ColumnKind::numeric && schema.inputs[c].sd > 0)
      shapes.columns.push_back(c);
  fill_moments(mixture, schema, source, compute, shapes);
  fill_limits(schema, source, compute, shapes);
  return shapes;
}

vec extrapolation(const Model& model, const Block& block) {
  vec out(block.rows);
  out.fill(arma::datum::inf);
  for (const Mixture& member : model.members) {
    if (!member.shapes.known())
      throw Error(Errc::usage,
                  "the model file does not say where its regions lie, so no row can be said to be outside; "
                  "train the model again");
    out = arma::min(out, member_extrapolation(member, model.schema, block));
  }
  return out;
}

arma::uvec out_of_region(const Model& model, const Block& block) {
  const vec far = extrapolation(model, block);
  arma::uvec out(block.rows);
  for (uword i = 0; i < block.rows; ++i) out[i] = far[i] > 1;
  return out;
}

}  // namespace moekit
