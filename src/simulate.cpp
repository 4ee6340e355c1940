#include "moekit/simulate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moekit/error.hpp"
#include "moekit/rng.hpp"

namespace moekit {

namespace {

// Streams of the random numbers: the parameters, then three for each row.
enum Stream : std::uint64_t { kParameters = 1, kInputs, kRegion, kTarget };

constexpr double kLogTwoPi = 1.8378770664093454836;
/// Largest ln mean of a count: drawing takes time in proportion to the mean.
constexpr double kMostLogMean = 9;

void check(const SimulateOptions& o) {
  std::string problems;
  const auto complain = [&](const std::string& problem) {
    problems += (problems.empty() ? "" : "; ") + problem;
  };
  if (o.inputs == 0) complain("simulate needs at least one input");
  if (o.experts == 0) complain("simulate needs at least one expert");
  if (o.task == Task::classification && o.classes < 2) complain("simulate needs at least two classes");
  if (!(o.noise > 0) || !std::isfinite(o.noise)) complain("the noise must be a positive number");
  if (!(o.sharpness >= 0) || !std::isfinite(o.sharpness)) complain("the sharpness must not be negative");
  if (!problems.empty()) throw Error(Errc::usage, problems);
}

/// A linear predictor: intercept with one spread, slopes with another, (1 + inputs).
vec draw_coefficients(Rng& rng, uword inputs, double intercept, double slopes) {
  vec out(1 + inputs);
  out[0] = intercept * rng.normal();
  for (uword j = 0; j < inputs; ++j) out[1 + j] = slopes * rng.normal();
  return out;
}

/// Replaces scores by ln softmax(scores).
void log_softmax(rowvec& scores) {
  const double most = scores.max();
  scores -= most + std::log(arma::accu(arma::exp(scores - most)));
}

/// Index drawn with probabilities exp(log_probability).
uword draw_index(Rng& rng, const rowvec& log_probability) {
  double left = rng.uniform();
  uword index = 0;
  for (; index + 1 < log_probability.n_elem; ++index) {
    left -= std::exp(log_probability[index]);
    if (left < 0) break;
  }
  return index;
}

/// Poisson by products of uniforms (Knuth), in parts so that exp(-mean) does not vanish.
double draw_poisson(Rng& rng, double mean) {
  double count = 0;
  for (; mean > 0; mean -= 30) {
    const double limit = std::exp(-std::min(mean, 30.0));
    for (double product = rng.uniform(); product > limit; product *= rng.uniform()) ++count;
  }
  return count;
}

double log_sum(const rowvec& v) {
  const double most = v.max();
  return most + std::log(arma::accu(arma::exp(v - most)));
}

/// Expert k's view of one row: how it draws a target, and ln f_k(y | x).
class TrueExpert {
 public:
  TrueExpert(const SimulateOptions& options, const mat& coefficients, const rowvec& x) : options_(options) {
    predictor_ = coefficients.row(0) + x * coefficients.tail_rows(coefficients.n_rows - 1);
    if (options.task == Task::classification) {
      predictor_.resize(options.classes);  // the last class is the reference: 0
      log_softmax(predictor_);
    } else if (options.task == Task::count) {
      predictor_[0] = std::min(predictor_[0], kMostLogMean);
    }
  }

  double draw(Rng& rng) const {
    if (options_.task == Task::classification) return static_cast<double>(draw_index(rng, predictor_));
    if (options_.task == Task::count) return draw_poisson(rng, std::exp(predictor_[0]));
    return predictor_[0] + options_.noise * rng.normal();
  }

  double log_density(double y) const {
    if (options_.task == Task::classification) return predictor_[static_cast<uword>(y)];
    if (options_.task == Task::count) {
      int sign = 0;
      return y * predictor_[0] - std::exp(predictor_[0]) - ::lgamma_r(y + 1, &sign);
    }
    const double z = (y - predictor_[0]) / options_.noise;
    return -0.5 * z * z - std::log(options_.noise) - 0.5 * kLogTwoPi;
  }

 private:
  const SimulateOptions& options_;
  rowvec predictor_;  // the mean, ln of the mean of a count, or ln of the class probabilities
};

}  // namespace

/// Slopes are divided by sqrt(inputs), so that predictors vary equally whatever the number of inputs.
Simulation::Simulation(const SimulateOptions& wanted) : options(wanted) {
  check(options);
  Rng rng(options.seed, kParameters);
  const uword k = options.experts, d = options.inputs;
  const double per_input = 1 / std::sqrt(static_cast<double>(d));
  gate.zeros(1 + d, k);
  for (uword j = 0; j + 1 < k; ++j)
    gate.col(j) = draw_coefficients(rng, d, 0.5 * options.sharpness, options.sharpness * per_input);
  const bool count = options.task == Task::count;
  const uword outputs = options.task == Task::classification ? options.classes - 1 : 1;
  for (uword j = 0; j < k; ++j) {
    mat coefficients(1 + d, outputs);
    for (uword c = 0; c < outputs; ++c) {
      coefficients.col(c) = draw_coefficients(rng, d, count ? 0.8 : 2.0, (count ? 0.5 : 2.0) * per_input);
      if (count) coefficients(0, c) += 1;
    }
    experts.push_back(std::move(coefficients));
  }
}

void Simulation::rows(std::uint64_t first, uword n, mat& x, vec& y, arma::uvec& region) {
  x.set_size(n, options.inputs);
  y.set_size(n);
  region.set_size(n);
  rowvec input(options.inputs), log_joint(options.experts);
  for (uword i = 0; i < n; ++i) {
    // A stream for each row: a row does not depend on how the rows are cut.
    Rng inputs(options.seed, kInputs, first + i), which(options.seed, kRegion, first + i);
    Rng target(options.seed, kTarget, first + i);
    for (double& v : input) v = inputs.normal();
    x.row(i) = input;
    rowvec log_gate = gate.row(0) + input * gate.tail_rows(options.inputs);
    log_softmax(log_gate);
    region[i] = draw_index(which, log_gate);
    y[i] = TrueExpert(options, experts[region[i]], input).draw(target);
    for (uword k = 0; k < options.experts; ++k)
      log_joint[k] = log_gate[k] + TrueExpert(options, experts[k], input).log_density(y[i]);
    log_likelihood += log_sum(log_joint);
  }
}

}  // namespace moekit
