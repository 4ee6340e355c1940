#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "moekit/gradient.hpp"
#include "moekit/matrix.hpp"
#include "moekit/ramps.hpp"
#include "moekit/rng.hpp"

namespace moekit {

using arma::mat;
using arma::uword;
using arma::vec;

/// What every layer of a network gave for n observations, for the way back.
struct NetworkWork {
  std::vector<mat> layer;  ///< layer[l]: widths[l] x n; the inputs first, the outputs last
  std::vector<mat> slope;  ///< of the units of hidden layer l + 1
  RampPositions ramps;     ///< inputs that layer[0] leaves out: the last ones
};

/// What the networks of a mixture gave for a batch.
struct NetworkAnswers {
  std::vector<NetworkWork> expert;  ///< K
  NetworkWork gate;
  bool has_expert = false, has_gate = false;
};

/// A feed-forward network (Rumelhart, Hinton & Williams 1986) with SiLU units, x / (1 + exp(-x)), in its
/// hidden layers and a linear last one. Only its shape: parameters stand elsewhere, layer by layer, weights
/// (outputs x inputs) then biases; the first layer has none, because the features that it sees begin with an
/// intercept. Observations are columns here, so that what belongs to a row is contiguous.
class Network {
 public:
  /// widths: inputs, hidden layers, outputs.
  explicit Network(std::vector<uword> widths);

  uword inputs() const { return widths_.front(); }
  uword outputs() const { return widths_.back(); }
  uword size() const { return size_; }  ///< number of parameters

  /// work.layer[0] (inputs x n) holds what goes in, less what work.ramps says; the result is
  /// work.layer.back(). A row's result does not depend on the other rows.
  void forward(const double* parameters, NetworkWork& work) const;
  /// gradient (size) += d sum(slope % outputs) / d parameters; slope: outputs x n, after forward().
  void backward(const double* parameters, const NetworkWork& work, mat slope, double* gradient) const;

  /// He et al. 2015: weights N(0, 2 / inputs of the layer), halved in the last; biases zero.
  void randomise(double* parameters, Rng& rng) const;
  /// Sum of the squares of everything but biases and the intercept's weights.
  double slopes_squared(const double* parameters) const;
  /// gradient -= ridge x the same parameters.
  void add_ridge_gradient(const double* parameters, double ridge, double* gradient) const;
  /// Weights and bias of output k move to output j for every from[j] = k; sizes follow from.
  std::vector<double> select_outputs(const double* parameters, const std::vector<uword>& from) const;

 private:
  template <class Visit>
  void each_slope(const Visit& visit) const;

  std::vector<uword> widths_;
  std::vector<uword> begin_;  // of each layer's parameters
  uword size_ = 0;
};

}  // namespace moekit
