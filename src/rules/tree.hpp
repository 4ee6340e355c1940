#pragma once
#include <vector>

#include "rules/row_table.hpp"

namespace moekit::rules {

/// Rows that go left at a node: those whose code is marked.
struct Split {
  std::size_t input = 0;
  std::vector<bool> left;     // by code
  bool missing_left = false;  // rows without a value
  bool goes_left(std::uint16_t code) const { return code == RowTable::kMissing ? missing_left : left[code]; }
};

struct Node {
  Split split;
  int parent = -1, left = -1, right = -1;  // left < 0: a leaf
  int tests = 0, conditions = 0;           // on the path; tests of one category together are one condition
  std::vector<std::uint32_t> rows;
  std::vector<double> weight;  // by region
  double total() const;
  std::uint32_t majority() const;
};

/// A classification tree by Gini's index, with at most so many conditions on a path. Node 0 is the root.
std::vector<Node> grow_tree(const RowTable& table, int conditions);

}  // namespace moekit::rules
