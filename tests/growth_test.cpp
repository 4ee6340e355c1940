#include <doctest/doctest.h>

#include <cmath>

#include "fit_helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "shapes.hpp"
#include "train/grow.hpp"
#include "train/how_many.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// Growing: experts split one by one, and their number found on rows held back.

namespace {

FitOptions growing(const std::string& gate, int restarts = 3) {
  FitOptions o = options(4, -1, restarts);
  o.gate = gate;
  o.grow = true;
  return o;
}

Mixture prototype(const Rows& rows, const std::string& gate) {
  Mixture m;
  m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, true);
  const uword p = m.gate_basis.size();
  m.gate = Value<GateFamily>(make_gate(gate, gate_shape(1, p)));
  m.experts = Value<ExpertFamily>(make_experts("gaussian", expert_shape(1, p, 0)));
  return m;
}

}  // namespace

TEST_CASE("growing: every split and every drop leaves whole mixtures, and splits gain") {
  const Columns c = piecewise(600, 2, 4, 1);
  const Rows rows = to_rows(c);
  const FitOptions o = options(4, -1);
  const Compute compute{1};
  const OnIteration none;
  const train::SearchTask task{rows.schema, rows.source, o, compute, none, Penalty{}};
  for (const std::string& gate : gate_families()) {
    CAPTURE(gate);
    train::Grower grower(task, prototype(rows, gate), rows.source, compute, 1, {});
    CHECK(grower.mixture().count() == 1);
    const double one = grower.worth();
    REQUIRE(grower.grow_to(4));
    CHECK(grower.mixture().count() == 4);
    CHECK(grower.worth() > one);
    const double four = grower.worth();
    grower.improve();
    CHECK(grower.mixture().count() == 4);
    CHECK(grower.worth() >= four);
    grower.drop();
    CHECK(grower.mixture().count() == 3);
    CHECK(all_finite(numbers(grower.mixture())));
  }
}

TEST_CASE("growing: slices are counted, on folds of few rows and on one part of many") {
  for (const uword n : {600, 2500}) {
    CAPTURE(n);
    const Columns c = piecewise(n, 2, 3, 2);
    const Rows rows = to_rows(c);
    for (const std::string gate : {"softmax", "tree"}) {
      CAPTURE(gate);
      const Model model = fit(rows.schema, rows.source, growing(gate));
      CHECK(model.members[0].count() == 3);
      const std::vector<GrowthStep>& path = model.provenance.growth;
      REQUIRE(path.size() >= 3);
      CHECK(path[0].experts == 1);
      CHECK(path[2].held_out > path[0].held_out + 5 * path[0].standard_error);
      // As promised: the smallest size at most one standard error below the best.
      double best = -INFINITY;
      for (const GrowthStep& g : path) best = std::max(best, g.held_out);
      for (const GrowthStep& g : path) {
        const bool near = best - g.held_out <= g.standard_error;
        if (g.experts < 3) CHECK_FALSE(near);
        if (g.experts == 3) CHECK(near);
      }
      const Model again = parse_model(model_text(model), "m");
      REQUIRE(again.provenance.growth.size() == path.size());
      CHECK(again.provenance.growth[1].held_out == path[1].held_out);
    }
  }
}

TEST_CASE("growing: one plane needs one expert") {
  Columns c{normal_matrix(500, 3, Rng(3, 1)), vec(500), {}};
  Rng rng(3, 2);
  for (uword i = 0; i < 500; ++i) c.y[i] = c.x(i, 0) - 2 * c.x(i, 2) + rng.normal();
  const Rows rows = to_rows(c);
  for (const std::string gate : {"softmax", "tree"})
    CHECK(fit(rows.schema, rows.source, growing(gate)).members[0].count() == 1);
}

TEST_CASE("growing: few rows, classes and weights") {
  const Columns few = piecewise(8, 1, 2, 4);
  const Rows eight = to_rows(few);
  CHECK(fit(eight.schema, eight.source, growing("softmax")).members[0].count() == 1);
  const Columns classes = piecewise(600, 2, 2, 5, 3);
  const Rows three = to_rows(classes);
  const Model model = fit(three.schema, three.source, growing("tree"));
  CHECK(model.members[0].count() >= 1);
  CHECK(model.provenance.growth[0].experts == 1);
  Columns weighted = piecewise(400, 2, 2, 6);
  weighted.weight = vec(400, arma::fill::ones);
  weighted.weight.head(50).zeros();
  const Rows rows = to_rows(weighted);
  CHECK(fit(rows.schema, rows.source, growing("softmax")).members[0].count() >= 2);
}

TEST_CASE("growing: threads do not change a bit, and starting regions are refused") {
  const Columns c = piecewise(500, 2, 3, 7);
  const Rows rows = to_rows(c);
  const Model one = fit(rows.schema, rows.source, growing("tree"), {1});
  const Model two = fit(rows.schema, rows.source, growing("tree"), {2});
  CHECK(same_bits(numbers(one.members[0]), numbers(two.members[0])));
  CHECK(one.provenance.growth.back().held_out == two.provenance.growth.back().held_out);
  FitOptions o = growing("tree");
  o.initial_region = slices(c, 4);
  CHECK_THROWS_WITH(fit(rows.schema, rows.source, o), doctest::Contains("--experts auto"));
}

TEST_CASE("growing: stopped at any time there is a model") {
  const Columns c = piecewise(500, 2, 3, 8);
  const Rows rows = to_rows(c);
  for (const int calls : {1, 20, 200}) {
    CAPTURE(calls);
    int left = calls;
    const Model model = fit(rows.schema, rows.source, growing("tree"), {1},
                            [&](const Iteration&) { return --left <= 0 ? Next::stop : Next::proceed; });
    CHECK(model.provenance.status == "stopped");
    CHECK(all_finite(numbers(model.members[0])));
  }
}
