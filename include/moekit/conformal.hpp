#pragma once
#include <cstdint>
#include <vector>

#include "moekit/sum.hpp"

namespace moekit {

struct Model;
struct Prediction;

/// What rows that the fit has not seen say about the width of intervals: split conformal prediction on the
/// predictive distribution (Chernozhukov, Wuethrich, Zhu 2021). With weights, the score's quantiles are
/// weighted (Tibshirani, Foygel Barber, Candes, Ramdas 2019), and the new row counts as the heaviest one.
struct Conformal {
  std::uint64_t rows = 0;  ///< calibration rows; 0: the model is not calibrated
  double heaviest = 0;     ///< largest weight / sum of weights; 1 / rows without weights
  /// Rising: by weight 1/m, 2/m, ..., all of the calibration rows score at most this. m is at most 10,000.
  std::vector<double> scores;

  bool known() const { return rows > 0; }
  /// The score up to which an interval of probability `level` reaches: that of rank ceil((rows + 1) level).
  double threshold(double level) const;
  /// Are there rows enough for this level? If not, threshold() is the largest score, and intervals hold
  /// highest_level() only.
  bool enough(double level) const;
  double highest_level() const { return 1 / (1 + heaviest); }
  bool operator==(const Conformal&) const = default;
};

/// How far out in its prediction the target `y` of a row is: |2 F(y | x) - 1|; for a count, where F has
/// steps, the least level at which the central interval holds y. From 1 on, where tails are under 1e-12 and
/// F is lost in rounding, it is 1 + |y - mean| / sd.
double conformal_score(const Prediction& prediction, uword row, double y);

/// Scores rows with a known target that the fit has not seen. Errors: Errc::usage for classes, Errc::data if
/// there is no such row.
Conformal calibrate(const Model& model, const Source& rows, const Compute& compute = {});

/// Central intervals of probability `level`, units of the target: n x 2, calibrated if the model is.
/// Errors: Errc::usage for a level outside (0, 1), and for classes.
mat intervals(const Model& model, const Block& block, double level);

}  // namespace moekit
