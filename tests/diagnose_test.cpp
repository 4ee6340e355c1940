#include "moekit/diagnose.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "helpers.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Diagnosis diagnose(const Model& model, const std::vector<BlockData>& parts) {
  Diagnoser diagnoser(model);
  for (const BlockData& part : parts) diagnoser.add(part.view(), predict(model, part.view()));
  return diagnoser.diagnosis();
}

const RegionColumn& column_of(const Region& region, const std::string& name, const std::string& level = "") {
  for (const RegionColumn& c : region.columns)
    if (c.column == name && c.level == level) return c;
  FAIL("no such column");
  return region.columns.front();
}

}  // namespace

TEST_CASE("a diagnosis measured beside others and added in order is the same to the last bit") {
  const Model model = test_regression(2, 3, 1, true);
  Diagnoser one(model), two(model);
  std::vector<BlockData> rows;
  std::vector<Prediction> predictions;
  std::vector<Diagnoser::Part> parts;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) rows.push_back(test_rows(model, 300, seed, true));
  for (const BlockData& block : rows) predictions.push_back(predict(model, block.view()));
  for (std::size_t i = 0; i < rows.size(); ++i) one.add(rows[i].view(), predictions[i]);
  for (std::size_t i = rows.size(); i-- > 0;)
    parts.insert(parts.begin(), two.measure(rows[i].view(), predictions[i], partition_rows(predictions[i])));
  for (std::size_t i = 0; i < rows.size(); ++i) two.add(rows[i].view(), predictions[i], parts[i]);
  const Diagnosis a = one.diagnosis(), b = two.diagnosis();
  CHECK(a.rows == 1200);
  CHECK(a.gate_entropy == b.gate_entropy);
  CHECK(a.metrics.crps == b.metrics.crps);
  CHECK(a.routing.counts == b.routing.counts);
  for (uword k = 0; k < 3; ++k) {
    CHECK(a.regions[k].share == b.regions[k].share);
    CHECK(a.regions[k].targets[0].error == b.regions[k].targets[0].error);
    for (std::size_t c = 0; c < a.regions[k].columns.size(); ++c) {
      CHECK(a.regions[k].columns[c].sd == b.regions[k].columns[c].sd);
      CHECK(a.regions[k].columns[c].q25 == b.regions[k].columns[c].q25);
    }
  }
}

TEST_CASE("equal values share their weight, so quantiles do not depend on the order of rows") {
  const Model model = test_regression(1, 2);
  BlockData rows = test_rows(model, 60);
  for (double& x : rows.numeric) x = std::round(x);
  const Prediction p = predict(model, rows.view());
  const Diagnosis d = diagnose(model, {rows});
  BlockData turned = rows;
  std::reverse(turned.numeric.begin(), turned.numeric.end());
  std::reverse(turned.target.begin(), turned.target.end());
  const Diagnosis back = diagnose(model, {turned});
  for (uword k = 0; k < 2; ++k)
    for (double RegionColumn::*q :
         {&RegionColumn::q05, &RegionColumn::q25, &RegionColumn::q50, &RegionColumn::q75, &RegionColumn::q95})
      CHECK(d.regions[k].columns[0].*q == doctest::Approx(back.regions[k].columns[0].*q).epsilon(1e-12));
}

