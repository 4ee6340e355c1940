#pragma once
#include <string>

#include "moekit/diagnose.hpp"

namespace moekit::cli {

/// Experts as equations in the units of the data, the terms that matter most first; empty for networks.
std::string expert_equations_text(const Model& model, std::size_t width, std::size_t most_terms,
                                  std::size_t most_experts);
/// Gate and experts as equations in the units of the data, the terms that matter most first.
/// `most_terms`: further ones are counted only.
std::string equations_text(const Model& model, std::size_t width, std::size_t most_terms,
                           std::size_t most_experts);

}  // namespace moekit::cli
