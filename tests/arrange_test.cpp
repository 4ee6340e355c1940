#include "train/arrange.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "gates/hierarchy.hpp"
#include "moekit/rng.hpp"

using namespace moekit;
using arma::mat;
using arma::uword;
using arma::vec;

namespace {

/// Rows in regions that straight cuts make, one inside the other; every region has rows.
std::vector<uword> cut_regions(const mat& x, uword count, Rng& rng) {
  std::vector<uword> region(x.n_rows, 0);
  for (uword made = 1; made < count;) {
    const uword chosen = rng.below(made);
    vec normal(x.n_cols);
    for (double& v : normal) v = rng.normal();
    const uword through = rng.below(x.n_rows);
    if (region[through] != chosen) continue;
    std::vector<uword> next = region;
    uword inside = 0, beyond = 0;
    for (uword i = 0; i < x.n_rows; ++i) {
      if (region[i] != chosen) continue;
      const bool over = arma::dot(x.row(i).t() - x.row(through).t(), normal) > 0;
      (over ? beyond : inside) += 1;
      if (over) next[i] = made;
    }
    if (inside < 30 || beyond < 30) continue;
    region = next;
    ++made;
  }
  return region;
}

/// Whether a straight cut parts the rows, by the perceptron (Rosenblatt 1958), which finds it if there is
/// one.
bool separable(const mat& x, const std::vector<int>& side) {
  vec w(x.n_cols + 1, arma::fill::zeros);
  for (int epoch = 0; epoch < 3000; ++epoch) {
    bool wrong = false;
    for (uword i = 0; i < x.n_rows; ++i) {
      const vec z = arma::join_cols(vec{1.0}, x.row(i).t());
      if (side[i] == 0 || side[i] * arma::dot(w, z) > 0) continue;
      w += side[i] * z;
      wrong = true;
    }
    if (!wrong) return true;
  }
  return false;
}

/// Nodes of the tree whose sides no straight cut parts.
int tangled(const Hierarchy& tree, const mat& x, const std::vector<uword>& region) {
  const std::vector<uword> leaves = tree.leaves();
  int count = 0;
  for (const Hierarchy::Node& node : tree.nodes()) {
    std::vector<int> side(x.n_rows, 0);
    for (uword i = 0; i < x.n_rows; ++i) {
      const auto at = static_cast<uword>(std::ranges::find(leaves, region[i]) - leaves.begin());
      if (at >= node.first && at <= node.last) side[i] = at <= node.gap ? -1 : 1;
    }
    count += !separable(x, side);
  }
  return count;
}

}  // namespace

TEST_CASE("experts of regions that were cut one inside the other are arranged so that cuts part them again") {
  constexpr uword kCount = 6;
  int ours = 0, by_centres = 0, nodes = 0;
  for (std::uint64_t trial = 0; trial < 12; ++trial) {
    Rng rng(trial, 3);
    mat x(400, 2);
    for (double& v : x) v = rng.normal();
    const std::vector<uword> region = cut_regions(x, kCount, rng);
    mat share(x.n_rows, kCount, arma::fill::zeros);
    for (uword i = 0; i < x.n_rows; ++i) share(i, region[i]) = 1;
    const train::Arrangement found = train::arrange_experts(x, share);
    std::vector<double> sorted = found.place;
    std::ranges::sort(sorted);
    for (uword k = 0; k < kCount; ++k) REQUIRE(sorted[k] == static_cast<double>(k));
    Hierarchy tree(kCount), plain(kCount);
    std::ranges::copy(found.place, tree.place().begin());
    std::ranges::copy(found.depth, tree.depth().begin());
    mat centres = x.t() * share;
    const vec rows = arma::sum(share, 0).t();
    centres.each_row() /= rows.t();
    plain.arrange(centres, rows);
    ours += tangled(tree, x, region);
    by_centres += tangled(plain, x, region);
    nodes += static_cast<int>(kCount) - 1;
  }
  // A straight cut can be missed: sides are judged along one discriminant each.
  CHECK(ours <= nodes / 10);
  CHECK(2 * ours <= by_centres);
}

TEST_CASE("arranging stands experts without rows, features without spread, and rows that are all alike") {
  const auto whole = [](const train::Arrangement& found, uword count) {
    std::vector<double> sorted = found.place;
    std::ranges::sort(sorted);
    for (uword k = 0; k < count; ++k)
      if (sorted[k] != static_cast<double>(k)) return false;
    return found.depth.size() == count - 1;
  };
  mat share(50, 4, arma::fill::zeros);
  for (uword i = 0; i < 50; ++i) share(i, i % 2) = 1;  // two of four have no rows
  mat x(50, 3, arma::fill::ones);
  CHECK(whole(train::arrange_experts(x, share), 4));
  for (uword i = 0; i < 50; ++i) x(i, 0) = static_cast<double>(i % 2);
  CHECK(whole(train::arrange_experts(x, share), 4));
  CHECK(whole(train::arrange_experts(mat(50, 0), share), 4));
  CHECK(whole(train::arrange_experts(mat(50, 2, arma::fill::zeros), mat(50, 3, arma::fill::zeros)), 3));
}

TEST_CASE("leaves of which nothing is known are halved again and again") {
  for (const uword count : {1, 2, 3, 5, 8, 100}) {
    CAPTURE(count);
    Hierarchy tree(count);
    tree.balance();
    CHECK(tree.arranged());
    uword deepest = 0;
    for (const Hierarchy::Node& node : tree.nodes()) {
      const uword left = node.gap - node.first + 1, right = node.last - node.gap;
      CHECK(std::max(left, right) - std::min(left, right) <= 1);
      deepest = std::max(deepest, node.depth + 1);
    }
    CHECK(tree.nodes().size() == count - 1);
    CHECK(deepest == static_cast<uword>(std::ceil(std::log2(static_cast<double>(count)))));
  }
}
