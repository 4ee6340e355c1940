#pragma once
#include <limits>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "moekit/evaluate.hpp"
#include "moekit/routing.hpp"
#include "moekit/rules.hpp"
#include "moekit/sum.hpp"

namespace moekit {

/// One input in one region, over the rows that the region's expert answers for (weighted by gate weight).
struct RegionColumn {
  std::string column, level;  ///< level: for categories one entry a level
  double mean = 0, sd = 0;    ///< numeric; for a level: its share in the region (mean)
  double q05 = 0, q25 = 0, q50 = 0, q75 = 0, q95 = 0;
  double difference = 0;  ///< (mean in the region - mean in the rest) / sd over all rows
  double missing = 0;
};

/// One target in a region.
struct RegionTarget {
  double mean = 0, sd = 0;
  /// The expert's own standard deviation, units of the target; NaN behind a log link, where it goes with the
  /// mean.
  double noise = std::numeric_limits<double>::quiet_NaN();
  double error = 0;  ///< rmse (or error rate) of the mixture inside the region
};

struct Region {
  double share = 0;           ///< mean gate weight
  double effective_rows = 0;  ///< sum of responsibilities (of gate weights without target)
  double rows_won = 0;        ///< share of rows with the largest gate weight here
  std::vector<RegionTarget> targets;
  std::vector<double> class_shares;
  std::vector<RegionColumn> columns;
};

struct Coefficient {
  /// "expert", "noise" (of the logarithm of the expert's noise), or of the gate: "gate" (scores against the
  /// last expert), "node" (of a tree: ln of left against right), "weight", "centre", "spread" (of a region's
  /// inputs); of several targets "correlation" (of `output` and `term` around their means)
  std::string part;
  uword expert = 0;  ///< 0-based; of a node: its number
  /// Label of the class, one of several targets, experts on either side of a node ("1 2 | 3"), or empty.
  std::string output;
  std::string term;
  double estimate = 0;      ///< units of the data; gate: against the last expert
  double standardised = 0;  ///< on the features (and the standardised target)
  double standard_error = std::numeric_limits<double>::quiet_NaN();  ///< of the estimate; NaN: not known

  /// Estimate over standard error, and how probable one at least as far from zero would be if the coefficient
  /// were zero (normal approximation). NaN without a standard error, and where zero is no question: for the
  /// level of the noise, whose logarithm is zero at one unit of the target only, and for weights, centres and
  /// spreads.
  double z() const;
  double p() const;
};

struct Diagnosis {
  std::uint64_t rows = 0;
  bool has_target = false;
  std::vector<Region> regions;
  PartitionRules rules;
  std::vector<Coefficient> coefficients;
  double gate_entropy = 0;                 ///< mean over rows, nats
  double boundary_share = 0;               ///< rows whose second gate weight is at least half the first
  double outlier_share = 0;                ///< rows whose target lies outside the central 99.9 %
  double load_cv2 = 0, max_over_mean = 0;  ///< balance of the shares
  double member_spread = 0;                ///< mean disagreement between the members of an ensemble
  RoutingReport routing;    ///< picks: those of the routing, else the expert with the largest weight
  std::vector<uword> dead;  ///< experts with a share under 1 / (100 K)
  Metrics metrics;
};

/// Row-wise columns of partition.csv.
struct PartitionRow {
  double gate_entropy = 0;
  bool boundary = false, outlier = false;
};
PartitionRow partition_row(const Prediction& prediction, uword row);
/// The same of all rows.
std::vector<PartitionRow> partition_rows(const Prediction& prediction);

/// Adds up a diagnosis block by block in bounded memory (quantiles by a sample).
class Diagnoser {
  struct State;
  struct Sums;

 public:
  /// What a block adds, summed beside other blocks.
  class Part {
    friend class Diagnoser;
    std::shared_ptr<const Sums> sums_;  // none where they are too large to have for each block
    std::vector<std::uint32_t> label_;
  };
  /// labels: names of the groups of rows that routing is compared with; empty: the classes of the target.
  explicit Diagnoser(const Model& model, std::vector<std::string> labels = {});
  /// label: the group of each row of the block, when labels were given.
  void add(const Block& block, const Prediction& prediction, std::span<const std::uint32_t> label = {});
  /// The same in two steps: measure() from any thread, then add() block by block in order; the bits are those
  /// of the one step. rows: partition_rows() of the prediction.
  Part measure(const Block& block, const Prediction& prediction, const std::vector<PartitionRow>& rows,
               std::span<const std::uint32_t> label = {}) const;
  void add(const Block& block, const Prediction& prediction, const Part& part);
  Diagnosis diagnosis(const Compute& compute = {}) const;

 private:
  const Model& model_;
  std::shared_ptr<State> state_;
};

/// Coefficients of gate and experts in the units of the data, with the model's standard errors.
std::vector<Coefficient> coefficients(const Model& model);

}  // namespace moekit
