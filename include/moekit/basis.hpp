#pragma once
#include <span>
#include <string>
#include <vector>

#include "moekit/schema.hpp"

namespace moekit {

/// One column of the features that a gate or an expert sees.
/// Its value is (raw - center) / scale; a value that is not known counts as the center, so it adds nothing.
struct Term {
  enum class Kind {
    intercept,  ///< 1
    numeric,    ///< the value of a numeric input
    missing,    ///< 1 where a numeric input has no value
    level,      ///< 1 where a categorical input has this level
  };
  Kind kind = Kind::intercept;
  std::uint32_t column = 0;  ///< index into Schema::inputs
  std::uint32_t level = 0;
  double center = 0, scale = 1;
  bool operator==(const Term&) const = default;
};

/// What a gate or an expert sees of a row: p features, the intercept first. Numeric inputs are standardised,
/// levels are centred only, so that a penalty means the same for every input and user's units never matter.
class Basis {
 public:
  Basis() = default;
  explicit Basis(std::vector<Term> terms) : terms_(std::move(terms)) {}

  const std::vector<Term>& terms() const { return terms_; }
  uword size() const { return terms_.size(); }  ///< p
  bool operator==(const Basis&) const = default;
  /// out: n x p.
  void features(const Schema& schema, const Block& block, mat& out) const;
  /// Name of feature j: "intercept", "age", "age is missing", "sex = Male".
  std::string name(const Schema& schema, uword j) const;
  /// Coefficients on the features (p) as coefficients in the units of the inputs (p): level effects stay
  /// deviations from the average row; the intercept is where all numeric inputs are zero.
  vec in_input_units(const vec& coefficients) const;

 private:
  std::vector<Term> terms_;
};

/// Linear in the named inputs (all if `columns` is empty), which must exist. With `all_levels` each level of
/// a category has its feature (penalised fits: effects shrink to the average); without, the most frequent
/// level has none, so that the features are not collinear (exact maximum likelihood).
/// Inputs without spread in training are left out.
Basis linear_basis(const Schema& schema, const std::vector<std::string>& columns, bool all_levels);

}  // namespace moekit
