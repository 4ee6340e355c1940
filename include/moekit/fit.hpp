#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "moekit/fit_checkpoint.hpp"
#include "moekit/gradient.hpp"
#include "moekit/model.hpp"

namespace moekit {

/// What to fit and how. Inline defaults are the program's defaults.
struct FitOptions {
  uword experts = 4;   ///< K
  bool grow = false;   ///< find K by growing on held-out rows; `experts` does not matter then
  std::string family;  ///< empty: gaussian or logistic by task
  /// Several targets: are they correlated within an expert? None: where the family can (gaussian, constant
  /// noise).
  std::optional<bool> full_covariance;
  std::string gate = "softmax";
  BasisKind expert_basis;                               ///< what an expert sees of its inputs
  BasisKind gate_basis;                                 ///< what the gate sees
  BasisKind noise_basis = {BasisKind::Form::constant};  ///< what the experts' noise varies with
  std::vector<std::string> gate_columns;                ///< inputs that the gate sees; empty: all
  std::vector<std::string> expert_columns;              ///< inputs that the experts see; empty: all
  Penalty::Mode ridge_mode = Penalty::Mode::evidence;
  double ridge = 0;  ///< for Mode::fixed
  double lasso = 0;  ///< L1 penalty on the slopes of gate and experts
  int ensemble = 1;  ///< members: the first fitted to all rows, the others to bootstrap samples
  int restarts = 10;
  int max_iterations = 500;  ///< EM passes of one finished start
  double tolerance = 0;      ///< gain a row and pass at which a fit has converged; 0: by mode
  std::uint64_t seed = 0;
  /// A starting region for each row of the source (0-based), then it is the only start; empty: none.
  std::vector<std::uint32_t> initial_region;

  Method method = Method::em;
  GradientOptions gradient;        ///< for the other methods
  std::vector<uword> hidden = {};  ///< widths of the experts' hidden layers; empty: linear experts
  Neurons neurons = {};            ///< of --gate product-key; their count is `experts`
  /// How many experts answer for a row, and by which scores. Sizes follow from the number of experts.
  uword top_k = 0;
  RoutingRule::Score gate_score = RoutingRule::Score::softmax;
  uword shared_experts = 0;            ///< experts that answer for every row, beside the picks
  const Source* validation = nullptr;  ///< rows to stop by (adam, sgd), or none
  /// Where the fit keeps what it has done so far and finds what it had done before, or none. A fit that is
  /// asked to stop then throws Halted.
  FitCheckpoint* checkpoint = nullptr;
};

/// The family that a fit will have: the one asked for, or the first that suits the task.
std::string family_of(const FitOptions& options, const Schema& schema);
/// Are several targets correlated within an expert?
bool full_covariance_of(const FitOptions& options, const Schema& schema);
/// Refuses a family that does not suit the target, noise that it cannot vary, an offset that it cannot take.
/// Errors: Errc::usage.
void check_family(const FitOptions& options, const Schema& schema);

/// Progress of the fit.
struct Iteration {
  int start = 0;  ///< which start, 0-based; -1: preparing
  int starts = 0;
  int index = 0;
  double log_likelihood = 0;
};
enum class Next { proceed, stop };
/// Called now and then, from any thread but never at the same time; Next::stop ends the fit with what it has.
using OnIteration = std::function<Next(const Iteration&)>;

struct FitReport {
  std::string status;  ///< converged, iteration_limit, stopped
  double seconds = 0;
};

/// Fits a mixture to the rows of `source`, whose columns `schema` describes (measured). Returns a whole model
/// with provenance. Errors: Errc::usage (all problems of the options in one message), Errc::data (no rows),
/// Errc::numeric; of the checkpoint: Errc::data, Errc::model_format, Errc::cannot_create, Errc::io.
Model fit(const Schema& schema, const Source& source, const FitOptions& options, const Compute& compute = {},
          const OnIteration& on_iteration = {}, FitReport* report = nullptr);

}  // namespace moekit
