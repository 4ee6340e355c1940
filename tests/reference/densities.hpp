#pragma once
#include <string_view>

#include "moekit/experts.hpp"

/// Every family's distribution of the target by Boost's, one row at a time: what experts are compared with.
namespace moekit::naive {

/// Where expert k is at row i, by plain loops over its coefficients.
struct Place {
  double location = 0, scale = 1, shape = 1;
};
Place place(ExpertFamily& experts, const Batch& batch, uword i, uword k);

/// The distribution of `family` at a place (not for classes).
struct Distribution {
  double log_density, cumulative, mean, sd;
};
Distribution distribution(std::string_view family, const Place& at, double y);

/// n x K, of any family.
mat log_densities(ExpertFamily& experts, const Batch& batch);

}  // namespace moekit::naive
