#pragma once
#include <span>
#include <string>
#include <vector>

#include "moekit/ramps.hpp"
#include "moekit/schema.hpp"

namespace moekit {

/// Highest power of a polynomial basis.
inline constexpr std::uint32_t kMostDegree = 9;

/// One column of the features that a gate or an expert sees.
/// Its value is (raw - center) / scale; a value that is not known counts as the center, so it adds nothing.
/// Of powers, hinges and ramps raw is a function of u = (x - knot) / width.
struct Term {
  enum class Kind {
    intercept,  ///< 1
    numeric,    ///< the value of a numeric input
    missing,    ///< 1 where a numeric input has no value
    level,      ///< 1 where a categorical input has this level
    power,      ///< u^degree
    hinge,      ///< max(0, u): a change of slope at the knot
    ramp,       ///< u between 0 and 1, flat outside: how far the value has come between two knots
  };
  Kind kind = Kind::intercept;
  std::uint32_t column = 0;  ///< index into Schema::inputs
  std::uint32_t level = 0;
  double center = 0, scale = 1;
  double knot = 0, width = 1;  ///< powers, hinges and ramps
  std::uint32_t degree = 1;    ///< powers
  bool operator==(const Term&) const = default;
};
/// Is the feature a curved function of its input?
inline bool bends(const Term& t) {
  return t.kind == Term::Kind::power || t.kind == Term::Kind::hinge || t.kind == Term::Kind::ramp;
}

/// What a gate or an expert sees of a row: p features, the intercept first. Numeric inputs are standardised,
/// levels are centred only, so that a penalty means the same for every input and user's units never matter.
class Basis {
 public:
  Basis() : terms_(1) {}  ///< constant
  explicit Basis(std::vector<Term> terms);

  const std::vector<Term>& terms() const { return terms_; }
  uword size() const { return terms_.size(); }  ///< p
  bool operator==(const Basis&) const = default;
  /// out: n x p.
  void features(const Schema& schema, const Block& block, mat& out) const;
  /// The same in short, where ramps end the basis: out is n x whole(), the features before the ramps.
  void features(const Schema& schema, const Block& block, mat& out, RampPositions& ramps) const;
  /// The ramps that end the basis, and the number of features before them.
  std::span<const RampRun> runs() const { return runs_; }
  uword whole() const { return runs_.empty() ? size() : runs_.front().first; }
  /// For each feature the group that shares a prior: 0 the intercept, 1 the linear terms, then one group for
  /// each category's levels and one for the powers or hinges of each input.
  std::vector<uword> groups() const;
  /// Name of feature j: "intercept", "age", "age is missing", "sex = Male", "(age - 40)^2", "max(0, age -
  /// 30)".
  std::string name(const Schema& schema, uword j) const;
  /// Coefficients on the features (p) as coefficients in the units of the inputs (p), with the same sum for a
  /// row. The intercept is where all numeric inputs are zero, with what the average level and missing cell
  /// add.
  vec in_input_units(const vec& coefficients) const;

 private:
  void columns(const Schema& schema, const Block& block, uword count, mat& out) const;

  std::vector<Term> terms_;
  std::vector<RampRun> runs_;
};

/// Linear in the named inputs (all if `columns` is empty), which must exist. With `all_levels` each level of
/// a category has its feature (penalised fits: effects shrink to the average); without, the most frequent
/// level has none, so that the features are not collinear (exact maximum likelihood).
/// Inputs without spread in training are left out.
Basis linear_basis(const Schema& schema, const std::vector<std::string>& columns, bool all_levels);

/// What a gate or an expert may see of its inputs.
struct BasisKind {
  enum class Form { constant, linear, polynomial, additive, ramps };
  Form form = Form::linear;
  std::uint32_t degree = 2;  ///< polynomial
  std::uint32_t bins = 0;    ///< additive, ramps: pieces of each curve; 0: by the number of rows
  bool operator==(const BasisKind&) const = default;
};
/// "constant", "linear", "poly:P" (P = 2 .. 9), "additive", "ramps". Errors: Errc::usage.
BasisKind parse_basis(std::string_view text);

/// The features of a kind on the named inputs (all if `columns` is empty). Additive: each numeric input has
/// its linear term and hinges at quantiles of the rows, scaled so that equal priors on the changes of slope
/// are a random walk of the slope (a second-difference smoothness prior). Ramps: the linear term and one ramp
/// between neighbouring quantiles, standardised (piecewise-linear encoding: Gorishniy, Rubachev & Babenko
/// 2022), which networks take irregular functions from better than from the value alone.
Basis make_basis(const BasisKind& kind, const Schema& schema, const Source& source,
                 const std::vector<std::string>& columns, bool all_levels);

}  // namespace moekit
