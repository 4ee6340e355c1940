// The routing report: closed forms on routings made by hand (docs/math.md, section 11).
#include "moekit/routing.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "moekit/error.hpp"
#include "moekit/rng.hpp"
#include "routing_text.hpp"

using namespace moekit;

namespace {

using Picks = std::vector<std::uint32_t>;
using Numbers = std::vector<double>;

/// Three rows of E = 4, K = 2, labels a, b, a.
RoutingTally three_rows() {
  RoutingTally tally(4, 2, {"a", "b"});
  const Numbers w = {0.75, 0.25};
  const Picks p1 = {0, 1}, p2 = {1, 2}, p3 = {0, 2};
  const Numbers g1 = {0.6, 0.2, 0.15, 0.05}, g2 = {0.1, 0.6, 0.25, 0.05}, g3 = {0.4, 0.1, 0.3, 0.2};
  RoutedRow row;
  row.weight = w;
  row.pick = p1, row.probability = g1, row.label = 0;
  tally.add(row);
  row.pick = p2, row.probability = g2, row.label = 1;
  tally.add(row);
  row.pick = p3, row.probability = g3, row.label = 0;
  tally.add(row);
  return tally;
}

double entropy(const Numbers& p) {
  double sum = 0;
  for (const double x : p) sum -= x > 0 ? x * std::log(x) : 0;
  return sum;
}

}  // namespace

TEST_CASE("a routing report holds what its definitions say") {
  const RoutingReport r = three_rows().report();
  CHECK(r.rows == 3);
  CHECK(r.slots == 6);
  CHECK(r.counts == std::vector<std::uint64_t>{2, 2, 2, 0});
  CHECK(r.utilisation[0] == doctest::Approx(4 * 2 / 6.0));
  CHECK(r.utilisation[3] == 0);
  CHECK(r.importance[0] == doctest::Approx(1.5 / 3));
  CHECK(r.importance[1] == doctest::Approx(1.0 / 3));
  CHECK(r.mean_probability[1] == doctest::Approx(0.3));
  CHECK(r.load_cv2 == doctest::Approx(1.0 / 3));
  CHECK(r.max_over_mean == doctest::Approx(4.0 / 3));
  CHECK(r.load_entropy == doctest::Approx(std::log(3.0)));
  const double h =
      entropy({0.6, 0.2, 0.15, 0.05}) + entropy({0.1, 0.6, 0.25, 0.05}) + entropy({0.4, 0.1, 0.3, 0.2});
  CHECK(r.gate_entropy == doctest::Approx(h / 3));
  CHECK(r.switch_balance == doctest::Approx(4.0 / 3 * (1 - 0.1)));
  CHECK(r.dead == Picks{3});
  CHECK(r.dropped == 0);
  // Margins 0.05, 0.15 and 0.1.
  std::uint64_t rows = 0;
  for (const std::uint64_t n : r.margins) rows += n;
  CHECK(rows == 3);
  CHECK(r.together[0 * 4 + 1] == 1);
  CHECK(r.together[1 * 4 + 0] == 1);
  CHECK(r.together[0 * 4 + 0] == 2);
  CHECK(r.together[0 * 4 + 3] == 0);
  // Slots: a with experts 0, 1, 0, 2; b with 1, 2.
  const double joint = entropy({2 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0, 1 / 6.0});
  CHECK(r.label_entropy == doctest::Approx(entropy({4 / 6.0, 2 / 6.0})));
  CHECK(r.mutual_information == doctest::Approx(r.label_entropy + std::log(3.0) - joint));
  CHECK(r.mutual_information_by_chance == doctest::Approx(2.0 * 1 / 12));
}

TEST_CASE("experts that know the label share all its information, random ones what chance gives") {
  RoutingTally knowing(8, 1, {"a", "b", "c", "d"}), random(8, 1, {"a", "b", "c", "d"});
  for (std::uint32_t i = 0; i < 4000; ++i) {
    const Picks own = {i % 4}, any = {static_cast<std::uint32_t>(Rng(1, i).below(8))};
    RoutedRow row;
    row.label = i % 4;
    row.pick = own;
    knowing.add(row);
    row.pick = any;
    random.add(row);
  }
  const RoutingReport all = knowing.report(), none = random.report();
  CHECK(all.mutual_information == doctest::Approx(std::log(4.0)));
  CHECK(all.dead == Picks{4, 5, 6, 7});
  CHECK(std::isnan(all.gate_entropy));
  CHECK(all.mean_probability.empty());
  // 2 N I is chi-squared with 21 degrees of freedom: mean 21, standard deviation 6.5.
  CHECK(none.mutual_information_by_chance == doctest::Approx(21.0 / 8000));
  CHECK(std::abs(none.mutual_information - 21.0 / 8000) < 4 * 6.5 / 8000);
}

TEST_CASE("dropped picks, unknown labels, picks against the probabilities") {
  RoutingTally tally(4, 2, {"a"});
  const Picks pick = {2, 3};
  const Numbers p = {0.4, 0.3, 0.2, 0.1};
  const std::vector<std::uint8_t> dropped = {0, 1};
  RoutedRow row;
  row.pick = pick, row.probability = p, row.dropped = dropped;
  tally.add(row);
  const RoutingReport r = tally.report();
  CHECK(r.counts == std::vector<std::uint64_t>{0, 0, 1, 0});
  CHECK(r.dropped == 0.5);
  CHECK(r.margins[0] == 1);  // 0.1 - 0.4 is below 0
  CHECK(r.mutual_information == 0);
  CHECK(r.label_entropy == 0);
}

