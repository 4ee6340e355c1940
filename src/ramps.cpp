#include "moekit/ramps.hpp"

#include <algorithm>
#include <cmath>

namespace moekit {

void RampRun::find(double x, std::uint32_t& piece, double& along) const {
  const auto after = std::upper_bound(knot.begin(), knot.end(), x);
  const std::size_t at = after == knot.begin() ? 0 : static_cast<std::size_t>(after - knot.begin() - 1);
  piece = static_cast<std::uint32_t>(std::isnan(x) ? 0 : at);
  along = std::clamp((x - knot[piece]) / width[piece], 0.0, 1.0);
}

}  // namespace moekit
