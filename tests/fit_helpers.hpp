#pragma once
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "moekit/fit.hpp"
#include "moekit/rng.hpp"
#include "shapes.hpp"

/// Tables made from matrices, and models compared number by number: for tests of everything that fits.
namespace moekit::fit_testing {

/// Columns of a table as matrices. `classes` above zero: `y` holds codes of that many classes.
struct Columns {
  mat x;       ///< n x numeric inputs; NaN = missing
  vec y;       ///< n
  vec weight;  ///< n, or empty: all 1
  uword classes = 0;
  arma::umat levels = {};               ///< n x categorical inputs; code = number of levels: missing
  std::vector<uword> level_count = {};  ///< levels of each categorical input
};

/// A measured table: inputs x1, x2, ... and c1, c2, ...; target y.
struct Rows {
  Schema schema;
  MemorySource source;
};

inline MemorySource to_source(const Columns& c) {
  MemorySource source;
  for (uword begin = 0; begin < c.y.n_elem; begin += kBlockRows) {
    BlockData block;
    block.rows = std::min<uword>(kBlockRows, c.y.n_elem - begin);
    const uword end = begin + block.rows;
    for (uword j = 0; j < c.x.n_cols; ++j)
      for (uword i = begin; i < end; ++i) block.numeric.push_back(c.x(i, j));
    for (uword j = 0; j < c.levels.n_cols; ++j)
      for (uword i = begin; i < end; ++i) block.levels.push_back(static_cast<std::uint32_t>(c.levels(i, j)));
    for (uword i = begin; i < end; ++i) block.target.push_back(c.y[i]);
    if (!c.weight.is_empty())
      for (uword i = begin; i < end; ++i) block.weight.push_back(c.weight[i]);
    source.push(std::move(block));
  }
  return source;
}

inline Rows to_rows(const Columns& c) {
  Rows rows{{}, to_source(c)};
  for (uword j = 0; j < c.x.n_cols; ++j) {
    Column column;
    column.name = "x" + std::to_string(j + 1);
    column.index = static_cast<std::uint32_t>(j);
    rows.schema.inputs.push_back(column);
  }
  for (uword j = 0; j < c.levels.n_cols; ++j) {
    Column column;
    column.name = "c" + std::to_string(j + 1);
    column.kind = ColumnKind::categorical;
    column.index = static_cast<std::uint32_t>(j);
    for (uword l = 0; l < c.level_count[j]; ++l) column.levels.push_back("level" + std::to_string(l));
    rows.schema.inputs.push_back(column);
  }
  rows.schema.target.name = "y";
  rows.schema.target.task = c.classes > 0 ? Task::classification : Task::regression;
  for (uword k = 0; k < c.classes; ++k) rows.schema.target.labels.push_back("class" + std::to_string(k));
  measure(rows.schema, rows.source);
  return rows;
}

inline mat normal_matrix(uword rows, uword columns, Rng rng) {
  mat out(rows, columns);
  for (double& v : out) v = rng.normal();
  return out;
}

/// n rows of d standard normal inputs; the first cuts them into `regions` slices of equal size with a plane
/// of slopes and a noise of its own (regression), or a logit of its own (classification).
inline Columns piecewise(uword n, uword d, uword regions, std::uint64_t seed, uword classes = 0) {
  Rng rng(seed, 0x9e1ece);
  Columns c{normal_matrix(n, d, Rng(seed, 0x9e1ecf)), vec(n), {}, classes};
  const mat slope = 2 * normal_matrix(1 + d, regions * std::max<uword>(1, classes), Rng(seed, 0x9e1ed0));
  for (uword i = 0; i < n; ++i) {
    const double rank = 0.5 * std::erfc(-c.x(i, 0) / std::sqrt(2.0));
    const uword r = std::min(regions - 1, static_cast<uword>(rank * static_cast<double>(regions)));
    const auto plane = [&](uword k) { return slope(0, k) + arma::dot(c.x.row(i), slope.col(k).tail(d)); };
    if (classes == 0) {
      c.y[i] = plane(r) + (0.2 + 0.1 * static_cast<double>(r)) * rng.normal();
      continue;
    }
    double best = -arma::datum::inf;  // Gumbel's trick draws from the softmax
    for (uword k = 0; k < classes; ++k) {
      const double value = plane(r * classes + k) - std::log(-std::log(rng.uniform()));
      if (value > best) {
        best = value;
        c.y[i] = static_cast<double>(k);
      }
    }
  }
  return c;
}

/// The slice of each row along the first input: a starting region that follows rows when they are permuted.
inline std::vector<std::uint32_t> slices(const Columns& c, uword regions) {
  const arma::uvec order = arma::stable_sort_index(c.x.col(0).eval());
  std::vector<std::uint32_t> region(c.y.n_elem);
  for (uword i = 0; i < order.n_elem; ++i)
    region[order[i]] = static_cast<std::uint32_t>(i * regions / order.n_elem);
  return region;
}

/// The rows `index` (repeated, permuted, left out) without weights.
inline Columns pick(const Columns& c, const arma::uvec& index) {
  Columns out{c.x.rows(index), c.y.elem(index), {}, c.classes, {}, c.level_count};
  if (!c.levels.is_empty()) out.levels = c.levels.rows(index);
  if (!c.weight.is_empty()) out.weight = c.weight.elem(index);
  return out;
}

inline std::vector<std::uint32_t> pick(const std::vector<std::uint32_t>& region, const arma::uvec& index) {
  std::vector<std::uint32_t> out;
  for (const uword i : index) out.push_back(region[i]);
  return out;
}

/// A random order of 0 .. n - 1.
inline arma::uvec shuffled(uword n, std::uint64_t seed) {
  Rng rng(seed, 0x5f0ff1e);
  arma::uvec order = arma::regspace<arma::uvec>(0, 1, n - 1);
  for (uword i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

/// Options for a ridge as the command line takes it: negative stands for `auto`.
inline FitOptions options(uword experts, double ridge, int restarts = 10) {
  FitOptions o;
  o.experts = experts;
  o.restarts = restarts;
  o.ridge_mode = ridge < 0 ? Penalty::Mode::evidence : Penalty::Mode::fixed;
  o.ridge = std::max(0.0, ridge);
  return o;
}

/// Sets the values of the field `name` so that `read`, linear in them, gives `wanted`: tests need not know
/// how a family keeps its coefficients.
template <class Read>
void set_field(std::vector<Field> fields, std::string_view name, const mat& wanted, const Read& read) {
  for (Field& f : fields) {
    if (f.name != name || f.values.empty()) continue;
    mat map(wanted.n_elem, f.values.size());
    for (std::size_t i = 0; i < f.values.size(); ++i) {
      std::fill(f.values.begin(), f.values.end(), 0.0);
      f.values[i] = 1;
      map.col(i) = arma::vectorise(read());
    }
    const vec solution = arma::solve(map.t() * map, map.t() * arma::vectorise(wanted));
    std::copy(solution.begin(), solution.end(), f.values.begin());
  }
}

/// theta: p x K on the features; what all columns share does not matter.
inline void place_gate(GateFamily& gate, const mat& theta) {
  const mat centred = theta.each_col() - vec(arma::mean(theta, 1));
  set_field(gate.fields(), "contrasts", centred, [&] { return gate.coefficients(); });
}

/// w: p x outputs on the features.
inline void place_expert(ExpertFamily& experts, uword k, const mat& w) {
  set_field(experts.fields(k), "coefficients", w, [&] { return experts.coefficients(k); });
}

inline void place_noise(ExpertFamily& experts, uword k, double noise) {
  for (Field& f : experts.fields(k))
    if (f.name == "noise") f.values[0] = noise;
}

/// Coefficients on raw inputs (intercept first) as coefficients on the features of a basis of numeric terms.
inline vec on_features(const Basis& basis, const vec& raw) {
  vec out = raw;
  for (uword j = 1; j < basis.size(); ++j) {
    out[0] += raw[j] * basis.terms()[j].center;
    out[j] = raw[j] * basis.terms()[j].scale;
  }
  return out;
}

/// A Gaussian mixture with parameters in the units of the data: w, v (1 + inputs) x K, sigma K; all numeric.
inline Model place(const Schema& schema, const Basis& basis, const mat& w, const vec& sigma, const mat& v) {
  Model model;
  model.schema = schema;
  model.family = "gaussian";
  model.gate_family = "softmax";
  Mixture m;
  m.gate_basis = m.expert_basis = basis;
  m.gate = Value<GateFamily>(make_gate("softmax", gate_shape(sigma.n_elem, basis.size())));
  m.experts = Value<ExpertFamily>(make_experts("gaussian", expert_shape(sigma.n_elem, basis.size(), 0)));
  mat theta(basis.size(), sigma.n_elem);
  for (uword k = 0; k < sigma.n_elem; ++k) {
    theta.col(k) = on_features(basis, v.col(k));
    vec own = on_features(basis, w.col(k));
    own[0] -= schema.target.mean;
    place_expert(*m.experts, k, own / schema.target.sd);
    place_noise(*m.experts, k, sigma[k] / schema.target.sd);
  }
  if (sigma.n_elem > 1) place_gate(*m.gate, theta);
  model.members.push_back(m);
  return model;
}

/// All numbers of a mixture.
inline std::vector<double> numbers(Mixture m) {
  std::vector<double> all;
  for (const Field& f : m.fields()) all.insert(all.end(), f.values.begin(), f.values.end());
  return all;
}

inline bool all_finite(const std::vector<double>& values) {
  for (const double v : values)
    if (!std::isfinite(v)) return false;
  return true;
}

inline bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

/// Mean of the predictive mixture (regression), or the probability of every class: n x outputs.
inline mat predictions(const Model& model, const Source& source) {
  const Mixture& m = model.members.front();
  const uword outputs = std::max<uword>(1, m.experts->classes());
  mat out(source.rows(), outputs, arma::fill::zeros);
  BlockData buffer;
  Posterior work;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    const Block block = source.read(b, buffer);
    gate_weights(m, model.schema, block, work);
    if (m.experts->classes() > 0) {
      arma::cube probability;
      m.experts->class_probabilities(work.batch, probability);
      for (uword i = 0; i < block.rows; ++i)
        for (uword c = 0; c < outputs; ++c)
          for (uword k = 0; k < m.count(); ++k)
            out(block.first + i, c) += work.gate(i, k) * probability(i, c, k);
    } else {
      mat mean, sd;
      m.experts->moments(work.batch, mean, sd);
      const Target& t = model.schema.target;
      for (uword i = 0; i < block.rows; ++i)
        out(block.first + i, 0) = t.mean + t.sd * arma::dot(work.gate.row(i), mean.row(i));
    }
  }
  return out;
}

}  // namespace moekit::fit_testing
