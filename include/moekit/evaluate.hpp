#pragma once
#include <optional>
#include <string>
#include <vector>

#include "moekit/predict.hpp"

namespace moekit {

/// Metrics over rows with a known target, weighted. Natural log, units of the target.
struct Metrics {
  std::uint64_t rows = 0;
  Task task = Task::regression;
  double nll = 0;  ///< mean of -ln density, or -ln probability
  // regression and count. r2 = 1 - squared errors / squared deviations from the rows' mean; 0 if all targets
  // are the same. coverage_90: share of rows inside the central 90 % of their prediction.
  double rmse = 0, mae = 0, r2 = 0, coverage_90 = 0, crps = 0;
  std::optional<double> nll_grid;  ///< target on a grid of step h: -ln((F(y+h/2) - F(y-h/2)) / h)
  // classification
  double accuracy = 0, log_loss = 0, brier = 0, ece = 0;
  std::optional<double> auc;  ///< two classes
  double auc_error = 0;       ///< auc is at most this far off; 0: exact, as with up to 2^20 rows
  /// Of several targets: each by itself. Then nll above is joint, and the other figures above are not used.
  std::vector<Metrics> targets;
  std::string target;  ///< its name
};

/// Adds up metrics block by block (streams) in bounded memory; rows without a target or without weight are
/// passed over.
class Evaluator {
 public:
  explicit Evaluator(const Model& model);
  void add(const Block& block);
  void add(const Block& block, const Prediction& prediction);
  /// Adds the rows that another one has seen. Merged in a fixed order, the bits are fixed too.
  void merge(const Evaluator& other);
  /// Errors: Errc::data if no row had a target.
  Metrics metrics() const;

 private:
  struct State;
  const Model& model_;
  std::shared_ptr<State> state_;
};

/// Continuous ranked probability score of a Gaussian mixture at y: weights, means, sds of K components.
double crps_gaussian_mixture(double y, const rowvec& weight, const rowvec& mean, const rowvec& sd);

Metrics evaluate(const Model& model, const Source& source, const Compute& compute = {});

}  // namespace moekit
