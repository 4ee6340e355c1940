#pragma once
#include "model_node.hpp"
#include "moekit/model.hpp"

namespace moekit {

// Parts of a model file that say which experts answer, and networks. All refuse what does not fit.

RoutingRule read_routing(const Node& node, std::size_t experts);
/// Numbers that an expert's network holds.
double network_numbers(const Model& model, double inputs, double outputs);
/// Parameters in float32, as text (float_text.hpp).
void read_arrays(const Node& node, ExpertFamily& experts);
/// bytes: of the file, so that it cannot ask for more than it holds.
Neurons read_neurons(const Node& node, const Model& model, std::size_t bytes);

}  // namespace moekit
