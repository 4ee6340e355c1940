#pragma once
#include <vector>

#include "moekit/model.hpp"

namespace moekit::errors {

/// A run of places in the vector of moving parameters.
struct Part {
  uword begin = 0, size = 0;
  uword end() const { return begin + size; }
};

/// The parameters of a mixture that move, as one vector: those of the gate, then of each expert, in the order
/// of their fields and of the columns of scores(); positive ones by their logarithm.
class Moving {
 public:
  explicit Moving(Mixture mixture);

  uword size() const { return values_.n_elem; }
  const Part& gate() const { return parts_.front(); }
  const Part& expert(uword k) const { return parts_[k + 1]; }
  const std::vector<Part>& parts() const { return parts_; }
  const vec& values() const { return values_; }  ///< of the mixture it was made from
  /// Parameters that stand at a bound: they are not estimated, and have no slope of zero there.
  const std::vector<bool>& at_bound() const { return at_bound_; }
  static void set(Mixture& mixture, const vec& values);

 private:
  std::vector<Part> parts_;
  vec values_;
  std::vector<bool> at_bound_;
};

}  // namespace moekit::errors
