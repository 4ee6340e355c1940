#include <cmath>

#include "standard_errors/information.hpp"

namespace moekit::errors {

namespace {

/// Log priors are quadratic in coefficients, whatever the step, and bend on a scale of 1 in logarithms.
constexpr double kStep = 1e-2;
/// Slopes that change by no more than this, relative to the log prior, do not change.
constexpr double kSame = 1e-11;
/// A second difference that grows like this when the step shrinks tenfold (tenfold, at a kink) is none.
constexpr double kKink = 3;

/// The log prior of the gate, or of the experts, as a function of all moving parameters and of the vectors
/// that slopes are drawn to.
class LogPrior {
 public:
  LogPrior(const Mixture& mixture, const Moving& moving, bool gate)
      : mixture_(mixture), values_(moving.values()), gate_(gate), centre_(at(values_)) {}

  /// Minus the second derivative by parameters a and b.
  double curvature(uword a, uword b, double step) {
    if (a == b) return (2 * centre_ - shifted(a, step, b, 0) - shifted(a, -step, b, 0)) / (step * step);
    return (shifted(a, step, b, -step) + shifted(a, -step, b, step) - shifted(a, step, b, step) -
            shifted(a, -step, b, -step)) /
           (4 * step * step);
  }
  /// Is there a kink along parameter a?
  bool kink(uword a) {
    const double wide = curvature(a, a, kStep), narrow = curvature(a, a, 0.1 * kStep);
    return narrow > 1 && narrow > kKink * std::abs(wide);
  }
  /// Does the slope along parameter a depend on the other parameters of the part? Priors are mostly products,
  /// which spares all the mixed differences.
  bool coupled(uword a, const Part& part) {
    vec elsewhere = values_;
    for (uword b = part.begin; b < part.end(); ++b)
      if (b != a) elsewhere[b] += kStep * (1 + std::fmod(0.618 * static_cast<double>(b), 1.0));
    const double there = slope(a, elsewhere), here = slope(a, values_);
    return std::abs(there - here) > kSame * (1 + std::abs(centre_) + std::abs(at(elsewhere)));
  }

  /// The vectors that the slopes of all experts are drawn to, where they are estimated (else they are zero).
  std::vector<double*> common() {
    std::vector<double*> all;
    for (const Field& f : mixture_.experts->fields(0))
      if (f.name.starts_with("common") || f.name.starts_with("noise_common"))
        for (double& v : f.values)
          if (v != 0) all.push_back(&v);
    return all;
  }
  /// Minus the second derivative by one of common(): twice, or with parameter a.
  double common_curvature(double* v) {
    const double before = *v;
    *v = before + kStep;
    const double above = at(values_);
    *v = before - kStep;
    const double below = at(values_);
    *v = before;
    return (2 * centre_ - above - below) / (kStep * kStep);
  }
  double common_curvature(double* v, uword a) {
    const double before = *v;
    *v = before + kStep;
    const double above = slope(a, values_);
    *v = before - kStep;
    const double below = slope(a, values_);
    *v = before;
    return (below - above) / (4 * kStep * kStep);
  }

 private:
  double at(const vec& values) {
    Moving::set(mixture_, values);
    return gate_ ? mixture_.gate->log_prior() : mixture_.experts->log_prior();
  }
  double slope(uword a, const vec& from) {
    vec above = from, below = from;
    above[a] += kStep;
    below[a] -= kStep;
    return at(above) - at(below);
  }
  double shifted(uword a, double by, uword b, double and_by) {
    vec values = values_;
    values[a] += by;
    values[b] += and_by;
    return at(values);
  }

  Mixture mixture_;
  vec values_;
  bool gate_;
  double centre_;
};

/// Slopes are drawn to vectors that are estimated themselves, each element N(0, 1): not to know them is part
/// of not knowing the slopes. Integrated out they leave the Schur complement.
void integrate_common(const Mixture& mixture, const Moving& moving, const std::vector<bool>& held,
                      mat& curvature) {
  LogPrior prior(mixture, moving, false);
  for (double* v : prior.common()) {
    vec with(moving.size(), arma::fill::zeros);
    for (uword a = moving.gate().end(); a < moving.size(); ++a)
      if (!held[a]) with[a] = prior.common_curvature(v, a);
    curvature -= with * with.t() / (1 + prior.common_curvature(v));
  }
}

}  // namespace

mat prior_curvature(const Mixture& mixture, const Moving& moving, std::vector<bool>& held) {
  mat out(moving.size(), moving.size(), arma::fill::zeros);
  for (std::size_t i = 0; i < moving.parts().size(); ++i) {
    const Part& part = moving.parts()[i];
    LogPrior prior(mixture, moving, i == 0);
    for (uword a = part.begin; a < part.end(); ++a) {
      if (!held[a] && prior.kink(a)) held[a] = true;
      if (held[a]) continue;
      out(a, a) = prior.curvature(a, a, kStep);
      if (!prior.coupled(a, part)) continue;
      for (uword b = part.begin; b < a; ++b)
        if (!held[b]) out(a, b) = out(b, a) = prior.curvature(a, b, kStep);
    }
  }
  integrate_common(mixture, moving, held, out);
  return out;
}

}  // namespace moekit::errors
