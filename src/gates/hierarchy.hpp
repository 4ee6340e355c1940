#pragma once
#include <functional>
#include <span>
#include <vector>

#include "moekit/matrix.hpp"

namespace moekit {

/// The shape of a binary tree whose K leaves are experts. Leaves stand side by side; between any two
/// neighbours stands the node that tells them apart, and of the nodes in a range the least deep is the root
/// of its part. So any numbers at all say a tree (a file cannot hold a broken one), and dropping leaves
/// leaves the nodes that still tell somebody apart.
class Hierarchy {
 public:
  using uword = arma::uword;
  /// Places first .. gap lie on the left, gap + 1 .. last on the right.
  struct Node {
    uword gap, first, last, depth;
  };

  explicit Hierarchy(uword leaves);

  uword count() const { return place_.size(); }
  /// Was the tree built for its leaves, or is it only the one that any numbers say?
  bool arranged() const { return depth_.size() < 2 || depth_[0] >= 0; }
  /// Numbers of the file: for each expert its place from the left; for each gap the depth of its node.
  std::span<double> place() { return place_; }
  std::span<double> depth() { return depth_; }

  /// The expert at each place.
  std::vector<uword> leaves() const;
  /// Every node before those below it, from left to right.
  std::vector<Node> nodes() const;

  /// Leaf j becomes old leaf from[j]; twins stand side by side with nodes of their own below all others.
  /// Returns for each new gap the old gap whose node now stands there, or `none`, and in `twins` for each of
  /// those how many leaves are on the right of it (one is on the left).
  static constexpr uword none = static_cast<uword>(-1);
  std::vector<uword> select(std::span<const uword> from, std::vector<uword>& twins);

  /// Builds the tree from above: leaves are cut in two where their centres (d x K) scatter most, weighed by
  /// `rows` (K).
  void arrange(const arma::mat& centres, const arma::vec& rows);
  /// A tree that is as even as it can be, of leaves of which nothing is known.
  void balance();

 private:
  void number_depths();
  /// From above; `cut` sorts the leaves of a part and says after which of them it ends on the left.
  void build(const std::function<uword(std::span<uword>)>& cut);

  std::vector<double> place_, depth_;
};

}  // namespace moekit
