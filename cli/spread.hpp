#pragma once
#include <string>
#include <vector>

#include "moekit/model.hpp"

namespace moekit::cli {

/// What says how far targets lie from an expert's mean: one number an expert.
struct Spread {
  std::string key;      ///< in JSON and CSV: sd, coefficient_of_variation, ...
  std::string heading;  ///< of a column of text
  std::vector<double> of_expert;
};

/// All that the model's family has of target j, at the average row of each expert. gaussian, student-t and
/// laplace: sd, in units of the target; student-t: degrees of freedom too; gamma: the coefficient of
/// variation; negative binomial: the dispersion a of its variance m + a m^2; poisson and classes: nothing.
std::vector<Spread> spreads(const Model& model, uword j);

}  // namespace moekit::cli
