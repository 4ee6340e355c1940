#pragma once
#include <cstddef>
#include <string>

#include "moekit/diagnose.hpp"

namespace moekit::cli {

/// Models with more coefficients are shown without standard errors: coefficients.csv has them.
inline constexpr std::size_t kMostWithErrors = 60;

/// "12.5 + 3.1 times - 2 [sex = Male]": `terms` belong to one linear form, the intercept among them or not;
/// those that matter most (largest standardised) first.
std::string linear_text(std::vector<Coefficient> terms, std::size_t most_terms);

/// Which rows go left at a node of a tree: "left if 0.8 age - 1.2 income > 3". `terms`: its coefficients.
std::string node_rule(const std::vector<Coefficient>& terms, std::size_t most_terms);

/// What the gate says in the units of the data: scores, boundaries of a tree's nodes, centres and spreads, or
/// weights. Empty for one expert.
std::string gate_text(const Model& model, std::size_t width, std::size_t most_terms,
                      std::size_t most_experts);

}  // namespace moekit::cli
