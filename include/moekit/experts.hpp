#pragma once
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moekit/archive.hpp"
#include "moekit/ramps.hpp"
#include "moekit/rng.hpp"
#include "moekit/schema.hpp"

namespace moekit {

/// The rows that each expert is asked about, by expert: those of expert k stand at begin[k] .. begin[k + 1]
/// - 1.
struct Picks {
  std::vector<uword> begin;  ///< K + 1
  std::vector<uword> rows;   ///< 0-based, rising within an expert
  uword count(uword k) const { return begin[k + 1] - begin[k]; }
};

struct NetworkAnswers;

/// What gate and experts see of one block: computed once by Mixture::prepare. All are n x something.
struct Batch {
  uword rows = 0;
  mat expert;                      ///< features of the experts: n x p, less what `ramps` says
  RampPositions ramps;             ///< what `expert` leaves out for families with short_ramps()
  mat gate;                        ///< features of the gate; empty: those of the experts
  mat noise;                       ///< features of the experts' noise: n x q
  vec target;                      ///< n, standardised (regression), counts, or class codes; NaN = missing
  mat targets;                     ///< n x targets, likewise, if there are several; else empty
  const double* weight = nullptr;  ///< n, or null: all 1
  const double* offset = nullptr;  ///< n, or null: all 0
  /// Null: every expert is asked about every row. Else what experts say elsewhere is not used; it must be
  /// finite.
  const Picks* picks = nullptr;
  /// Linear predictors, n x K, that log_density() of experts with these coefficients left for add().
  struct Predictors {
    mat coefficients, value;
  };
  mutable Predictors kept;
  /// Where networks leave what they gave, for the gradient at the same parameters; null: nowhere.
  NetworkAnswers* answers = nullptr;

  const mat& gate_features() const { return gate.is_empty() ? expert : gate; }
};

/// A named group of parameters of one expert or of the gate: files, copies, acceleration and tests go
/// through these. `positive` values are moved on the log scale; `fixed` ones (penalties) are not moved.
struct Field {
  enum class Kind { free, positive, fixed };
  std::string_view name;
  std::span<double> values;
  Kind kind = Kind::free;
  double least = 0;                                       ///< positive values are not moved below
  double most = std::numeric_limits<double>::infinity();  ///< nor above
};

/// How many values of these fields move.
inline uword moving_size(const std::vector<Field>& fields) {
  uword size = 0;
  for (const Field& f : fields) size += f.kind == Field::Kind::fixed ? 0 : f.values.size();
  return size;
}

/// A large group of parameters, kept in float32.
struct FloatField {
  std::string_view name;
  std::span<float> values;
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

/// Single-neuron experts behind product keys (He 2024): how many, and how a row finds its own.
struct Neurons {
  uword count = 0;       ///< a square number; 0: no such network
  uword heads = 8;       ///< queries a row
  uword picks = 16;      ///< neurons a query
  uword key_width = 16;  ///< of a half-key
};

/// An update of parameters of which a batch touches a few only.
struct SparseStep {
  double row_rate = 0;    ///< learning rate of what is touched
  double dense_rate = 0;  ///< of the rest, by Adam
  double decay = 0;       ///< share of each touched parameter that is taken away
  int threads = 1;        ///< that share the work (0: all cores); the result does not depend on them
};

/// What a family is made for. Groups: for each feature the group that shares a prior, 0 for the intercept.
struct ExpertShape {
  uword experts = 1;                      ///< K
  std::vector<uword> groups = {0};        ///< p
  std::vector<uword> noise_groups = {0};  ///< q; one: the noise is the same everywhere
  uword classes = 0;                      ///< labels of the target (classification)
  uword targets = 1;                      ///< numbers that are predicted together
  bool full_covariance = false;           ///< of several targets within an expert (gaussian, constant noise)
  std::vector<uword> hidden = {};         ///< widths of an expert's hidden layers; none: it is linear
  Neurons neurons = {};                   ///< count > 0: one network of so many neurons
  double most_mean =
      std::numeric_limits<double>::infinity();  ///< behind a log link, of the standardised target
};

/// All K experts of one kind. Density and moments are those of the standardised target.
class ExpertFamily {
 public:
  virtual ~ExpertFamily() = default;
  virtual std::string_view name() const = 0;
  virtual uword count() const = 0;  ///< K
  virtual uword targets() const { return 1; }
  virtual std::unique_ptr<ExpertFamily> clone() const = 0;
  /// Does it take ramps that end the basis as Batch::ramps, not as features?
  virtual bool short_ramps() const { return false; }
  virtual std::vector<Field> fields(uword k) = 0;
  /// Parameters beside fields(), of all experts; too many for a gradient of all.
  virtual std::vector<FloatField> float_fields() { return {}; }
  /// Everything that the next update depends on, for a checkpoint: the fields, unless a family remembers more
  /// from one update to the next. Shapes are those of the family that reads.
  virtual void state(Archive& archive);
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

