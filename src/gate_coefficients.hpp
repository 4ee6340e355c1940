#pragma once
#include <vector>

#include "moekit/diagnose.hpp"

namespace moekit {

/// What the gate says, in the units of the data: one entry a feature of each of its forms.
void add_gate_coefficients(const Model& model, std::vector<Coefficient>& to);

}  // namespace moekit
