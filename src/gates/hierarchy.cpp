#include "gates/hierarchy.hpp"

#include <algorithm>
#include <numeric>

namespace moekit {

namespace {

using arma::mat;
using arma::uword;
using arma::vec;

/// The direction along which weighted columns scatter most, by a few rounds of the power method.
vec main_direction(const mat& columns, const vec& weight) {
  constexpr int kRounds = 30;
  vec direction(columns.n_rows, arma::fill::zeros);
  double farthest = 0;
  for (uword k = 0; k < columns.n_cols; ++k) {
    const double size = weight[k] * arma::dot(columns.col(k), columns.col(k));
    if (size <= farthest) continue;
    farthest = size;
    direction = columns.col(k);
  }
  for (int round = 0; round < kRounds && farthest > 0; ++round) {
    vec next = columns * (weight % (columns.t() * direction));
    const double size = arma::norm(next);
    if (!(size > 0)) break;
    direction = next / size;
  }
  return direction;
}

/// Sorts `leaves` along their main direction and says after which of them the two sides differ most.
uword widest_cut(std::span<uword> leaves, const mat& centres, const vec& rows) {
  const uword n = leaves.size();
  mat own(centres.n_rows, n);
  vec weight(n);
  for (uword k = 0; k < n; ++k) {
    own.col(k) = centres.col(leaves[k]);
    weight[k] = rows[leaves[k]] + 1e-9;  // leaves without rows have a place too
  }
  own.each_col() -= vec(own * weight / arma::accu(weight));
  const vec score = own.t() * main_direction(own, weight);
  const arma::uvec order = arma::stable_sort_index(score);
  std::vector<uword> sorted(n);
  for (uword k = 0; k < n; ++k) sorted[k] = leaves[order[k]];
  std::ranges::copy(sorted, leaves.begin());
  const double all = arma::accu(weight);
  double left = 0, sum = 0, best = -1;
  uword chosen = n / 2 - 1;
  for (uword k = 0; k + 1 < n; ++k) {
    left += weight[order[k]];
    sum += weight[order[k]] * score[order[k]];
    const double between = sum * sum * (1 / left + 1 / (all - left));  // scores have mean zero
    if (between > best * (1 + 1e-9) && between > 0) {
      best = between;
      chosen = k;
    }
  }
  return chosen;
}

}  // namespace

Hierarchy::Hierarchy(uword leaves)
    : place_(leaves), depth_(leaves > 0 ? leaves - 1 : 0, leaves > 2 ? -1.0 : 0.0) {
  std::iota(place_.begin(), place_.end(), 0.0);
}

std::vector<uword> Hierarchy::leaves() const {
  std::vector<uword> at(count());
  std::iota(at.begin(), at.end(), uword{0});
  std::ranges::stable_sort(at, [&](uword a, uword b) { return place_[a] < place_[b]; });
  return at;
}

std::vector<Hierarchy::Node> Hierarchy::nodes() const {
  std::vector<Node> out, open;
  const auto visit = [&](uword first, uword last, uword depth) {
    if (first < last) open.push_back({0, first, last, depth});
  };
  visit(0, count() - 1, 0);
  while (!open.empty()) {
    Node node = open.back();
    open.pop_back();
    const auto begin = depth_.begin();
    node.gap = static_cast<uword>(std::min_element(begin + static_cast<std::ptrdiff_t>(node.first),
                                                   begin + static_cast<std::ptrdiff_t>(node.last)) -
                                  begin);
    out.push_back(node);
    visit(node.gap + 1, node.last, node.depth + 1);
    visit(node.first, node.gap, node.depth + 1);
  }
  return out;
}

void Hierarchy::number_depths() {
  for (const Node& node : nodes()) depth_[node.gap] = static_cast<double>(node.depth);
}

std::vector<uword> Hierarchy::select(std::span<const uword> from, std::vector<uword>& twins) {
  const std::vector<uword> old = leaves();
  std::vector<double> place(from.size()), depth;
  std::vector<uword> source;
  twins.clear();
  uword next = 0, last = none;  // places: the next free one, and the old one of the leaf before it
  for (uword at = 0; at < old.size(); ++at) {
    const uword copies = static_cast<uword>(std::ranges::count(from, old[at]));
    if (copies == 0) continue;
    if (last != none) {
      const auto begin = depth_.begin();
      const auto node = std::min_element(begin + static_cast<std::ptrdiff_t>(last),
                                         begin + static_cast<std::ptrdiff_t>(at));
      source.push_back(static_cast<uword>(node - begin));
      depth.push_back(*node);
      twins.push_back(0);
    }
    last = at;
    for (uword j = 0, copy = 0; j < from.size(); ++j) {
      if (from[j] != old[at]) continue;
      place[j] = static_cast<double>(next++);
      if (++copy == copies) continue;
      source.push_back(none);
      depth.push_back(static_cast<double>(count() + copy));  // below every node there is
      twins.push_back(copies - copy);
    }
  }
  const bool known = arranged();
  place_ = std::move(place);
  depth_ = std::move(depth);
  if (known || depth_.size() < 2) number_depths();
  return source;
}

void Hierarchy::build(const std::function<uword(std::span<uword>)>& cut) {
  std::vector<uword> order = leaves();
  struct Part {
    uword first, last, depth;
  };
  std::vector<Part> open{{0, count() - 1, 0}};
  while (!open.empty()) {
    const Part part = open.back();
    open.pop_back();
    if (part.first == part.last) continue;
    const uword gap = part.first + cut(std::span(order).subspan(part.first, part.last - part.first + 1));
    depth_[gap] = static_cast<double>(part.depth);
    open.push_back({gap + 1, part.last, part.depth + 1});
    open.push_back({part.first, gap, part.depth + 1});
  }
  for (uword at = 0; at < count(); ++at) place_[order[at]] = static_cast<double>(at);
}

void Hierarchy::arrange(const mat& centres, const vec& rows) {
  build([&](std::span<uword> part) { return widest_cut(part, centres, rows); });
}

void Hierarchy::balance() {
  build([](std::span<uword> part) { return part.size() / 2 - 1; });
}

}  // namespace moekit
