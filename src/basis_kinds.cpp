// Bases that bend: powers, and piecewise-linear curves.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "moekit/basis.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

/// Quantiles are those of so many rows, spread over the table.
constexpr std::uint64_t kQuantileRows = 20000;

/// Pieces of each curve unless told: more rows bear more. Of additive curves the smoothness prior takes back
/// what is too much; networks stop early, and take finer ramps (docs/defaults.md has what was measured).
std::uint32_t default_bins(std::uint64_t rows, BasisKind::Form form) {
  const auto n = static_cast<double>(rows);
  return static_cast<std::uint32_t>(form == BasisKind::Form::ramps
                                        ? std::clamp(std::lround(0.5 * std::sqrt(n)), 8l, 48l)
                                        : std::clamp(std::lround(1.2 * std::cbrt(n)), 5l, 12l));
}

/// Present values of each numeric input that gets a curve, sorted; every `stride`-th row.
std::vector<std::vector<double>> sorted_values(const Schema& schema, const Source& source) {
  std::vector<std::vector<double>> values(schema.inputs.size());
  const std::uint64_t stride = std::max<std::uint64_t>(1, source.rows() / kQuantileRows);
  BlockData buffer;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    const Block block = source.read(b, buffer);
    for (std::size_t j = 0; j < schema.inputs.size(); ++j) {
      const Column& column = schema.inputs[j];
      if (column.kind != ColumnKind::numeric) continue;
      const double* x = block.numeric_column(column.index);
      for (uword i = (stride - block.first % stride) % stride; i < block.rows; i += stride)
        if (!std::isnan(x[i])) values[j].push_back(x[i]);
    }
  }
  for (auto& v : values) std::sort(v.begin(), v.end());
  return values;
}

/// Inner knots: quantiles between the pieces, at most one for each distinct value, never at an end.
std::vector<double> knots_of(const std::vector<double>& sorted, std::uint32_t bins) {
  std::vector<double> knots;
  if (sorted.empty()) return knots;
  std::vector<double> distinct = sorted;
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  if (distinct.size() <= bins + 1) {  // few values: a knot at every inner one
    knots.assign(distinct.begin() + 1, distinct.end() - (distinct.size() > 1 ? 1 : 0));
    return knots;
  }
  for (std::uint32_t b = 1; b < bins; ++b) {
    const double at = static_cast<double>(b) / bins * static_cast<double>(distinct.size() - 1);
    knots.push_back(distinct[static_cast<std::size_t>(at)]);
  }
  return knots;
}

/// One hinge a knot. A random walk of the slope moves by a variance in proportion to the gap between knots:
/// features are scaled by its root, so that one precision serves all.
void add_hinges(const Term& linear, const std::vector<double>& sorted, std::uint32_t bins,
                std::vector<Term>& terms) {
  const std::vector<double> knots = knots_of(sorted, bins);
  for (std::size_t i = 0; i < knots.size(); ++i) {
    Term t{Term::Kind::hinge, linear.column, 0, 0, 1};
    t.knot = knots[i];
    t.width = linear.scale;
    const double before = i > 0 ? knots[i - 1] : sorted.front();
    const double after = i + 1 < knots.size() ? knots[i + 1] : sorted.back();
    const double gap = 0.5 * (after - before) / t.width;
    double sum = 0;
    for (const double x : sorted) sum += std::max(0.0, (x - t.knot) / t.width);
    t.center = sum / static_cast<double>(sorted.size());
    t.scale = 1 / std::sqrt(gap);
    if (std::isfinite(t.scale)) terms.push_back(t);
  }
}

/// One ramp between neighbouring knots, the ends of the data among them, standardised.
void add_ramps(const Term& linear, const std::vector<double>& sorted, std::uint32_t bins,
               std::vector<Term>& terms) {
  std::vector<double> knots = knots_of(sorted, bins);
  knots.insert(knots.begin(), sorted.front());
  knots.push_back(sorted.back());
  for (std::size_t i = 0; i + 1 < knots.size(); ++i) {
    Term t{Term::Kind::ramp, linear.column, 0, 0, 1};
    t.knot = knots[i];
    t.width = knots[i + 1] - knots[i];
    double sum = 0, squares = 0;
    for (const double x : sorted) sum += std::clamp((x - t.knot) / t.width, 0.0, 1.0);
    t.center = sum / static_cast<double>(sorted.size());
    for (const double x : sorted)
      squares += std::pow(std::clamp((x - t.knot) / t.width, 0.0, 1.0) - t.center, 2);
    t.scale = std::sqrt(squares / static_cast<double>(sorted.size()));
    if (t.scale > 1e-10 && std::isfinite(t.scale)) terms.push_back(t);
  }
}

void add_powers(const Term& linear, const std::vector<double>& sorted, std::uint32_t degree,
                std::vector<Term>& terms) {
  for (std::uint32_t d = 2; d <= degree; ++d) {
    Term t{Term::Kind::power, linear.column, 0, 0, 1};
    t.knot = linear.center;
    t.width = linear.scale;
    t.degree = d;
    double sum = 0, squares = 0;
    for (const double x : sorted) sum += std::pow((x - t.knot) / t.width, d);
    t.center = sum / static_cast<double>(sorted.size());
    for (const double x : sorted) squares += std::pow(std::pow((x - t.knot) / t.width, d) - t.center, 2);
    t.scale = std::sqrt(squares / static_cast<double>(sorted.size()));
    if (t.scale > 1e-10 && std::isfinite(t.scale)) terms.push_back(t);
  }
}

}  // namespace

BasisKind parse_basis(std::string_view text) {
  using Form = BasisKind::Form;
  if (text == "constant") return {Form::constant};
  if (text == "linear") return {Form::linear};
  if (text == "additive") return {Form::additive};
  if (text == "ramps") return {Form::ramps};
  if (text.starts_with("poly:")) {
    std::uint32_t degree = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 5, end, degree);
    if (error == std::errc{} && stop == end && degree >= 2 && degree <= kMostDegree)
      return {Form::polynomial, degree};
  }
  throw Error(Errc::usage,
              "'" + std::string(text) +
                  "' is no basis; known: constant, linear, poly:P (P from 2 to 9), additive, ramps");
}

Basis make_basis(const BasisKind& kind, const Schema& schema, const Source& source,
                 const std::vector<std::string>& columns, bool all_levels) {
  const Basis linear = linear_basis(schema, columns, all_levels);
  if (kind.form == BasisKind::Form::linear) return linear;
  if (kind.form == BasisKind::Form::constant) return Basis({Term{}});
  std::vector<Term> terms = linear.terms();
  const auto values = sorted_values(schema, source);
  const std::uint32_t bins = kind.bins > 0 ? kind.bins : default_bins(source.rows(), kind.form);
  for (const Term& t : linear.terms()) {
    if (t.kind != Term::Kind::numeric || values[t.column].empty()) continue;
    if (kind.form == BasisKind::Form::additive)
      add_hinges(t, values[t.column], bins, terms);
    else if (kind.form == BasisKind::Form::ramps)
      add_ramps(t, values[t.column], bins, terms);
    else
      add_powers(t, values[t.column], kind.degree, terms);
  }
  return Basis(std::move(terms));
}

}  // namespace moekit