  // Training by EM: one pass adds up sums(), then update() moves to the next parameters. Networks have no
  // such step (closed_step() is false, sums() 0).
  virtual bool closed_step() const { return true; }
  virtual std::size_t sums() const = 0;
  /// `responsibility`: n x K, already times the row's weight.
  virtual void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const = 0;
  virtual void update(std::span<const double> sums, const Penalty& penalty) = 0;

  // Training by gradients.
  /// Takes the penalty without a step.
  virtual void set_penalty(const Penalty& penalty) = 0;
  /// Log of the prior density that training climbs together with the likelihood, for the current penalties.
  virtual double log_prior() const = 0;
  /// gradient += d log_prior() / d theta; in the order of add_gradient().
  virtual void add_prior_gradient(std::span<double> gradient) const = 0;
  /// gradient += sum_ik weight(i, k) d ln f_k(y_i | x_i) / d theta: expert by expert, in the order of the
  /// fields that move (positive ones by their logarithm).
  virtual void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const;
  /// Of the experts' answers o_k (the mean, or the probabilities of the classes) instead:
  /// gradient += sum_i sum_k slope(i, :, k) d o_k(x_i) / d theta; slope: n x max(1, C) x K. False where a
  /// family has no such gradient.
  virtual bool add_answer_gradient(const Batch&, const arma::cube&, std::span<double>) const { return false; }
  /// A step up the log density of a batch that touches only what its rows use; the sum over rows of weight x
  /// ln f(y | x) before it. Of families with float_fields() only.
  virtual double sparse_step(const Batch& batch, const SparseStep& step);
  /// The parts of an expert that answer for each row, n x picks: index, 0-based, and weights adding up to 1,
  /// falling. False where an expert is one whole.
  virtual bool parts(const Batch&, arma::umat&, mat&) const { return false; }
  virtual uword part_count() const { return 0; }
  /// Small random parameters to begin from.
  virtual void randomise(Rng rng);

  /// What each row says about the parameters of expert k: d ln f_k(y_i | x_i) / d theta_k, n x parameters, in
  /// the order of the fields that move (positive ones by their logarithm).
  virtual void scores(const Batch& batch, uword k, mat& out) const = 0;

  // Prediction. Regression and counts:
  virtual void moments(const Batch& batch, mat& mean, mat& sd) const;          ///< n x K each
  virtual void cumulative(const Batch& batch, const vec& at, mat& out) const;  ///< P_k(y <= at_i): n x K
  // Classification:
  virtual uword classes() const { return 0; }
  virtual void class_probabilities(const Batch& batch, arma::cube& out) const;  ///< n x C x K
  /// out (n x C) += sum_k weight(i, k) p_k(c | x_i).
  virtual void add_class_probabilities(const Batch& batch, const mat& weight, mat& out) const;
};

/// Small random values for the fields that are free.
void randomise_fields(const std::vector<Field>& fields, Rng& rng);

/// Families that a model can have, by name: the table that files, the command line and tests go by.
std::unique_ptr<ExpertFamily> make_experts(std::string_view family, const ExpertShape& shape);
struct FamilyTraits {
  Task task = Task::regression;
  bool noise = false;     ///< its noise can vary with the inputs
  bool log_link = false;  ///< coefficients add up to the logarithm of the mean; the target cannot be negative
  bool kink = false;      ///< its log density has no second derivative where the target meets the location
  bool positive = false;  ///< the target is above 0
  bool heavy_tails = false;  ///< made for targets far from the rest, which are to have no region of their own
};
FamilyTraits family_traits(std::string_view family);
std::vector<std::string> expert_families();

}  // namespace moekit
