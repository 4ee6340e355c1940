#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moekit/experts.hpp"

namespace moekit {

/// Something that a gate says about its features, for people to read. Values: p, one a feature; a weight: 1.
struct GateForm {
  enum class Kind {
    score,   ///< of expert `index` against the last: ln g_index / g_last = values . features
    node,    ///< of a tree: ln of the weight that goes left against right = values . features
    weight,  ///< of expert `index` before any feature is seen
    centre,  ///< of the region of expert `index`
    spread,  ///< standard deviations of the features in that region
  };
  Kind kind = Kind::score;
  uword index = 0;
  vec values;
  std::vector<uword> left, right;  ///< node: the experts on either side
};

/// Says for each row how much every expert counts there.
class GateFamily {
 public:
  virtual ~GateFamily() = default;
  virtual std::string_view name() const = 0;
  virtual uword count() const = 0;  ///< K
  virtual std::unique_ptr<GateFamily> clone() const = 0;
  virtual std::vector<Field> fields() = 0;
  /// As of experts.
  virtual void state(Archive& archive);
  /// New expert j takes the place of old expert from[j]: duplicate, drop, reorder.
  virtual void select(std::span<const uword> from) = 0;
  virtual std::vector<GateForm> forms() const = 0;
  /// The scores of forms() as one matrix, p x K, columns adding up to zero; empty for a gate without scores.
  mat coefficients() const;
  virtual double free_parameters() const = 0;
  virtual double effective_parameters() const = 0;

  /// out: n x K, ln g_k(x).
  virtual void log_prob(const Batch& batch, mat& out) const = 0;
  /// out: n, ln p(x) of the features under the gate; false where it has no density of them. What such a gate
  /// climbs is the joint ln p(x, y). Low values: rows unlike those of training.
  virtual bool log_input(const Batch&, vec&) const { return false; }

  /// d ln g_k(x_i) / d gamma, n x parameters, in the order of the fields that move (positive ones by their
  /// logarithm). With a density of the features: d ln p(x_i) g_k(x_i), as it is the joint one that is
  /// climbed.
  virtual void scores(const Batch& batch, uword k, mat& out) const = 0;

  // Training by EM, as experts are; networks have no such step.
  virtual bool closed_step() const { return true; }
  virtual std::size_t sums() const = 0;
  /// `prob`: n x K gate weights; `responsibility`: n x K, already times the row's weight.
  virtual void add(const Batch& batch, const mat& prob, const mat& responsibility,
                   std::span<double> sums) const = 0;
  virtual void update(std::span<const double> sums, const Penalty& penalty) = 0;

  // Training by gradients.
  virtual void set_penalty(const Penalty& penalty) = 0;
  virtual double log_prior() const = 0;
  virtual void add_prior_gradient(std::span<double> gradient) const = 0;
  /// gradient += sum_ik weight(i, k) d ln g_k(x_i) / d gamma, in the order of the columns of scores().
  virtual void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const;
  /// Scores before the softmax, n x K; false for a gate that is no softmax of scores.
  virtual bool logits(const Batch&, mat&) const { return false; }
  /// gradient += sum_ik weight(i, k) d logit_k(x_i) / d gamma; of gates with logits() only.
  virtual void add_logit_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const;
  /// Small random parameters to begin from.
  virtual void randomise(Rng rng);
};

/// What a gate is made for: K, and for each feature the group that shares a prior, 0 for the intercept.
struct GateShape {
  uword experts = 1;
  std::vector<uword> groups = {0};
};
std::unique_ptr<GateFamily> make_gate(std::string_view family, const GateShape& shape);
struct GateTraits {
  bool inputs = true;      ///< weights depend on the inputs
  bool hierarchy = false;  ///< a tree of experts, grown leaf by leaf
  bool logits = false;     ///< a softmax of scores
  bool network =
      false;  ///< trained by gradients only; its name ends in the widths of hidden layers: "mlp:64"
  bool product_keys = false;  ///< chooses among neurons inside one network
};
GateTraits gate_traits(std::string_view family);
/// Numbers that a gate of this shape holds, so that a file cannot ask for a large allocation.
double gate_numbers(std::string_view family, const GateShape& shape);
/// Those of mixtures with a fixed name; "mlp:H" is one more, and "product-key".
std::vector<std::string> gate_families();

}  // namespace moekit
