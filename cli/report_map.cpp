// gate_maps of report_slices.hpp: the gate on a grid, and where its largest weight changes hands.
#include <algorithm>
#include <array>
#include <cmath>

#include "moekit/sum.hpp"
#include "report_json.hpp"
#include "report_slices.hpp"
#include "typical_row.hpp"

namespace moekit::cli {

namespace {

/// Pairs of the first six inputs are drawn finely, all others coarsely.
constexpr std::size_t kFinePairs = 15, kFine = 96, kCoarse = 32;
/// Letters that the coarse maps may have together: the page stays small.
constexpr std::size_t kMostLetters = 1'200'000;
/// Multiplications that the maps of a report may cost, about a second.
constexpr double kBudget = 3e9;

/// ln of the gate's weights on an n x n grid over one pair; point (i, j) stands at column j * n + i.
class Grid {
 public:
  Grid(const Model& model, std::size_t x, std::size_t y, const std::vector<Range>& ranges, std::size_t n);
  /// Region of each cell as pairs (region from 1, how many cells), row by row from the bottom.
  Json cells() const;
  /// Segments x1, y1, x2, y2 in shares of the axes.
  Json boundaries() const;

 private:
  struct Point {
    double x = 0, y = 0;
  };
  std::size_t at(std::size_t i, std::size_t j) const { return j * n_ + i; }
  Point place(std::size_t i, std::size_t j) const {
    const double n = static_cast<double>(n_);
    return {(static_cast<double>(i) + 0.5) / n, (static_cast<double>(j) + 0.5) / n};
  }
  /// Where on the way from a to b the weights of their two regions are equal.
  Point crossing(std::size_t a, Point from, std::size_t b, Point to) const;

  std::size_t n_;
  mat log_gate_;  // K x n^2
  std::vector<uword> region_;
};

Grid::Grid(const Model& model, std::size_t x, std::size_t y, const std::vector<Range>& ranges, std::size_t n)
    : n_(n), region_(n * n) {
  const Mixture& mixture = model.members.front();
  const Column &across = model.schema.inputs[x], &up = model.schema.inputs[y];
  const TypicalRow base = typical_row(model.schema);
  log_gate_.set_size(mixture.count(), n * n);
  Posterior work;
  work.keep_before = true;
  in_blocks(
      model.schema, n * n,
      [&](std::size_t i) {
        const Point p = place(i % n_, i / n_);
        TypicalRow row = base;
        row.set(across, std::lerp(ranges[x].low, ranges[x].high, p.x));
        row.set(up, std::lerp(ranges[y].low, ranges[y].high, p.y));
        return row;
      },
      [&](const Block& block, std::size_t first) {
        gate_weights(mixture, model.schema, block, work);
        // Those before routing, which are smooth where picks change.
        const mat& weight = work.gate_before.is_empty() ? work.gate : work.gate_before;
        for (uword i = 0; i < block.rows; ++i) {
          region_[first + i] = work.gate.row(i).index_max();
          for (uword k = 0; k < work.gate.n_cols; ++k)
            log_gate_(k, first + i) = std::log(std::max(weight(i, k), 1e-300));
        }
      });
}

Json Grid::cells() const {
  Json out = Json::array();
  for (std::size_t j = 0; j < n_; ++j)
    for (std::size_t i = 0, run = 0; i < n_; i = run) {
      for (run = i; run < n_ && region_[at(run, j)] == region_[at(i, j)]; ++run) {
      }
      out.push_back(region_[at(i, j)] + 1);
      out.push_back(run - i);
    }
  return out;
}

Grid::Point Grid::crossing(std::size_t a, Point from, std::size_t b, Point to) const {
  const uword k = region_[a], l = region_[b];
  const double lead = log_gate_(k, a) - log_gate_(l, a), lag = log_gate_(l, b) - log_gate_(k, b);
  const double part = lead + lag > 0 ? lead / (lead + lag) : 0.5;
  return {std::lerp(from.x, to.x, part), std::lerp(from.y, to.y, part)};
}

Json Grid::boundaries() const {
  const double steps = n_ > kCoarse ? 1e4 : 1e3;
  Json out = Json::array();
  const auto segment = [&](Point a, Point b) {
    for (const double value : {a.x, a.y, b.x, b.y}) out.push_back(std::round(value * steps) / steps);
  };
  for (std::size_t j = 0; j + 1 < n_; ++j)
    for (std::size_t i = 0; i + 1 < n_; ++i) {
      // The corners of a square, around it. Edges whose ends differ are crossed: two crossings are joined,
      // of more each goes to their middle.
      const std::array<std::size_t, 4> corner = {at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)};
      const std::array<Point, 4> point = {place(i, j), place(i + 1, j), place(i + 1, j + 1), place(i, j + 1)};
      std::vector<Point> crossings;
      for (std::size_t c = 0; c < 4; ++c) {
        const std::size_t next = (c + 1) % 4;
        if (region_[corner[c]] != region_[corner[next]])
          crossings.push_back(crossing(corner[c], point[c], corner[next], point[next]));
      }
      if (crossings.size() == 2) segment(crossings[0], crossings[1]);
      if (crossings.size() < 3) continue;
      Point middle;
      for (const Point& p : crossings) {
        middle.x += p.x / static_cast<double>(crossings.size());
        middle.y += p.y / static_cast<double>(crossings.size());
      }
      for (const Point& p : crossings) segment(p, middle);
    }
  return out;
}

}  // namespace

Json gate_maps(const Model& model, const std::vector<std::size_t>& inputs, const std::vector<Range>& ranges,
               const Compute& compute) {
  const double a_point = static_cast<double>(model.members.front().gate_basis.size() + 1) *
                         static_cast<double>(model.members.front().count() + 4);
  const auto pairs_of = [&](std::size_t n) { return kBudget / (a_point * static_cast<double>(n * n)); };
  const std::size_t fine = pairs_of(kFine) >= 3 ? kFine : kCoarse;
  double left = std::max(1.0, pairs_of(kCoarse));
  struct Pair {
    std::size_t x, y, n;
  };
  std::vector<Pair> pairs;  // of the most telling inputs first
  for (std::size_t second = 1; second < inputs.size() && (left >= 0 || pairs.empty()); ++second)
    for (std::size_t first = 0; first < second; ++first) {
      const bool finely = pairs.size() < kFinePairs && pairs_of(fine) > static_cast<double>(pairs.size());
      const std::size_t n = finely ? fine : kCoarse;
      left -= static_cast<double>(n * n) / static_cast<double>(kCoarse * kCoarse);
      if (!pairs.empty() && left < 0) break;
      pairs.push_back({inputs[first], inputs[second], n});
    }
  std::vector<Json> maps(pairs.size());
  parallel_for(pairs.size(), compute, [&](std::size_t i) {
    const auto [x, y, n] = pairs[i];
    const Grid grid(model, x, y, ranges, n);
    maps[i] = {{"x", x}, {"y", y}, {"n", n}, {"cells", grid.cells()}, {"boundaries", grid.boundaries()}};
  });
  Json out = Json::array();
  std::size_t letters = 0;
  for (Json& map : maps) {
    if (out.size() >= kFinePairs) letters += map.dump().size();
    if (letters > kMostLetters) break;
    out.push_back(std::move(map));
  }
  return out;
}

}  // namespace moekit::cli
