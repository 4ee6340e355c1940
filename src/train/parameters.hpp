#pragma once
#include "moekit/model.hpp"

namespace moekit::train {

/// All parameters that move, as one vector: the gate's, then each expert's; positive ones by their logarithm.
vec moving_parameters(Mixture& m);
void set_moving_parameters(Mixture& m, const vec& values);
/// Where they end, positive ones by their logarithm; infinite where they do not.
struct Bounds {
  vec least, most;
};
Bounds bounds_of_parameters(Mixture& m);
/// How many of them are the gate's.
uword gate_parameters(Mixture& m);

/// The values that do not move (penalties).
void copy_penalties(Mixture& from, Mixture& to);
void set_penalty(Mixture& m, const Penalty& penalty);

double log_prior(const Mixture& m);
/// gradient += d log_prior / d moving parameters; gate: gate_parameters().
void add_prior_gradient(const Mixture& m, uword gate, std::span<double> gradient);

}  // namespace moekit::train
