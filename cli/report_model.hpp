#pragma once
#include <vector>

#include "json_output.hpp"
#include "moekit/diagnose.hpp"

namespace moekit::cli {

// The parts of a report that the model alone decides.

/// What was fitted and how: columns, families, criteria, trace, table of starts.
Json model_json(const Model& model);
/// How each of the first `most` experts predicts: equations, the terms that matter most first.
Json expert_texts(const Model& model, const std::vector<Coefficient>& coefficients, std::size_t most);
/// The coefficients that matter most, as rows of coefficients.csv; and how many there are.
Json coefficients_json(const std::vector<Coefficient>& coefficients);
/// The gate in words; of a tree its nodes, each with the experts on either side and its rule.
Json gate_json(const Model& model, const std::vector<Coefficient>& coefficients);

}  // namespace moekit::cli
