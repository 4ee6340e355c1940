#pragma once
#include <algorithm>

namespace moekit {

/// The evidence's update of the precision of a group of slopes (MacKay 1992): effective / size, where size is
/// their squared length, held between `least` and a precision that leaves no slope.
inline double evidence_precision(double effective, double size, double least) {
  constexpr double kMost = 1e6;
  return std::clamp(effective / std::max(size, 1e-300), least, kMost);
}

}  // namespace moekit
