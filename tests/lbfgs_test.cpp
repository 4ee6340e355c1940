#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "fit_helpers.hpp"
#include "moekit/csv.hpp"
#include "moekit/error.hpp"
#include "train/lbfgs.hpp"
#include "train/start_run.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

Table table(const std::string& file, const std::string& target, const std::vector<std::string>& drop = {}) {
  ReadOptions read;
  read.target = target;
  read.drop = drop;
  return read_table(MOEKIT_DATA "/" + file, read);
}

/// From the very same start, by both.
void check_same_optimum(const Table& t, FitOptions o, double tolerance) {
  o.initial_region.clear();
  const mat none;
  BlockData buffer;
  // Regions by the rank of the target, so that both begin at the same M steps.
  std::vector<std::pair<double, std::uint64_t>> order;
  for (std::size_t b = 0; b < t.source.blocks(); ++b) {
    const Block block = t.source.read(b, buffer);
    for (uword i = 0; i < block.rows; ++i)
      order.emplace_back(block.numeric[i] + 1e-3 * block.target[i], block.first + i);
  }
  std::sort(order.begin(), order.end());
  o.initial_region.resize(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    o.initial_region[order[i].second] = static_cast<std::uint32_t>(i * o.experts / order.size());
  o.max_iterations = 5000;
  o.tolerance = 1e-12;
  const Model em = fit(t.schema, t.source, o);
  o.method = Method::lbfgs;
  const Model lbfgs = fit(t.schema, t.source, o);
  // What is climbed: with a penalty the likelihood alone still has a slope at the optimum, and behind a
  // gaussian gate it is the joint one.
  const double reached = lbfgs.provenance.starts.front().score, right = em.provenance.starts.front().score;
  CHECK(std::abs(reached - right) < tolerance);
  if (o.ridge == 0)
    CHECK(std::abs(lbfgs.provenance.log_likelihood - em.provenance.log_likelihood) < tolerance);
}

}  // namespace

TEST_CASE("from the same start L-BFGS and EM reach the same optimum to 1e-4") {
  FitOptions exact = options(2, 0);
  check_same_optimum(table("faithful.csv", "eruptions"), exact, 1e-4);
  check_same_optimum(table("tonedata.csv", "tuned"), exact, 1e-4);
  FitOptions fixed = options(3, 1);
  check_same_optimum(table("mcycle.csv", "accel"), fixed, 1e-4);
  check_same_optimum(table("iris.csv", "target"), options(2, 1), 1e-4);
  FitOptions gates = options(2, 1);
  gates.gate = "gaussian";
  check_same_optimum(table("faithful.csv", "eruptions"), gates, 1e-4);
  FitOptions robust = options(2, 1);
  robust.family = "student-t";
  check_same_optimum(table("faithful.csv", "eruptions"), robust, 1e-4);
  // Inputs that say nearly the same, and homes cut off at 50.
  for (const double ridge : {1.0, 0.1})
    for (const char* family : {"gaussian", "gamma"}) {
      CAPTURE(ridge);
      CAPTURE(family);
      FitOptions o = options(3, ridge);
      o.family = family;
      check_same_optimum(table("boston.csv", "medv"), o, 1e-4);
    }
  check_same_optimum(table("nmes1988.csv", "visits"), options(2, 1), 1e-4);
}

TEST_CASE("L-BFGS and EM meet where experts are of very unlike noise, or one has the least it can have") {
  // A third of the targets are nearly the same, or quite the same on a grid, whose rounding is the least
  // noise.
  for (const bool grid : {false, true})
    for (const double ridge : {0.01, 1.0}) {
      CAPTURE(grid);
      CAPTURE(ridge);
      Columns c = piecewise(1500, 3, 3, 8);
      FitOptions o = options(3, ridge);
      o.initial_region = slices(c, 3);
      Rng rng(6, 6);
      for (uword i = 0; i < c.y.n_elem; ++i) {
        if (o.initial_region[i] == 2) c.y[i] = 1 + 0.02 * rng.normal();
        if (grid) c.y[i] = std::round(2 * c.y[i]) / 2;
      }
      const Rows rows = to_rows(c);
      o.max_iterations = 3000;
      const Provenance em = fit(rows.schema, rows.source, o).provenance;
      o.method = Method::lbfgs;
      const Model model = fit(rows.schema, rows.source, o);
      const Provenance& lbfgs = model.provenance;
      CHECK(std::abs(lbfgs.starts.front().score - em.starts.front().score) < 1e-4);
      CHECK(lbfgs.status == "converged");
      const Mixture& m = model.members.front();
      REQUIRE(m.count() == 3);
      double least = 1;
      for (uword k = 0; k < 3; ++k) least = std::min(least, m.experts->noise(k) * rows.schema.target.sd);
      CHECK(least == doctest::Approx(grid ? 0.5 / std::sqrt(12.0) : 0.02).epsilon(grid ? 1e-9 : 0.1));
    }
}

