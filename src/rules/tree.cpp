#include "rules/tree.hpp"

#include <algorithm>
#include <numeric>

namespace moekit::rules {

namespace {

constexpr std::size_t kLeastRows = 5;   // of a leaf
constexpr double kLeastGain = 1e-9;     // of a split, a share of the node's impurity
constexpr std::size_t kMostOrders = 8;  // levels are put in order by so many regions at most

double squares(const std::vector<double>& weight) {
  return std::inner_product(weight.begin(), weight.end(), weight.begin(), 0.0);
}

/// What lies on one side of a cut: weight by region, total, sum of squares, rows.
struct Side {
  explicit Side(std::size_t regions) : weight(regions, 0.0) {}
  std::vector<double> weight;
  double total = 0, square = 0;
  std::size_t rows = 0;

  void add(std::size_t region, double w) {
    square += w * (2 * weight[region] + w);
    weight[region] += w;
    total += w;
  }
  /// Larger is purer: sum of w_c^2 / W.
  double purity() const { return total > 0 ? square / total : 0; }
};

/// Weights of a node's rows by code and region; the last code stands for missing values.
struct Histogram {
  Histogram(const RowTable& table, const Node& node, const RowTable::Input& input)
      : regions(table.regions), codes(input.codes), weight((codes + 1) * regions, 0.0), rows(codes + 1, 0) {
    for (const std::uint32_t i : node.rows) {
      const std::size_t code = std::min<std::size_t>(input.code[i], codes);
      weight[code * regions + table.region[i]] += table.weight[i];
      ++rows[code];
    }
  }
  void add_to(Side& side, std::size_t code, double sign) const {
    for (std::size_t c = 0; c < regions; ++c)
      if (const double w = weight[code * regions + c]; w != 0) side.add(c, sign * w);
    side.rows = sign > 0 ? side.rows + rows[code] : side.rows - rows[code];
  }

  std::size_t regions, codes;
  std::vector<double> weight;
  std::vector<std::size_t> rows;
};

struct Best {
  double purity = 0;
  Split split;
};

/// All cuts of the codes in this order, missing values on either side.
void try_order(const Histogram& h, const std::vector<std::size_t>& order, std::size_t input, Best& best) {
  for (const bool missing_left : {true, false}) {
    if (missing_left && h.rows[h.codes] == 0) continue;
    Side left(h.regions), right(h.regions);
    h.add_to(missing_left ? left : right, h.codes, 1);
    for (const std::size_t code : order) h.add_to(right, code, 1);
    // With missing values on the left they may be all there is.
    for (std::size_t cut = 0; cut < order.size(); ++cut) {
      if (cut > 0 || missing_left) {
        const double purity = left.purity() + right.purity();
        if (left.rows >= kLeastRows && right.rows >= kLeastRows && purity > best.purity) {
          best.purity = purity;
          best.split = {input, std::vector<bool>(h.codes, false), missing_left};
          for (std::size_t i = 0; i < cut; ++i) best.split.left[order[i]] = true;
        }
      }
      h.add_to(left, order[cut], 1);
      h.add_to(right, order[cut], -1);
    }
    const double purity = left.purity() + right.purity();  // missing values alone on the right
    if (!missing_left && left.rows >= kLeastRows && right.rows >= kLeastRows && purity > best.purity) {
      best.purity = purity;
      best.split = {input, std::vector<bool>(h.codes, true), missing_left};
    }
  }
}

/// Levels have no order; by the share of a region in each they get one for every region that matters.
void try_levels(const Histogram& h, const Node& node, std::size_t input, Best& best) {
  std::vector<std::size_t> regions(h.regions);
  std::iota(regions.begin(), regions.end(), 0);
  std::stable_sort(regions.begin(), regions.end(),
                   [&](std::size_t a, std::size_t b) { return node.weight[a] > node.weight[b]; });
  regions.resize(std::min(regions.size(), kMostOrders));
  for (const std::size_t region : regions) {
    if (!(node.weight[region] > 0)) continue;
    std::vector<std::size_t> order;
    std::vector<double> share(h.codes, 0);
    for (std::size_t code = 0; code < h.codes; ++code) {
      if (h.rows[code] == 0) continue;
      double all = 0;
      for (std::size_t c = 0; c < h.regions; ++c) all += h.weight[code * h.regions + c];
      share[code] = all > 0 ? h.weight[code * h.regions + region] / all : 0;
      order.push_back(code);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return share[a] > share[b]; });
    try_order(h, order, input, best);
  }
}

Node make_node(const RowTable& table, std::vector<std::uint32_t> rows, int parent) {
  Node node;
  node.parent = parent;
  node.weight.assign(table.regions, 0.0);
  for (const std::uint32_t i : rows) node.weight[table.region[i]] += table.weight[i];
  node.rows = std::move(rows);
  return node;
}

Best best_split(const RowTable& table, const Node& node) {
  Best best;
  for (std::size_t j = 0; j < table.inputs.size(); ++j) {
    const Histogram h(table, node, table.inputs[j]);
    if (table.inputs[j].numeric()) {
      std::vector<std::size_t> order(h.codes);
      std::iota(order.begin(), order.end(), 0);
      try_order(h, order, j, best);
    } else {
      try_levels(h, node, j, best);
    }
  }
  return best;
}

}  // namespace

double Node::total() const { return std::accumulate(weight.begin(), weight.end(), 0.0); }

std::uint32_t Node::majority() const {
  return static_cast<std::uint32_t>(std::max_element(weight.begin(), weight.end()) - weight.begin());
}

namespace {

/// More tests than this on a path only chase single levels.
constexpr int kMostTests = 8;

/// Is the input, a category, tested above the node's own test?
bool tested_above(const RowTable& table, const std::vector<Node>& tree, std::size_t node, std::size_t input) {
  if (table.inputs[input].numeric()) return false;
  for (int at = tree[node].parent; at >= 0; at = tree[at].parent)
    if (tree[at].split.input == input) return true;
  return false;
}

}  // namespace

std::vector<Node> grow_tree(const RowTable& table, int conditions) {
  std::vector<std::uint32_t> all(table.rows());
  std::iota(all.begin(), all.end(), 0);
  std::vector<Node> tree = {make_node(table, std::move(all), -1)};
  for (std::size_t n = 0; n < tree.size(); ++n) {
    const double total = tree[n].total();
    if (tree[n].conditions == conditions || tree[n].tests == kMostTests || !(total > 0)) continue;
    const double here = squares(tree[n].weight) / total, impurity = total - here;
    const Best best = best_split(table, tree[n]);
    if (!(best.purity - here > kLeastGain * impurity) || !(impurity > 0)) continue;
    std::vector<std::uint32_t> left, right;
    const auto& code = table.inputs[best.split.input].code;
    for (const std::uint32_t i : tree[n].rows) (best.split.goes_left(code[i]) ? left : right).push_back(i);
    const int parent = static_cast<int>(n);
    tree[n].split = best.split;
    tree[n].left = static_cast<int>(tree.size());
    tree[n].right = tree[n].left + 1;
    const int more = tested_above(table, tree, n, best.split.input) ? 0 : 1;
    for (std::vector<std::uint32_t>* rows : {&left, &right}) {
      tree.push_back(make_node(table, std::move(*rows), parent));
      tree.back().tests = tree[n].tests + 1;
      tree.back().conditions = tree[n].conditions + more;
    }
  }
  return tree;
}

}  // namespace moekit::rules
