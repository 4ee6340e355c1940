#pragma once
#include "moekit/gate.hpp"

namespace moekit {

/// An intercept and slopes that share one prior.
inline std::vector<uword> linear_groups(uword features) {
  std::vector<uword> groups(features, 1);
  groups[0] = 0;
  return groups;
}
inline ExpertShape expert_shape(uword experts, uword features, uword classes, uword noise_features = 1) {
  return {experts, linear_groups(features), linear_groups(noise_features), classes};
}
inline GateShape gate_shape(uword experts, uword features) { return {experts, linear_groups(features)}; }

}  // namespace moekit
