#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "moekit/experts.hpp"

namespace moekit {

/// Says for each row how much every expert counts there.
class GateFamily {
 public:
  virtual ~GateFamily() = default;
  virtual std::string_view name() const = 0;
  virtual uword count() const = 0;  ///< K
  virtual std::unique_ptr<GateFamily> clone() const = 0;
  virtual std::vector<Field> fields() = 0;
  virtual void select(std::span<const uword> from) = 0;
  /// Coefficients: p x K; only differences between columns matter (they add up to zero).
  virtual mat coefficients() const = 0;
  virtual double free_parameters() const = 0;
  virtual double effective_parameters() const = 0;

  /// out: n x K, ln g_k(x).
  virtual void log_prob(const Batch& batch, mat& out) const = 0;

  /// d ln g_k(x_i) / d gamma, n x parameters, in the order of the fields that move (positive ones by their
  /// logarithm).
  virtual void scores(const Batch& batch, uword k, mat& out) const = 0;

  virtual std::size_t sums() const = 0;
  /// `prob`: n x K gate weights; `responsibility`: n x K, already times the row's weight.
  virtual void add(const Batch& batch, const mat& prob, const mat& responsibility,
                   std::span<double> sums) const = 0;
  virtual void update(std::span<const double> sums, const Penalty& penalty) = 0;
  virtual double log_prior() const = 0;
};

/// What a gate is made for: K, and for each feature the group that shares a prior, 0 for the intercept.
struct GateShape {
  uword experts = 1;
  std::vector<uword> groups = {0};
};
std::unique_ptr<GateFamily> make_gate(std::string_view family, const GateShape& shape);
std::vector<std::string> gate_families();

}  // namespace moekit
