#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "moekit/matrix.hpp"

namespace moekit {

using arma::uword;

/// The ramps of one input that follow one another in a basis: of these a row has climbed all before a piece,
/// is somewhere on that one, and has not begun those after it. Entries stand by ramp, rising.
struct RampRun {
  std::uint32_t column = 0;           ///< index into Schema::inputs
  uword first = 0;                    ///< the feature that is the first ramp; the others follow it
  std::vector<double> knot, width;    ///< where each begins and how long it is, units of the input
  std::vector<double> center, scale;  ///< the feature is (u - center) / scale, u from 0 to 1

  uword count() const { return knot.size(); }
  bool operator==(const RampRun&) const = default;
  /// The piece (0 .. count - 1) that x lies on and how far along it (0 .. 1); along is NaN where x is.
  void find(double x, std::uint32_t& piece, double& along) const;
};

/// Where each row stands on each run of ramps: all that their features say. n x runs, a column a run.
struct RampPositions {
  std::span<const RampRun> runs;  ///< of a basis, which has to live as long
  std::vector<std::uint32_t> piece;
  std::vector<double> along;
};

}  // namespace moekit
