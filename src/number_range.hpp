#pragma once
#include <limits>
#include <vector>

#include "moekit/schema.hpp"
#include "moekit/source.hpp"

namespace moekit {

/// Least and greatest present value of a column.
struct NumberRange {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  // Halves first, so that the largest numbers do not overflow.
  double centre() const { return min / 2 + max / 2; }
  double half() const { return max - centre() > centre() - min ? max - centre() : centre() - min; }
  bool empty() const { return min > max; }
};

/// As measure() of schema.hpp, by a reader that has seen the least and greatest values already: those of the
/// numeric inputs, then of the targets.
void measure(Schema& schema, const Source& source, const Compute& compute,
             const std::vector<NumberRange>& seen);

}  // namespace moekit
