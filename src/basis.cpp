#include "moekit/basis.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "moekit/error.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

/// " - 3.5" or " + 3.5".
std::string shifted(double knot) {
  char text[40];
  std::snprintf(text, sizeof text, " %c %.6g", knot < 0 ? '+' : '-', std::abs(knot));
  return text;
}

std::string short_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

/// Far outside the training range a feature is held here, so that no product of features is infinite.
constexpr double kFarthest = 1e100;
/// Knots meet but for the rounding of a width.
constexpr double kRounding = 1e-9;

void power_feature(const double* x, uword n, const Term& term, double* out) {
  for (uword i = 0; i < n; ++i) {
    const double u = std::clamp((x[i] - term.knot) / term.width, -kFarthest, kFarthest);
    double power = 1;
    for (std::uint32_t d = 0; d < term.degree; ++d) power = std::clamp(power * u, -kFarthest, kFarthest);
    out[i] = std::isnan(x[i]) ? 0.0 : (power - term.center) / term.scale;
  }
}

void hinge_feature(const double* x, uword n, const Term& term, double* out) {
  for (uword i = 0; i < n; ++i) {
    const double u = std::clamp((x[i] - term.knot) / term.width, 0.0, kFarthest);
    out[i] = std::isnan(x[i]) ? 0.0 : (u - term.center) / term.scale;
  }
}

void ramp_feature(const double* x, uword n, const Term& term, double* out) {
  for (uword i = 0; i < n; ++i) {
    const double u = std::clamp((x[i] - term.knot) / term.width, 0.0, 1.0);
    out[i] = std::isnan(x[i]) ? 0.0 : (u - term.center) / term.scale;
  }
}

void missing_feature(const double* x, uword n, double center, double* out) {
  for (uword i = 0; i < n; ++i) out[i] = (std::isnan(x[i]) ? 1.0 : 0.0) - center;
}

/// Does ramp b go on where ramp a ends? A gap is no harm, an overlap is.
bool follows(const Term& a, const Term& b) {
  return a.kind == Term::Kind::ramp && a.column == b.column && b.knot - a.knot >= a.width * (1 - kRounding);
}

/// The ramps that end a basis.
std::vector<RampRun> runs_of(const std::vector<Term>& terms) {
  std::size_t first = terms.size();
  while (first > 0 && terms[first - 1].kind == Term::Kind::ramp) --first;
  std::vector<RampRun> runs;
  for (std::size_t j = first; j < terms.size(); ++j) {
    const Term& t = terms[j];
    if (j == first || !follows(terms[j - 1], t)) {
      runs.emplace_back();
      runs.back().column = t.column;
      runs.back().first = j;
    }
    runs.back().knot.push_back(t.knot);
    runs.back().width.push_back(t.width);
    runs.back().center.push_back(t.center);
    runs.back().scale.push_back(t.scale);
  }
  return runs;
}

/// A code beyond the known levels stands for a value that training never saw: it counts as the average row.
void level_feature(const std::uint32_t* code, uword n, std::uint32_t level, std::uint32_t last, double center,
                   double* out) {
  for (uword i = 0; i < n; ++i) out[i] = code[i] > last ? 0.0 : (code[i] == level ? 1.0 : 0.0) - center;
}

}  // namespace

Basis::Basis(std::vector<Term> terms) : terms_(std::move(terms)), runs_(runs_of(terms_)) {}

void Basis::features(const Schema& schema, const Block& block, mat& out) const {
  columns(schema, block, size(), out);
}

void Basis::features(const Schema& schema, const Block& block, mat& out, RampPositions& ramps) const {
  columns(schema, block, whole(), out);
  ramps.runs = runs_;
  ramps.piece.resize(block.rows * runs_.size());
  ramps.along.resize(block.rows * runs_.size());
  for (std::size_t r = 0; r < runs_.size(); ++r) {
    const double* x = block.numeric_column(schema.inputs[runs_[r].column].index);
    for (uword i = 0; i < block.rows; ++i)
      runs_[r].find(x[i], ramps.piece[i + r * block.rows], ramps.along[i + r * block.rows]);
  }
}

void Basis::columns(const Schema& schema, const Block& block, uword count, mat& out) const {
  out.set_size(block.rows, count);
  for (uword j = 0; j < count; ++j) {
    const Term& term = terms_[j];
    double* to = out.colptr(j);
    if (term.kind == Term::Kind::intercept) {
      std::fill(to, to + block.rows, 1.0);
      continue;
    }
    const Column& column = schema.inputs[term.column];
    const double* x = term.kind == Term::Kind::level ? nullptr : block.numeric_column(column.index);
    if (term.kind == Term::Kind::level) {
      const auto levels = static_cast<std::uint32_t>(column.levels.size());
      const std::uint32_t last = column.missing > 0 ? levels : levels - 1;
      level_feature(block.level_column(column.index), block.rows, term.level, last, term.center, to);
    } else if (term.kind == Term::Kind::missing) {
      missing_feature(x, block.rows, term.center, to);
    } else if (term.kind == Term::Kind::power) {
      power_feature(x, block.rows, term, to);
    } else if (term.kind == Term::Kind::hinge) {
      hinge_feature(x, block.rows, term, to);
    } else if (term.kind == Term::Kind::ramp) {
      ramp_feature(x, block.rows, term, to);
    } else {
      simd::standardise(x, block.rows, term.center, term.scale, kFarthest, to);
    }
  }
}

