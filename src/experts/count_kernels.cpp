// Distributions of counts and of positive values, their location the logarithm of the mean.
#include <boost/math/special_functions/beta.hpp>
#include <boost/math/special_functions/digamma.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <boost/math/special_functions/log1p.hpp>
#include <boost/math/special_functions/trigamma.hpp>
#include <cmath>

#include "experts/generalised.hpp"

namespace moekit {

namespace {

/// Means are held within these, so that nothing is infinite.
double mean_of(double location) { return std::exp(std::clamp(location, -100.0, 100.0)); }

/// The library would go through long double, at three times the cost.
using InDouble = boost::math::policies::policy<boost::math::policies::promote_double<false>>;

/// Above this shape the library's sums grow without end far from the mean.
constexpr double kLargeShape = 1e6;
/// Above it the library's incomplete beta function loses digits.
constexpr double kLargeCount = 1e9;

/// ln of Chernoff's bound on the tail of a gamma variable beyond x: shape ln(x / shape) - (x - shape),
/// exactly where the two are close.
double log_tail_bound(double shape, double x) {
  const double excess = (x - shape) / shape;
  if (std::abs(excess) < 0.5) return shape * boost::math::log1pmx(excess, InDouble());
  return shape - x + shape * std::log(x / shape);
}

/// P(X > x) of a gamma variable of a large shape, and its complement, by the first term of Temme's uniform
/// expansion (1979; DLMF 8.12). `bound`: log_tail_bound(), above -700. Off by less than 1e-12 from
/// kLargeShape on, less the larger the shape.
struct Tails {
  double below = 0, above = 1;
};
Tails large_shape(double shape, double x, double bound) {
  const double eta = std::copysign(std::sqrt(-2 * bound / shape), x - shape);
  const double series =
      -1.0 / 3 + eta * (1.0 / 12 + eta * (-2.0 / 135 + eta * (1.0 / 864 + eta * (1.0 / 2835))));
  const double skew = series * std::exp(bound) / std::sqrt(2 * M_PI * shape);
  const double z = eta * std::sqrt(0.5 * shape);
  return {0.5 * std::erfc(-z) - skew, 0.5 * std::erfc(z) + skew};
}

/// P(X <= x) of a gamma variable with this shape and unit rate. Where Chernoff's bound settles it the library
/// is not asked: it overflows where the shape is above 1,754 and x far below.
double gamma_below(double shape, double x) {
  const double bound = log_tail_bound(shape, x);
  if (x < shape && bound < -700) return 0;
  if (x > shape && bound < -40) return 1;
  if (shape > kLargeShape) return large_shape(shape, x, bound).below;
  return boost::math::gamma_p(shape, x, InDouble());
}
double gamma_above(double shape, double x) {
  const double bound = log_tail_bound(shape, x);
  if (x < shape && bound < -40) return 1;
  if (x > shape && bound < -700) return 0;
  if (shape > kLargeShape) return large_shape(shape, x, bound).above;
  return boost::math::gamma_q(shape, x, InDouble());
}

/// Newton's curvature of a count's location: the mean, and far from the optimum enough that no step is longer
/// than 4.
double count_curvature(double y, double mean) { return std::max(mean, 0.25 * y); }

class PoissonKernel final : public Kernel {
 public:
  std::string_view name() const override { return "poisson"; }
  bool has_scale() const override { return false; }
  bool log_link() const override { return true; }
  void log_density(const KernelRows& r, double* out) const override {
    for (uword i = 0; i < r.n; ++i)
      out[i] =
          r.y[i] * std::clamp(r.location[i], -100.0, 100.0) - mean_of(r.location[i]) - log_gamma(r.y[i] + 1);
  }
  void derivatives(const KernelRows& r, KernelDerivatives& out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double mean = mean_of(r.location[i]);
      out.location[i] = r.y[i] - mean;
      out.location_curvature[i] = count_curvature(r.y[i], mean);
    }
  }
  double mean(double location, double, double) const override { return mean_of(location); }
  double sd(double location, double, double) const override { return std::sqrt(mean_of(location)); }
  double cumulative(double y, double location, double, double) const override {
    return y < 0 ? 0 : gamma_above(std::floor(y) + 1, mean_of(location));
  }
};

/// Variance m + scale m^2; the size of other programs is 1 / scale. Lawless 1987.
class NegativeBinomialKernel final : public Kernel {
 public:
  std::string_view name() const override { return "negative-binomial"; }
  double least_scale() const override { return 1e-4; }
  bool log_link() const override { return true; }
  void log_density(const KernelRows& r, double* out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double m = mean_of(r.location[i]), y = r.y[i], size = 1 / r.scale[i];
      out[i] = log_gamma(y + size) - log_gamma(size) - log_gamma(y + 1) - size * std::log1p(m / size) -
               y * std::log1p(size / m);
    }
  }
  void derivatives(const KernelRows& r, KernelDerivatives& out) const override {
    using boost::math::digamma;
    using boost::math::trigamma;
    for (uword i = 0; i < r.n; ++i) {
      const double m = mean_of(r.location[i]), y = r.y[i], size = 1 / r.scale[i];
      out.location[i] = (y - m) / (1 + m / size);
      out.location_curvature[i] = count_curvature(y, m) / (1 + m / size);
      const double slope = digamma(y + size) - digamma(size) - std::log1p(m / size) + (m - y) / (size + m);
      const double bend =
          trigamma(y + size) - trigamma(size) + m / (size * (size + m)) - (m - y) / ((size + m) * (size + m));
      out.scale[i] = -size * slope;
      out.scale_curvature[i] =
          std::max({-(size * size * bend + size * slope), 0.5 * std::abs(out.scale[i]), 1e-4});
    }
  }
  double mean(double location, double, double) const override { return mean_of(location); }
  double sd(double location, double scale, double) const override {
    const double m = mean_of(location);
    return std::sqrt(m + scale * m * m);
  }
  double cumulative(double y, double location, double scale, double) const override {
    if (y < 0) return 0;
    const double m = mean_of(location), size = 1 / scale, above = std::floor(y) + 1;
    // So large a count is as good as a gamma variable (Wise 1950): off by less than 1e-9.
    if (above > kLargeCount) return gamma_below(size, (above + 0.5 * (size - 1)) * std::log1p(size / m));
    return boost::math::ibeta(size, above, size / (size + m), InDouble());
  }
};

