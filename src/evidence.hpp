#pragma once
#include <algorithm>

namespace moekit {

/// The evidence's update of the precision of a group of slopes (MacKay 1992): effective / size, where size is
/// their squared length, held between a prior nearly without force and one that leaves no slope.
inline double evidence_precision(double effective, double size) {
  constexpr double kLeast = 1e-3, kMost = 1e6;
  return std::clamp(effective / std::max(size, 1e-300), kLeast, kMost);
}

}  // namespace moekit
