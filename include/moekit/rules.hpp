#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "moekit/predict.hpp"

namespace moekit {

/// One test of a rule, in the units of the data.
struct Condition {
  enum class Kind { above, at_most, in, not_in };
  std::string column;
  Kind kind = Kind::above;
  double value = 0;                 ///< above, at_most
  std::vector<std::string> levels;  ///< in, not_in
  bool missing = false;             ///< does a row without a value satisfy it?
};

/// Where a region lies, in words. A region whose rows no test tells apart has no conditions: everywhere.
struct Rule {
  std::vector<Condition> conditions;  ///< at most 4, all of which must hold
  double coverage = 0;                ///< share of the region's rows that satisfy it
  double precision = 0;               ///< share of the rows that satisfy it that are the region's
  double lift = 0;                    ///< precision / share of the region
  /// "age > 42.5 and income in {A, B}"; "everywhere" without conditions, "nowhere" for a region without rows.
  std::string text() const;
};

/// Rules for the regions, from a shallow classification tree (Breiman, Friedman, Olshen & Stone 1984) that
/// tells which expert has the largest gate weight.
struct PartitionRules {
  std::vector<Rule> regions;  ///< K; empty where none are sought: over 256 experts, product keys
  double fidelity = 0;        ///< share of the rows whose expert the whole tree names
  uword leaves = 0;
  std::uint64_t rows = 0;  ///< that the tree has seen: a sample of large tables
};

/// Collects rows (a bounded sample that depends on their order alone), then fits the tree.
class RuleFinder {
 public:
  explicit RuleFinder(const Model& model);
  void add(const Block& block, const Prediction& prediction);
  PartitionRules rules() const;

 private:
  struct State;
  const Model& model_;
  std::shared_ptr<State> state_;
};

}  // namespace moekit
