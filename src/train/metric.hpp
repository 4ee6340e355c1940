#pragma once
#include <vector>

#include "moekit/model.hpp"
#include "moekit/sum.hpp"

namespace moekit::train {

/// Variables z in which the likelihood of complete data bends alike in all directions: with x the moving
/// parameters, z = R (x - origin), and R'R the information sum_ik w_i r_ik s_ik s_ik' of the scores s_ik,
/// block by block (the gate, each expert), with the curvature of the log prior. In the units of x a slope of
/// an expert with little noise bends a million times more than one of the gate.
class Metric {
 public:
  /// At the parameters of `mixture`, from so many rows that it costs as much as a few passes. held:
  /// parameters that are not to move.
  Metric(Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
         const std::vector<bool>& held);

  vec step(const double* z) const;                  ///< x - origin
  void slope(const vec& of_x, double* of_z) const;  ///< of a function of x, by z

 private:
  struct Part {
    uword begin = 0, size = 0;
    vec unit;  // a step along each parameter that counts 1
    mat root;  // upper triangular, of the information in these units; empty: they are all there is
  };
  std::vector<Part> parts_;
  uword size_ = 0;
};

}  // namespace moekit::train