TEST_CASE("sums of a region are the plain weighted formulas") {
  const Model model = test_regression(2, 3, 1, true);
  const BlockData rows = test_rows(model, 500, 3, true);
  const Block block = rows.view();
  const Prediction p = predict(model, block);
  const Diagnosis d = diagnose(model, {rows});
  const double all = arma::accu(vec(rows.weight));
  REQUIRE(d.regions.size() == 3);
  CHECK(d.rows == 500);
  CHECK(d.has_target);
  double shares = 0, effective = 0;
  for (uword k = 0; k < 3; ++k) {
    const Region& r = d.regions[k];
    double g = 0, resp = 0, won = 0, mean = 0, rest = 0, outside = 0, target = 0, error = 0, red = 0;
    for (uword i = 0; i < 500; ++i) {
      const double w = rows.weight[i], in = w * p.gate(i, k), out = w - in, x = block.numeric_column(1)[i];
      g += in, outside += out, resp += w * p.responsibility(i, k), won += p.expert[i] == k ? w : 0;
      mean += in * x, rest += out * x, target += in * block.target[i];
      error += in * std::pow(block.target[i] - p.mean[i], 2);
      red += block.levels[i] == 2 ? in : 0;
    }
    mean /= g, rest /= outside, target /= g;
    double sd = 0, target_sd = 0, total = 0, overall = 0;
    for (uword i = 0; i < 500; ++i) total += rows.weight[i] * block.numeric_column(1)[i] / all;
    for (uword i = 0; i < 500; ++i) {
      const double w = rows.weight[i], in = w * p.gate(i, k), x = block.numeric_column(1)[i];
      sd += in * std::pow(x - mean, 2) / g;
      target_sd += in * std::pow(block.target[i] - target, 2) / g;
      overall += w * std::pow(x - total, 2) / all;
    }
    CHECK(r.share == doctest::Approx(g / all).epsilon(1e-12));
    CHECK(r.effective_rows == doctest::Approx(resp).epsilon(1e-12));
    CHECK(r.rows_won == doctest::Approx(won / all).epsilon(1e-12));
    CHECK(r.targets[0].mean == doctest::Approx(target).epsilon(1e-12));
    CHECK(r.targets[0].sd == doctest::Approx(std::sqrt(target_sd)).epsilon(1e-11));
    CHECK(r.targets[0].error == doctest::Approx(std::sqrt(error / g)).epsilon(1e-11));
    CHECK(r.targets[0].noise == doctest::Approx(2.5 * model.members[0].experts->noise(k)));
    const RegionColumn& x2 = column_of(r, "x2");
    CHECK(x2.mean == doctest::Approx(mean).epsilon(1e-11));
    CHECK(x2.sd == doctest::Approx(std::sqrt(sd)).epsilon(1e-11));
    CHECK(x2.difference == doctest::Approx((mean - rest) / std::sqrt(overall)).epsilon(1e-9));
    CHECK(x2.missing == 0);
    CHECK(column_of(r, "colour", "red").mean == doctest::Approx(red / g).epsilon(1e-12));
    shares += r.share, effective += r.effective_rows;
  }
  CHECK(shares == doctest::Approx(1).epsilon(1e-12));
  CHECK(effective == doctest::Approx(all).epsilon(1e-12));
}

TEST_CASE("quantiles of a region are those of its weighted rows") {
  const Model model = test_regression(1, 2);
  const BlockData rows = test_rows(model, 1000, 9);
  const Prediction p = predict(model, rows.view());
  const Diagnosis d = diagnose(model, {rows});
  for (uword k = 0; k < 2; ++k) {
    const RegionColumn& c = column_of(d.regions[k], "x1");
    const double levels[] = {0.05, 0.25, 0.5, 0.75, 0.95}, found[] = {c.q05, c.q25, c.q50, c.q75, c.q95};
    for (int l = 0; l < 5; ++l) {
      double below = 0, most = 0;
      for (uword i = 0; i < 1000; ++i) {
        below += rows.numeric[i] <= found[l] ? p.gate(i, k) : 0;
        most = std::max(most, p.gate(i, k));
      }
      const double total = arma::accu(p.gate.col(k));
      CHECK(std::abs(below / total - levels[l]) <= most / total);  // within one row
    }
  }
}

