#pragma once
#include <string>
#include <string_view>

namespace moekit::csv {

/// A text that a reader would take for a number but that is not one here.
enum class Disguise {
  none,
  infinity,
  too_large,
  too_small,
  hexadecimal,
  unit,
  currency,
  thousands,
  decimal_mark,
  per_cent,
  fortran,
  parentheses,
  minus_sign
};

/// `text` without blanks around it, not a number. Ordinals (11th) and ranges (18-25) are labels, not numbers.
Disguise find_disguise(std::string_view text, char decimal);

/// What is wrong with it and what to do, to follow the value: "has a unit; ...".
std::string explain_disguise(Disguise disguise, char decimal);

}  // namespace moekit::csv
