#pragma once
#include <cstddef>
#include <optional>
#include <vector>

namespace moekit {

/// The area under the ROC curve: the share of the pairs (a row of class 1, a row of class 0) in which the
/// first has the larger probability, ties counting half (the Mann-Whitney form). Exact up to kExactRows rows.
/// Beyond, rows are counted in fine bins of the logit of their probability, so that memory does not grow:
/// pairs within a bin count half, and half of their share of all pairs bounds the error.
class CurveArea {
 public:
  static constexpr std::size_t kExactRows = std::size_t{1} << 20;

  void add(double probability, double weight, bool positive);
  /// Adds what another one has seen. The same bits for the same rows in the same order of merging.
  void merge(const CurveArea& later);

  struct Area {
    double value = 0;
    double error = 0;  ///< at most this far off; 0: exact
  };
  /// None if a class has no weight.
  std::optional<Area> area() const;

 private:
  struct Ranked {
    double probability, weight;
    bool positive;
  };
  /// Weight of both classes among the rows of a bin.
  struct Bin {
    double positive = 0, negative = 0;
  };
  static std::size_t bin_of(double probability);
  void count(const Ranked& row);
  void bound_memory();

  std::vector<Ranked> rows_;  // while there are no bins
  std::vector<Bin> bins_;
};

}  // namespace moekit
