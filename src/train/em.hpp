#pragma once
#include <functional>
#include <string>
#include <vector>

#include "train/unit.hpp"

namespace moekit::train {

struct EmOptions {
  Penalty penalty;
  int max_passes = 500;
  double tolerance = 1e-9;  ///< gain of a cycle, a unit of weight, at which the fit has converged
  double enough = 0;        ///< a gain of a cycle below this, in log units, is convergence too
  bool accelerate = true;
};

struct EmResult {
  enum class Status { converged, iteration_limit, stopped };
  Status status = Status::iteration_limit;
  int passes = 0;
  double log_likelihood = 0;  ///< standardised target
  double objective = 0;       ///< joint log-likelihood + log prior at the current penalties
  /// Log-likelihood (standardised target) of every accepted pass; joint with the features' where the gate has
  /// a density of them, since that is what is climbed then.
  std::vector<double> trace;
  std::vector<double> penalised;   ///< objective beside it; rises while `stretch` stays
  std::vector<int> stretch;        ///< which penalties were in force: counts their updates
  PassSums sums;                   ///< at the final parameters
  std::vector<std::string> notes;  ///< what happened on the way that the user should know
};

/// Called after every pass with its number and log-likelihood; false stops.
using Watch = std::function<bool(int pass, double log_likelihood)>;

/// Expectation maximisation (Jordan & Jacobs 1994) from the mixture's parameters, one pass over the rows an
/// iteration, accelerated by guarded extrapolation (SQUAREM: Varadhan & Roland 2008). With fixed penalties
/// the objective (log-likelihood, with the gate's density of the features if it has one, and log prior) never
/// falls: a step that lowers it is halved. Under the evidence the penalties are updated
/// once a cycle of two passes; between two updates the same holds. `unit`: goes on where it was interrupted.
EmResult run_em(Mixture& mixture, const Schema& schema, const Source& source, const EmOptions& options,
                const Compute& compute, const Watch& watch = {}, Unit unit = {});

}  // namespace moekit::train
