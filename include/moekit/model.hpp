#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "moekit/basis.hpp"
#include "moekit/conformal.hpp"
#include "moekit/experts.hpp"
#include "moekit/gate.hpp"
#include "moekit/region_shape.hpp"
#include "moekit/routing_rule.hpp"
#include "moekit/schema.hpp"

namespace moekit {

/// A copyable owner of a polymorphic value: copying clones.
template <class Base>
class Value {
 public:
  Value() = default;
  explicit Value(std::unique_ptr<Base> p) : p_(std::move(p)) {}
  Value(const Value& other) : p_(other.p_ ? other.p_->clone() : nullptr) {}
  Value(Value&&) noexcept = default;
  Value& operator=(Value other) noexcept {
    p_ = std::move(other.p_);
    return *this;
  }
  Base* operator->() { return p_.get(); }
  const Base* operator->() const { return p_.get(); }
  Base& operator*() { return *p_; }
  const Base& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  std::unique_ptr<Base> p_;
};

/// A softmax-gated mixture of experts: p(y | x) = sum_k g_k(x) f_k(y | x). Jacobs, Jordan, Nowlan, Hinton
/// 1991. The sum is over the experts that `routing` picks for a row.
struct Mixture {
  Basis gate_basis, expert_basis, noise_basis;
  Value<GateFamily> gate;
  Value<ExpertFamily> experts;
  RoutingRule routing;
  std::vector<double> share;  ///< mean responsibility of each expert over the training rows, falling
  RegionShapes shapes;        ///< where the rows of each expert lie

  uword count() const { return experts->count(); }
  /// Features and standardised target of a block.
  void prepare(const Schema& schema, const Block& block, Batch& batch) const;
  double free_parameters() const { return gate->free_parameters() + experts->free_parameters(); }
  double effective_parameters() const;
  /// Every field of the gate, then of each expert in turn.
  std::vector<Field> fields();
  void select(std::span<const uword> from);
};

/// One row of the table of starts.
struct Start {
  std::string kind;           ///< how it began: "k-means", "lines", ...
  double log_likelihood = 0;  ///< where it ended; for a start that was not finished, after its short run
  double score = 0;           ///< what starts are compared by: log-likelihood less penalties
  bool finished = false;
  bool refused = false;
  std::string reason;     ///< why it was refused
  double difference = 0;  ///< share of rows whose most responsible expert differs from the best start's
  int iterations = 0;
};

/// One size on the way of `--experts auto`.
struct GrowthStep {
  uword experts = 0;
  double held_out = 0;        ///< log-likelihood a unit of weight of rows held back, units of the target
  double standard_error = 0;  ///< of its difference to the best size's, row by row; 0 for the best
};

/// How a model was made; in the model file, so no times and no thread counts.
struct Provenance {
  std::string version;                                       ///< of the program
  std::vector<std::pair<std::string, std::string>> options;  ///< those that the user set, in a fixed order
  std::uint64_t seed = 0;
  std::uint64_t fingerprint = 0;  ///< of the training rows
  std::string status;             ///< converged, iteration_limit, stopped
  int iterations = 0;
  double log_likelihood = 0;  ///< over the training rows, units of the target
  double parameters = 0, effective_parameters = 0;
  double aic = 0, bic = 0, icl = 0;
  double single_log_likelihood = 0;  ///< K = 1 beside it
  int best_hits = 0;                 ///< starts that reached the best one
  std::vector<Start> starts;
  std::vector<GrowthStep> growth;  ///< sizes that were tried, if their number was to be found
  std::vector<double> trace;  ///< log-likelihood by accepted pass; joint where the gate models its inputs
  std::vector<std::string> notes;
};

/// Where standard errors come from (standard_errors.hpp).
enum class ErrorKind { none, information, sandwich, bootstrap };

/// Standard errors of coefficients(model), units of the data, of the first member.
struct StandardErrors {
  ErrorKind kind = ErrorKind::none;
  bool penalised = false;      ///< of penalised coefficients, given the penalties
  int replicates = 0;          ///< of the bootstrap, those that were used
  std::vector<double> values;  ///< one for each of coefficients(model), or empty; NaN: not identified
};

struct Model {
  Schema schema;
  std::string family, gate_family;  ///< names in the tables of experts and gates
  std::vector<uword> hidden;        ///< widths of the experts' hidden layers; none: they are linear
  Neurons neurons;                  ///< of a product-key gate; count 0: a mixture
  std::vector<Mixture> members;     ///< an ensemble has several
  bool full_covariance = false;     ///< several targets: correlated within an expert
  Conformal conformal;              ///< exact intervals, if the model is calibrated
  Provenance provenance;
  StandardErrors standard_errors;
};

/// Experts of the first member: of a network its neurons.
inline uword experts_of(const Model& model) {
  return model.neurons.count > 0 ? model.neurons.count : model.members.front().count();
}

/// What posterior() says of a block; buffers are reused.
struct Posterior {
  Batch batch;
  mat gate;                  ///< n x K: gate weights, under the mixture's routing
  bool keep_before = false;  ///< in: is gate_before wanted?
  mat gate_before;           ///< n x K: what they were before it; empty where every expert answers
  Picks picks;               ///< who is asked; the batch refers to it
  mat log_density;     ///< n x K, for experts that are asked: ln f_k, standardised target; may be overwritten
  mat responsibility;  ///< n x K (not times weight)
  vec log_likelihood;  ///< n: ln p(y | x), standardised target
};

/// E step for one block: gate weights, responsibilities and log-likelihood of each row, in log space.
void posterior(const Mixture& mixture, const Schema& schema, const Block& block, Posterior& out);
/// Gate weights only (rows without target).
void gate_weights(const Mixture& mixture, const Schema& schema, const Block& block, Posterior& out);

/// Sum over rows of weight x ln p(y | x), natural log, in the units of the target.
double log_likelihood(const Model& model, const Source& source, const Compute& compute = {});
/// ln of the factor that turns a (joint) density of the standardised target into one in the target's units.
double log_unit(const Schema& schema);

}  // namespace moekit
