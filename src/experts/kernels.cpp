// Distributions of location and scale: normal, Student's t, Laplace.
#include <boost/math/distributions/students_t.hpp>
#include <boost/math/special_functions/digamma.hpp>
#include <boost/math/special_functions/trigamma.hpp>
#include <cmath>

#include "experts/generalised.hpp"

namespace moekit {

double Kernel::shape_prior(double, double& slope, double& curvature) const {
  slope = curvature = 0;
  return 0;
}

namespace {

constexpr double kLogTwoPi = 1.8378770664093454836;

/// The library would go through long double, at eight times the cost.
using StudentInDouble = boost::math::students_t_distribution<
    double, boost::math::policies::policy<boost::math::policies::promote_double<false>>>;

double clear_of_zero(double z) { return std::max(std::abs(z), 1e-8); }

class NormalKernel final : public Kernel {
 public:
  std::string_view name() const override { return "gaussian"; }
  void log_density(const KernelRows& r, double* out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double z = (r.y[i] - r.location[i]) / r.scale[i];
      out[i] = -0.5 * (z * z + kLogTwoPi) - std::log(r.scale[i]);
    }
  }
  void derivatives(const KernelRows& r, KernelDerivatives& out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double z = (r.y[i] - r.location[i]) / r.scale[i];
      out.location[i] = z / r.scale[i];
      out.location_curvature[i] = 1 / (r.scale[i] * r.scale[i]);
      out.scale[i] = z * z - 1;
      out.scale_curvature[i] = z * z + 1;  // between the observed 2 z^2 and the expected 2
    }
  }
  double mean(double location, double, double) const override { return location; }
  double sd(double, double scale, double) const override { return scale; }
  double cumulative(double y, double location, double scale, double) const override {
    return 0.5 * std::erfc((location - y) / (scale * M_SQRT2));
  }
};

/// Lange, Little & Taylor 1989. The shape is the degrees of freedom.
class StudentKernel final : public Kernel {
 public:
  std::string_view name() const override { return "student-t"; }
  bool has_shape() const override { return true; }
  double first_shape() const override { return 2.5; }
  double least_shape() const override { return 2.1; }  // above 2 there is a variance
  /// Gamma(2, 0.1), Juarez & Steel 2010.
  double shape_prior(double shape, double& slope, double& curvature) const override {
    slope = 1 - 0.1 * shape;
    curvature = 0.1 * shape;
    return std::log(shape) - 0.1 * shape;
  }
  void log_density(const KernelRows& r, double* out) const override {
    const double v = r.shape;
    const double constant = log_gamma(0.5 * (v + 1)) - log_gamma(0.5 * v) - 0.5 * std::log(v * M_PI);
    for (uword i = 0; i < r.n; ++i) {
      const double z = (r.y[i] - r.location[i]) / r.scale[i];
      out[i] = constant - std::log(r.scale[i]) - 0.5 * (v + 1) * std::log1p(z * z / v);
    }
  }
  void derivatives(const KernelRows& r, KernelDerivatives& out) const override {
    using boost::math::digamma;
    using boost::math::trigamma;
    const double v = r.shape;
    const double constant = digamma(0.5 * (v + 1)) - digamma(0.5 * v) - 1 / v;
    const double information =
        0.25 * (trigamma(0.5 * v) - trigamma(0.5 * (v + 1))) - 0.5 * (v + 5) / (v * (v + 1) * (v + 3));
    for (uword i = 0; i < r.n; ++i) {
      const double z = (r.y[i] - r.location[i]) / r.scale[i];
      const double weight = (v + 1) / (v + z * z);
      out.location[i] = weight * z / r.scale[i];
      out.location_curvature[i] = weight / (r.scale[i] * r.scale[i]);
      out.scale[i] = weight * z * z - 1;
      out.scale_curvature[i] = weight * z * z + 1;
      out.shape[i] = 0.5 * v * (constant - std::log1p(z * z / v) + weight * z * z / v);
      out.shape_curvature[i] = std::max(information * v * v, 1e-4);
    }
  }
  double mean(double location, double, double) const override { return location; }
  double sd(double, double scale, double shape) const override {
    return scale * std::sqrt(shape / (shape - 2));
  }
  double cumulative(double y, double location, double scale, double shape) const override {
    return boost::math::cdf(StudentInDouble(shape), (y - location) / scale);
  }
};

/// Its location is a median regression; by the weights of its normal scale mixture.
class LaplaceKernel final : public Kernel {
 public:
  std::string_view name() const override { return "laplace"; }
  void log_density(const KernelRows& r, double* out) const override {
    for (uword i = 0; i < r.n; ++i)
      out[i] = -std::log(2 * r.scale[i]) - std::abs(r.y[i] - r.location[i]) / r.scale[i];
  }
  void derivatives(const KernelRows& r, KernelDerivatives& out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double z = (r.y[i] - r.location[i]) / r.scale[i];
      const double size = clear_of_zero(z);
      out.location[i] = z / size / r.scale[i];
      out.location_curvature[i] = 1 / (size * r.scale[i] * r.scale[i]);
      out.scale[i] = std::abs(z) - 1;
      out.scale_curvature[i] = 0.5 * (std::abs(z) + 1);
    }
  }
  double mean(double location, double, double) const override { return location; }
  double sd(double, double scale, double) const override { return scale * M_SQRT2; }
  double cumulative(double y, double location, double scale, double) const override {
    const double z = (y - location) / scale;
    return z < 0 ? 0.5 * std::exp(z) : 1 - 0.5 * std::exp(-z);
  }
};

}  // namespace

std::unique_ptr<ExpertFamily> make_varying_gaussian(const ExpertShape& shape) {
  static const NormalKernel kernel;
  return make_generalised(kernel, shape);
}
std::unique_ptr<ExpertFamily> make_student_t(const ExpertShape& shape) {
  static const StudentKernel kernel;
  return make_generalised(kernel, shape);
}
std::unique_ptr<ExpertFamily> make_laplace(const ExpertShape& shape) {
  static const LaplaceKernel kernel;
  return make_generalised(kernel, shape);
}

}  // namespace moekit
