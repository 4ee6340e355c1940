#pragma once
#include <cmath>
#include <string_view>

#include "linalg.hpp"

namespace moekit {

/// ln |Gamma(x)|; std::lgamma would write a global.
inline double log_gamma(double x) {
  int sign = 0;
  return lgamma_r(x, &sign);
}

/// n rows as one expert sees them. The target is standardised (or a count).
struct KernelRows {
  uword n = 0;
  const double* y = nullptr;
  const double* location = nullptr;  ///< linear predictor, offset included
  const double* scale = nullptr;     ///< > 0
  double shape = 0;
};

/// First derivatives of a row's log density, by location, logarithm of scale and logarithm of shape, and for
/// each a positive curvature for Newton's method: near the optimum the information, and everywhere large
/// enough that a step stays within a few units.
struct KernelDerivatives {
  vec location, location_curvature, scale, scale_curvature, shape, shape_curvature;
};

/// The distribution of the target given a location and, where it has them, a scale and a shape: all that
/// distinguishes one family of generalised linear experts from another.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual std::string_view name() const = 0;
  virtual bool has_scale() const { return true; }
  virtual bool has_shape() const { return false; }
  /// Is the location the logarithm of the mean? Else it is on the target's own scale.
  virtual bool log_link() const { return false; }
  /// Scales are held above, smoothly: sqrt(exp(2 predictor) + least^2).
  virtual double least_scale() const { return 1e-8; }
  virtual double first_shape() const { return 1; }
  virtual double least_shape() const { return 0; }
  virtual double most_shape() const { return 1e3; }  ///< beyond, densities are differences of large numbers
  /// Slope and curvature, by its logarithm, of the shape's log prior density under the evidence.
  virtual double shape_prior(double shape, double& slope, double& curvature) const;

  virtual void log_density(const KernelRows& rows, double* out) const = 0;
  virtual void derivatives(const KernelRows& rows, KernelDerivatives& out) const = 0;
  virtual double mean(double location, double scale, double shape) const = 0;
  virtual double sd(double location, double scale, double shape) const = 0;
  /// Probability of at most y.
  virtual double cumulative(double y, double location, double scale, double shape) const = 0;
};

}  // namespace moekit
