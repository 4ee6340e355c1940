#pragma once
#include <memory>

#include "moekit/gate.hpp"

namespace moekit {

// One maker a gate; table.cpp lists them by name.
std::unique_ptr<GateFamily> make_softmax_gate(const GateShape& shape);
std::unique_ptr<GateFamily> make_gaussian_gate(const GateShape& shape);
std::unique_ptr<GateFamily> make_tree_gate(const GateShape& shape);
std::unique_ptr<GateFamily> make_constant_gate(const GateShape& shape);
std::unique_ptr<GateFamily> make_mlp_gate(const GateShape& shape, const std::vector<uword>& hidden);

}  // namespace moekit
