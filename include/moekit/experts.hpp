#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moekit/schema.hpp"

namespace moekit {

/// What gate and experts see of one block: computed once by Mixture::prepare. All are n x something.
struct Batch {
  uword rows = 0;
  mat gate, expert;                ///< features: n x p
  mat noise;                       ///< features of the experts' noise: n x q
  vec target;                      ///< n, standardised (regression), counts, or class codes; NaN = missing
  mat targets;                     ///< n x targets, likewise, if there are several; else empty
  const double* weight = nullptr;  ///< n, or null: all 1
  const double* offset = nullptr;  ///< n, or null: all 0
};

/// A named group of parameters of one expert or of the gate: files, copies, acceleration and tests go
/// through these. `positive` values are moved on the log scale; `fixed` ones (penalties) are not moved.
struct Field {
  enum class Kind { free, positive, fixed };
  std::string_view name;
  std::span<double> values;
  Kind kind = Kind::free;
  double least = 0;  ///< positive values are not moved below
};

/// How parameters are held back.
struct Penalty {
  enum class Mode { none, fixed, evidence };
  Mode mode = Mode::evidence;
  double ridge = 0;        ///< fixed: L in L |slopes|^2 / 2, on standardised inputs and target
  double lasso = 0;        ///< L1 beside it: L sum |slope|
  double noise_floor = 0;  ///< least standard deviation of an expert, on the standardised target
  bool refresh = true;     ///< evidence: may the penalties themselves change in this update?
};

/// What a family is made for. Groups: for each feature the group that shares a prior, 0 for the intercept.
struct ExpertShape {
  uword experts = 1;                      ///< K
  std::vector<uword> groups = {0};        ///< p
  std::vector<uword> noise_groups = {0};  ///< q; one: the noise is the same everywhere
  uword classes = 0;                      ///< labels of the target (classification)
  uword targets = 1;                      ///< numbers that are predicted together
  bool full_covariance = false;           ///< of several targets within an expert (gaussian, constant noise)
};

/// All K experts of one kind. Density and moments are those of the standardised target.
class ExpertFamily {
 public:
  virtual ~ExpertFamily() = default;
  virtual std::string_view name() const = 0;
  virtual uword count() const = 0;  ///< K
  virtual uword targets() const { return 1; }
  virtual std::unique_ptr<ExpertFamily> clone() const = 0;
  virtual std::vector<Field> fields(uword k) = 0;
  /// New expert j is a copy of old expert from[j]: duplicate, drop, reorder.
  virtual void select(std::span<const uword> from) = 0;
  /// Coefficients of expert k: p x outputs (1, or classes - 1), on the features.
  virtual mat coefficients(uword k) const = 0;
  /// Coefficients of the logarithm of expert k's noise on the noise features: q, or empty if it has none.
  virtual vec noise_coefficients(uword k) const = 0;
  /// Residual standard deviation of expert k on the standardised target; 0 for classes.
  virtual double noise(uword k) const = 0;
  virtual double free_parameters() const = 0;
  /// Number of parameters that the data determine (the evidence's gamma); free_parameters without penalty.
  virtual double effective_parameters() const = 0;
  /// Why expert k is degenerate (a spike, a separation), or empty. `weight`: its sum of responsibilities.
  virtual std::string degenerate(uword k, double weight) const = 0;

  // Several targets. What is said of "the target" elsewhere in this class is said of the first one, but for
  // densities, sums and scores, which are joint.
  /// The experts of target j alone: its distribution whatever the others are.
  virtual std::unique_ptr<ExpertFamily> marginal(uword j) const;
  /// Correlation of the targets around their means in expert k: targets x targets; empty: independent.
  virtual mat correlation(uword k) const;

  /// out: n x K, ln f_k(y | x). Classes: ln p_k(y | x).
  virtual void log_density(const Batch& batch, mat& out) const = 0;

  // Training by EM: one pass adds up sums(), then update() moves to the next parameters.
  virtual std::size_t sums() const = 0;
  /// `responsibility`: n x K, already times the row's weight.
  virtual void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const = 0;
  virtual void update(std::span<const double> sums, const Penalty& penalty) = 0;
  /// Log of the prior density that update() climbs together with the likelihood, for the current penalties.
  virtual double log_prior() const = 0;

  /// What each row says about the parameters of expert k: d ln f_k(y_i | x_i) / d theta_k, n x parameters, in
  /// the order of the fields that move (positive ones by their logarithm).
  virtual void scores(const Batch& batch, uword k, mat& out) const = 0;

  // Prediction. Regression and counts:
  virtual void moments(const Batch& batch, mat& mean, mat& sd) const;          ///< n x K each
  virtual void cumulative(const Batch& batch, const vec& at, mat& out) const;  ///< P_k(y <= at_i): n x K
  // Classification:
  virtual uword classes() const { return 0; }
  virtual void class_probabilities(const Batch& batch, arma::cube& out) const;  ///< n x C x K
};

/// Families that a model can have, by name: the table that files, the command line and tests go by.
std::unique_ptr<ExpertFamily> make_experts(std::string_view family, const ExpertShape& shape);
struct FamilyTraits {
  Task task = Task::regression;
  bool noise = false;     ///< its noise can vary with the inputs
  bool log_link = false;  ///< coefficients add up to the logarithm of the mean; the target cannot be negative
  bool kink = false;      ///< its log density has no second derivative where the target meets the location
  bool heavy_tails = false;  ///< made for targets far from the rest, which are to have no region of their own
};
FamilyTraits family_traits(std::string_view family);
std::vector<std::string> expert_families();

}  // namespace moekit