TEST_CASE("the sample of a long table stays near its quantiles and does not depend on the cut") {
  const Model model = test_regression(1, 2);
  std::vector<BlockData> parts, other;
  BlockData all = test_rows(model, 60'000, 11);
  const auto slice = [&](uword begin, uword n) {
    BlockData part;
    part.rows = n;
    part.numeric.assign(all.numeric.begin() + static_cast<long>(begin),
                        all.numeric.begin() + static_cast<long>(begin + n));
    return part;
  };
  for (uword b = 0; b < 60'000; b += 1000) parts.push_back(slice(b, 1000));
  for (uword b = 0; b < 60'000; b += 600) other.push_back(slice(b, 600));
  const Diagnosis one = diagnose(model, parts), two = diagnose(model, other);
  const RegionColumn &a = one.regions[0].columns[0], &b = two.regions[0].columns[0];
  CHECK(a.q05 == b.q05);
  CHECK(a.q95 == b.q95);
  const mat gate = [&] {
    mat g;
    for (const BlockData& part : parts) g = arma::join_cols(g, predict(model, part.view()).gate);
    return g;
  }();
  double below = 0;
  for (uword i = 0; i < 60'000; ++i) below += all.numeric[i] <= a.q50 ? gate(i, 0) : 0;
  CHECK(std::abs(below / arma::accu(gate.col(0)) - 0.5) < 4 * 0.5 / std::sqrt(5000.0));
  CHECK(!one.has_target);
}

TEST_CASE("rows without a target count by their gate weight") {
  const Model model = test_regression();
  BlockData rows = test_rows(model, 60);
  for (uword i = 0; i < 60; i += 2) rows.target[i] = kNaN;
  const Prediction p = predict(model, rows.view());
  const Diagnosis d = diagnose(model, {rows});
  double expected = 0;
  for (uword i = 0; i < 60; ++i) expected += i % 2 ? p.responsibility(i, 0) : p.gate(i, 0);
  CHECK(d.regions[0].effective_rows == doctest::Approx(expected).epsilon(1e-12));
  CHECK(d.metrics.rows == 30);
}

TEST_CASE("missing values have their share and do not disturb the rest") {
  const Model model = test_regression(2, 2, 1, true);
  BlockData rows = test_rows(model, 100);
  for (uword i = 0; i < 100; i += 4) rows.numeric[i] = kNaN, rows.levels[i] = 3;
  const Prediction p = predict(model, rows.view());
  const Diagnosis d = diagnose(model, {rows});
  double missing = 0, present = 0, sum = 0;
  for (uword i = 0; i < 100; ++i) {
    (i % 4 ? present : missing) += p.gate(i, 1);
    if (i % 4) sum += p.gate(i, 1) * rows.numeric[i];
  }
  const RegionColumn& x = column_of(d.regions[1], "x1");
  CHECK(x.missing == doctest::Approx(missing / (missing + present)).epsilon(1e-12));
  CHECK(x.mean == doctest::Approx(sum / present).epsilon(1e-11));
  CHECK(std::isfinite(x.q50));
  CHECK(column_of(d.regions[1], "colour", "red").missing == doctest::Approx(x.missing).epsilon(1e-12));
}

TEST_CASE("columns of 1e-300 to 1e300, and constant ones, keep finite numbers") {
  for (const double size : {1e-300, 1e300}) {
    Model model = test_regression(2, 2);
    BlockData rows = test_rows(model, 200);
    for (uword i = 0; i < 200; ++i) rows.numeric[200 + i] *= size;
    Column& c = model.schema.inputs[1];
    c.mean *= size, c.sd *= size, c.min *= size, c.max *= size;
    const Diagnosis d = diagnose(model, {rows});
    for (const RegionColumn& r : d.regions[0].columns) {
      CHECK(std::isfinite(r.mean));
      CHECK(std::isfinite(r.sd));
      CHECK(std::isfinite(r.q95));
      CHECK(std::isfinite(r.difference));
    }
  }
  Model model = test_regression(1, 2);
  BlockData rows = test_rows(model, 50);
  rows.numeric.assign(50, 0.1);
  const RegionColumn r = diagnose(model, {rows}).regions[0].columns[0];
  CHECK(r.mean == doctest::Approx(0.1));
  CHECK(r.sd < 1e-15);
  CHECK(std::abs(r.difference) < 10);
  CHECK(r.q05 == 0.1);
}

TEST_CASE("one expert: no boundary, no entropy, no rest to differ from") {
  const Model model = test_regression(1, 1);
  const BlockData rows = test_rows(model, 30);
  const Diagnosis d = diagnose(model, {rows});
  CHECK(d.boundary_share == 0);
  CHECK(std::abs(d.gate_entropy) < 1e-12);
  CHECK(d.regions[0].columns[0].difference == 0);
  CHECK(d.load_cv2 == doctest::Approx(0));
  CHECK(d.max_over_mean == doctest::Approx(1));
  CHECK(d.dead.empty());
}

TEST_CASE("entropy, boundary and outliers of a row") {
  Prediction p;
  p.gate = mat{{0.5, 0.3, 0.2}, {0.8, 0.1, 0.1}, {1, 0, 0}};
  p.has_target = true;
  p.cumulative = vec{0.0004, 0.9996, 0.5};
  p.log_density = vec{-1, -1, -1};
  CHECK(partition_row(p, 0).gate_entropy ==
        doctest::Approx(-0.5 * std::log(0.5) - 0.3 * std::log(0.3) - 0.2 * std::log(0.2)));
  CHECK(partition_row(p, 0).boundary);
  CHECK(!partition_row(p, 1).boundary);
  CHECK(partition_row(p, 2).gate_entropy == 0);
  CHECK(partition_row(p, 0).outlier);
  CHECK(partition_row(p, 1).outlier);
  CHECK(!partition_row(p, 2).outlier);
  p.log_density[0] = p.cumulative[0] = kNaN;
  CHECK(!partition_row(p, 0).outlier);
  // Classes: the true class had less than one chance in a thousand.
  p.probability = mat(3, 2, arma::fill::value(0.5));
  p.log_density = vec{std::log(0.0009), std::log(0.0011), kNaN};
  CHECK(partition_row(p, 0).outlier);
  CHECK(!partition_row(p, 1).outlier);
  CHECK(!partition_row(p, 2).outlier);
  // A count of 0 where 0 is nearly certain is no outlier.
  Prediction zero;
  zero.gate = mat(1, 1, arma::fill::ones);
  zero.has_target = zero.discrete = true;
  zero.cumulative = vec{0.9999};
  zero.log_density = vec{std::log(0.9999)};
  CHECK(!partition_row(zero, 0).outlier);
}

TEST_CASE("an expert that the gate never picks is dead") {
  Model model = test_regression(1, 2);
  set_gate(*model.members[0].gate, mat{{20, 0}, {0, 0}});
  const BlockData rows = test_rows(model, 20);
  const Diagnosis d = diagnose(model, {rows});
  CHECK(d.dead == std::vector<uword>{1});
  CHECK(d.max_over_mean == doctest::Approx(2).epsilon(1e-6));
  CHECK(d.load_cv2 == doctest::Approx(1).epsilon(1e-6));
}

TEST_CASE("class shares and error rate of a region") {
  const Model model = test_classification(2, 2, 3);
  const BlockData rows = test_rows(model, 200);
  const Prediction p = predict(model, rows.view());
  const Diagnosis d = diagnose(model, {rows});
  double all = 0, wrong = 0, second = 0;
  for (uword i = 0; i < 200; ++i) {
    all += p.gate(i, 1);
    wrong += p.label[i] != static_cast<uword>(rows.target[i]) ? p.gate(i, 1) : 0;
    second += rows.target[i] == 1 ? p.gate(i, 1) : 0;
  }
  REQUIRE(d.regions[1].class_shares.size() == 3);
  CHECK(d.regions[1].class_shares[1] == doctest::Approx(second / all).epsilon(1e-12));
  CHECK(d.regions[1].targets[0].error == doctest::Approx(wrong / all).epsilon(1e-12));
  CHECK(d.regions[1].targets[0].noise == 0);
}

TEST_CASE("coefficients in the units of the data predict what the model predicts") {
  const Model model = test_regression(3, 3);
  const BlockData rows = test_rows(model, 10);
  const Prediction p = predict(model, rows.view());
  const std::vector<Coefficient> all = coefficients(model);
  CHECK(all.size() == 4 * 2 + 4 * 3 + 3);
  for (uword i = 0; i < 10; ++i) {
    const auto value = [&](const std::string& part, uword expert) {
      double sum = 0;
      for (const Coefficient& c : all) {
        if (c.part != part || c.expert != expert) continue;
        const Column* column = model.schema.find(c.term);
        sum += c.estimate * (column ? rows.numeric[column->index * 10 + i] : 1);
      }
      return sum;
    };
    for (uword k = 0; k < 3; ++k) {
      CHECK(value("expert", k) == doctest::Approx(p.component_mean(i, k)).epsilon(1e-10));
      CHECK(value("gate", k) == doctest::Approx(std::log(p.gate(i, k) / p.gate(i, 2))).epsilon(1e-9));
    }
  }
}

TEST_CASE("coefficients of classes are named by their label, against the last") {
  const Model model = test_classification(1, 1, 3);
  const BlockData rows = test_rows(model, 5);
  const Prediction p = predict(model, rows.view());
  const std::vector<Coefficient> all = coefficients(model);
  std::set<std::string> outputs;
  for (const Coefficient& c : all) outputs.insert(c.output);
  CHECK(outputs == std::set<std::string>{"class 0", "class 1"});
  double logit = 0;
  for (const Coefficient& c : all)
    if (c.output == "class 1") logit += c.estimate * (c.term == "x1" ? rows.numeric[2] : 1);
  CHECK(logit == doctest::Approx(std::log(p.probability(2, 1) / p.probability(2, 2))).epsilon(1e-10));
}
