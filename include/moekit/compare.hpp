#pragma once
#include <vector>

#include "moekit/predict.hpp"

namespace moekit {

/// How the partitions of two models lie on each other. Every row belongs to the region with the largest gate
/// weight, under either model.
struct PartitionMatch {
  mat rows;                  ///< Ka x Kb: weight of the rows in region a of the one and b of the other
  std::vector<int> partner;  ///< for each region a the region b matched with it, or -1: one to one, so that
                             ///< as many rows as possible lie in matched regions (Kuhn 1955)
  double agreement = 0;      ///< share of rows in matched regions
  double adjusted_rand = 0;  ///< Hubert & Arabie 1985: 1 the same partition, 0 as chance would have it
};

/// Adds up rows block by block.
class PartitionComparison {
 public:
  PartitionComparison(const Model& a, const Model& b);
  void add(const Block& block, const Prediction& a, const Prediction& b);
  PartitionMatch match() const;

 private:
  mat rows_;
};

}  // namespace moekit