TEST_CASE("degrees of freedom without an end stop where EM stops them") {
  // Normal noise: the likelihood rises with the degrees of freedom for ever.
  const Columns c = piecewise(2000, 2, 2, 5);
  const Rows rows = to_rows(c);
  FitOptions o = options(2, 1);
  o.family = "student-t";
  o.initial_region = slices(c, 2);
  o.max_iterations = 3000;
  const Provenance em = fit(rows.schema, rows.source, o).provenance;
  o.method = Method::lbfgs;
  Model model = fit(rows.schema, rows.source, o);
  CHECK(std::abs(model.provenance.starts.front().score - em.starts.front().score) < 1e-2);
  double most = 0;
  for (const Field& f : model.members.front().fields())
    if (f.name == "shape") most = std::max(most, f.values[0]);
  CHECK(most <= 1000);
  CHECK(most > 100);
}

TEST_CASE("a gate that becomes a step has no optimum: L-BFGS comes as far as EM, as soon") {
  FitOptions o = options(4, 0, 1);
  const Table t = table("mcycle.csv", "accel");
  for (const std::uint64_t seed : {1, 2, 5, 6, 7}) {
    CAPTURE(seed);
    o.seed = seed;
    o.method = Method::em;
    const Provenance em = fit(t.schema, t.source, o).provenance;
    o.method = Method::lbfgs;
    const Provenance lbfgs = fit(t.schema, t.source, o).provenance;
    CHECK(std::abs(lbfgs.log_likelihood - em.log_likelihood) < 1e-4);
    CHECK(lbfgs.status == "converged");
    CHECK(lbfgs.iterations < 2000);
  }
}

TEST_CASE("EM's passes end L-BFGS where the likelihood has kinks") {
  FitOptions o = options(2, 0);
  o.family = "laplace";
  check_same_optimum(table("mcycle.csv", "accel"), o, 1e-4);
  check_same_optimum(table("ethanol.csv", "NOx"), o, 1e-4);
}

TEST_CASE("under the evidence L-BFGS comes close to EM: penalties are updated at other places") {
  const Table t = table("mcycle.csv", "accel");
  FitOptions o = options(3, -1, 4);
  const Model em = fit(t.schema, t.source, o);
  o.method = Method::lbfgs;
  const Model lbfgs = fit(t.schema, t.source, o);
  CHECK(std::abs(lbfgs.provenance.log_likelihood - em.provenance.log_likelihood) < 1);
  CHECK(lbfgs.provenance.status == "converged");
}

TEST_CASE("L-BFGS goes on where a start has nothing left to gain on the sample of many rows") {
  const Rows rows = to_rows(piecewise(train::kSampleRows + 1000, 2, 3, 5));
  FitOptions o = options(3, -1, 4);
  const Provenance em = fit(rows.schema, rows.source, o).provenance;
  o.method = Method::lbfgs;
  const Provenance lbfgs = fit(rows.schema, rows.source, o).provenance;
  CHECK(std::abs(lbfgs.single_log_likelihood - em.single_log_likelihood) < 0.1);
  const auto gain = [](const Provenance& p) { return p.log_likelihood - p.single_log_likelihood; };
  CHECK(gain(lbfgs) > 0.95 * gain(em));
  // The M steps that start a single expert end at its optimum.
  o.experts = 1;
  const Provenance one = fit(rows.schema, rows.source, o).provenance;
  CHECK(one.status == "converged");
  REQUIRE(!one.trace.empty());
  CHECK(one.trace.back() == doctest::Approx(one.log_likelihood));
}

TEST_CASE("L-BFGS does not depend on threads, and fits networks") {
  const Rows rows = to_rows(piecewise(3000, 2, 3, 5));
  FitOptions o = options(3, 1, 2);
  o.method = Method::lbfgs;
  o.hidden = {4};
  o.gate = "mlp:3";
  o.max_iterations = 40;
  Compute one, seven;
  one.threads = 1;
  seven.threads = 7;
  const Model a = fit(rows.schema, rows.source, o, one), b = fit(rows.schema, rows.source, o, seven);
  CHECK(a.provenance.log_likelihood == b.provenance.log_likelihood);
  CHECK(a.provenance.log_likelihood > a.provenance.single_log_likelihood);
  FitOptions linear = options(1, 1, 1);
  const Model line = fit(rows.schema, rows.source, linear);
  CHECK(a.provenance.log_likelihood > line.provenance.log_likelihood + 300);
}