TEST_CASE("margins fall into their bins") {
  for (std::size_t bin = 0; bin < kMarginEdges.size(); ++bin) {
    RoutingTally tally(3, 1);
    const Picks pick = {0};
    RoutedRow row;
    row.pick = pick;
    row.margin = kMarginEdges[bin];
    tally.add(row);
    CHECK(tally.report().margins[bin] == 1);
  }
}

TEST_CASE("no rows: every figure is 0, and both texts can be written") {
  const RoutingReport r = RoutingTally(5, 2).report();
  CHECK(r.load_cv2 == 0);
  CHECK(r.max_over_mean == 0);
  CHECK(r.dead.empty());
  CHECK(cli::routing_json(r, 0).at("rows") == 0);
  CHECK(!cli::routing_text(r, 0, 80, 16).empty());
}

TEST_CASE("merged tallies are the tally of all rows") {
  RoutingTally first = three_rows();
  first.merge(three_rows());
  const RoutingReport twice = first.report(), once = three_rows().report();
  CHECK(twice.rows == 6);
  CHECK(twice.utilisation == once.utilisation);
  CHECK(twice.gate_entropy == doctest::Approx(once.gate_entropy));
  CHECK(twice.mutual_information == doctest::Approx(once.mutual_information));
  CHECK_THROWS_AS(first.merge(RoutingTally(4, 2)), Error);
}

TEST_CASE("rows of one expert each: a block gives the bits of row by row") {
  Rng rng(5, 2);
  constexpr std::size_t kRows = 300, kExperts = 5;
  for (const std::size_t experts : {kExperts, std::size_t{1}}) {
    Numbers by_column(kRows * experts), row_entropy(kRows);
    std::vector<arma::uword> pick(kRows);
    Picks label(kRows);
    RoutingTally rows(experts, 1, {"a", "b"}), block(experts, 1, {"a", "b"});
    for (std::size_t i = 0; i < kRows; ++i) {
      Numbers p(experts);
      double sum = 0;
      for (double& x : p) sum += x = std::pow(rng.uniform(), 8);
      for (std::size_t e = 0; e < experts; ++e) by_column[e * kRows + i] = p[e] /= sum;
      row_entropy[i] = entropy(p);
      pick[i] = static_cast<arma::uword>(std::max_element(p.begin(), p.end()) - p.begin());
      label[i] = i % 3 == 2 ? kNoLabel : static_cast<std::uint32_t>(i % 3);
      const Picks one = {static_cast<std::uint32_t>(pick[i])};
      RoutedRow row;
      row.pick = one, row.probability = p, row.entropy = row_entropy[i], row.label = label[i];
      rows.add(row);
    }
    block.add_single(pick, by_column, row_entropy, label);
    CHECK(cli::routing_json(rows.report(), 1).dump() == cli::routing_json(block.report(), 1).dump());
    CHECK(block.report().gate_entropy == rows.report().gate_entropy);
    CHECK(block.report().margins == rows.report().margins);
    pick[7] = experts;
    CHECK_THROWS_AS(block.add_single(pick, by_column, row_entropy, label), Error);
    pick[7] = 0, label[7] = 2;
    CHECK_THROWS_AS(block.add_single(pick, by_column, row_entropy, label), Error);
    CHECK_THROWS_AS(block.add_single(pick, Numbers(3), row_entropy, {}), Error);
  }
}

TEST_CASE("rows that do not fit are refused") {
  RoutingTally tally(4, 2);
  const Picks three = {0, 1, 2}, far = {4};
  const Numbers short_p = {0.5, 0.5};
  RoutedRow row;
  row.pick = three;
  CHECK_THROWS_AS(tally.add(row), Error);
  row.pick = far;
  CHECK_THROWS_AS(tally.add(row), Error);
  row.pick = std::span(three).first(1);
  row.probability = short_p;
  CHECK_THROWS_AS(tally.add(row), Error);
  row.probability = {};
  row.label = 0;
  CHECK_THROWS_AS(tally.add(row), Error);
  CHECK(tally.report().rows == 0);
}

TEST_CASE("JSON and bars: experts numbered as asked, the busiest and the idlest when there are many") {
  const RoutingReport r = three_rows().report();
  const cli::Json json = cli::routing_json(r, 1);
  CHECK(json.at("dead_experts") == cli::Json::array({4}));
  CHECK(json.at("together")[0][1] == 1);
  CHECK(json.at("labels").at("counts")[1][2] == 1);
  CHECK(json.at("margins").size() == kMarginEdges.size());
  CHECK(cli::routing_json(r, 0).at("dead_experts") == cli::Json::array({3}));
  RoutingTally many(300, 1);
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const Picks pick = {i % 299};
    RoutedRow row;
    row.pick = pick;
    many.add(row);
  }
  CHECK(cli::routing_json(many.report(), 1).at("together").is_null());
  const std::string text = cli::routing_text(many.report(), 1, 80, 8);
  CHECK(text.find("busiest") != std::string::npos);
  CHECK(text.find("1 dead expert: 300") != std::string::npos);
}
