#pragma once
#include <vector>

#include "moekit/diagnose.hpp"
#include "row_sample.hpp"
#include "running_moments.hpp"

namespace moekit {

/// What every input looks like in every region: moments and level shares of all rows, quantiles of a sample.
class RegionColumns {
 public:
  RegionColumns(const Schema& schema, uword regions);
  uword regions() const { return regions_; }
  /// About how many numbers are summed.
  std::size_t cells() const;
  /// Moments and shares; gate: n x K.
  void add(const Schema& schema, const Block& block, const mat& gate);
  /// Adds the moments and shares that another one has.
  void merge(const RegionColumns& later);
  /// Quantiles; first: rows seen before this block.
  void sample(const Block& block, const mat& gate, std::uint64_t first);
  /// For each region one entry a numeric column and one a level.
  std::vector<std::vector<RegionColumn>> columns(const Schema& schema) const;

 private:
  /// A row of the sample, whose weight is spread over the regions.
  struct Sampled {
    std::uint64_t key;
    std::vector<double> numeric, weight;
  };
  /// Sums of one region over one input, scaled as in training.
  struct Sums {
    RunningMoments present;
    double missing = 0;
    std::vector<double> levels;  // weights; the last is missing or new
  };

  void add_numeric(const Column& column, uword j, const Block& block, const mat& inside);
  void add_levels(uword j, const Column& column, const Block& block, const mat& inside);
  void fill_quantiles(const Column& column, std::vector<RegionColumn>& out) const;
  std::vector<RegionColumn> numeric_columns(const Column& column, uword j) const;
  void level_columns(const Column& column, uword j, std::vector<std::vector<RegionColumn>>& out) const;

  uword regions_, numeric_;              // regions, numeric inputs
  std::vector<std::vector<Sums>> sums_;  // input, region
  std::vector<double> weight_;           // region
  RowSample<Sampled> sample_;
};

}  // namespace moekit