std::vector<uword> Basis::groups() const {
  std::vector<uword> groups;
  std::map<std::pair<bool, std::uint32_t>, uword> of_column;  // levels or curve of a column
  uword next = 1;
  const auto linear = [](const Term& t) {
    return t.kind == Term::Kind::numeric || t.kind == Term::Kind::missing;
  };
  if (std::any_of(terms_.begin(), terms_.end(), linear)) ++next;
  for (const Term& term : terms_) {
    if (term.kind == Term::Kind::intercept) {
      groups.push_back(0);
    } else if (linear(term)) {
      groups.push_back(1);
    } else {
      const auto [at, added] = of_column.try_emplace({term.kind == Term::Kind::level, term.column}, next);
      next += added;
      groups.push_back(at->second);
    }
  }
  return groups;
}

std::string Basis::name(const Schema& schema, uword j) const {
  const Term& term = terms_[j];
  if (term.kind == Term::Kind::intercept) return "intercept";
  const Column& column = schema.inputs[term.column];
  if (term.kind == Term::Kind::numeric) return column.name;
  if (term.kind == Term::Kind::hinge) return "max(0, " + column.name + shifted(term.knot) + ")";
  if (term.kind == Term::Kind::ramp)
    return "ramp(" + column.name + ", " + short_text(term.knot) + " to " +
           short_text(term.knot + term.width) + ")";
  if (term.kind == Term::Kind::power)
    return "(" + column.name + shifted(term.knot) + ")^" + std::to_string(term.degree);
  if (term.kind == Term::Kind::missing || term.level == column.levels.size())
    return column.name + " is missing";
  return column.name + " = " + column.levels[term.level];
}

vec Basis::in_input_units(const vec& coefficients) const {
  vec out = coefficients;
  for (uword j = 0; j < size(); ++j) {
    const Term& term = terms_[j];
    if (term.kind == Term::Kind::intercept) continue;
    const double unit = coefficients[j] / term.scale;
    out[j] = unit;
    if (term.kind == Term::Kind::hinge) out[j] /= term.width;
    if (term.kind == Term::Kind::power) out[j] /= std::pow(term.width, term.degree);
    out[0] -= unit * term.center;
  }
  return out;
}

namespace {

/// A spread that is only the rounding of the values carries nothing.
bool has_spread(const Column& column) {
  const double size = std::max(std::abs(column.min), std::abs(column.max));
  return column.max > column.min && column.sd > 1e-14 * size;
}

void add_numeric_terms(const Column& column, std::uint32_t index, std::vector<Term>& terms) {
  if (column.missing < 1 && has_spread(column))
    terms.push_back({Term::Kind::numeric, index, 0, column.mean, column.sd});
  if (column.missing > 0 && column.missing < 1)
    terms.push_back({Term::Kind::missing, index, 0, column.missing, 1});
}

void add_level_terms(const Column& column, std::uint32_t index, bool all_levels, std::vector<Term>& terms) {
  if (occurring(column.shares) < 2) return;
  const auto most = static_cast<std::uint32_t>(std::max_element(column.shares.begin(), column.shares.end()) -
                                               column.shares.begin());
  for (std::uint32_t level = 0; level < column.shares.size(); ++level) {
    if (column.shares[level] <= 0 || (!all_levels && level == most)) continue;
    terms.push_back({Term::Kind::level, index, level, column.shares[level], 1});
  }
}

}  // namespace

Basis linear_basis(const Schema& schema, const std::vector<std::string>& columns, bool all_levels) {
  std::vector<Term> terms{Term{}};
  const auto wanted = [&](const Column& c) {
    return columns.empty() || std::find(columns.begin(), columns.end(), c.name) != columns.end();
  };
  for (const std::string& name : columns) {
    if (schema.find(name)) continue;
    std::vector<std::string> known;
    for (const Column& c : schema.inputs) known.push_back(c.name);
    const std::string near = nearest_name(name, known);
    throw Error(Errc::usage, "there is no input column '" + name + "'" +
                                 (near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
  for (std::uint32_t i = 0; i < schema.inputs.size(); ++i) {
    const Column& column = schema.inputs[i];
    if (!wanted(column)) continue;
    if (column.kind == ColumnKind::numeric)
      add_numeric_terms(column, i, terms);
    else
      add_level_terms(column, i, all_levels, terms);
  }
  return Basis(std::move(terms));
}

}  // namespace moekit