/// The scale is the coefficient of variation: shape 1 / scale^2.
class GammaKernel final : public Kernel {
 public:
  std::string_view name() const override { return "gamma"; }
  double least_scale() const override { return 1e-3; }
  bool log_link() const override { return true; }
  void log_density(const KernelRows& r, double* out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double m = mean_of(r.location[i]), a = 1 / (r.scale[i] * r.scale[i]);
      const double ratio = r.y[i] / m;
      out[i] = a * (std::log(a) + std::log(ratio) - ratio) - log_gamma(a) - std::log(r.y[i]);
    }
  }
  void derivatives(const KernelRows& r, KernelDerivatives& out) const override {
    for (uword i = 0; i < r.n; ++i) {
      const double m = mean_of(r.location[i]), a = 1 / (r.scale[i] * r.scale[i]);
      const double ratio = r.y[i] / m;
      out.location[i] = a * (ratio - 1);
      out.location_curvature[i] = 0.5 * a * (ratio + 1);
      const double slope = std::log(a) + 1 - boost::math::digamma(a) + std::log(ratio) - ratio;
      out.scale[i] = -2 * a * slope;
      out.scale_curvature[i] =
          std::max(4 * a * a * (boost::math::trigamma(a) - 1 / a), 0.5 * std::abs(out.scale[i]));
    }
  }
  double mean(double location, double, double) const override { return mean_of(location); }
  double sd(double location, double scale, double) const override { return scale * mean_of(location); }
  double cumulative(double y, double location, double scale, double) const override {
    const double a = 1 / (scale * scale);
    return y > 0 ? gamma_below(a, a * y / mean_of(location)) : 0;
  }
};

}  // namespace

std::unique_ptr<ExpertFamily> make_poisson(const ExpertShape& shape) {
  static const PoissonKernel kernel;
  return make_generalised(kernel, shape);
}
std::unique_ptr<ExpertFamily> make_negative_binomial(const ExpertShape& shape) {
  static const NegativeBinomialKernel kernel;
  return make_generalised(kernel, shape);
}
std::unique_ptr<ExpertFamily> make_gamma(const ExpertShape& shape) {
  static const GammaKernel kernel;
  return make_generalised(kernel, shape);
}

}  // namespace moekit
