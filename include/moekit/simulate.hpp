#pragma once
#include <cstdint>

#include "moekit/model.hpp"

namespace moekit {

/// Rows from a known mixture, for tests and teaching.
struct SimulateOptions {
  std::uint64_t rows = 1000;
  uword inputs = 2;
  uword experts = 3;
  Task task = Task::regression;
  uword classes = 2;     ///< for classification
  double noise = 0.3;    ///< standard deviation of every Gaussian expert
  double sharpness = 3;  ///< size of the gate's slopes: how sharp the regions are
  std::uint64_t seed = 0;
};

/// A mixture with drawn parameters. Inputs x1, x2, ... are standard normal; target y.
struct Simulation {
  SimulateOptions options;
  mat gate;                   ///< (1 + inputs) x K, last column zero
  std::vector<mat> experts;   ///< K of (1 + inputs) x outputs (1; classes: classes - 1, last class zero)
  double log_likelihood = 0;  ///< of the rows drawn so far

  explicit Simulation(const SimulateOptions& options);
  /// Rows first .. first + n - 1: x is n x inputs, y the value or class code, region the true expert
  /// (0-based).
  void rows(std::uint64_t first, uword n, mat& x, vec& y, arma::uvec& region);
};

}  // namespace moekit
