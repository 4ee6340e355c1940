#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <string>

#include "fit_helpers.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "shapes.hpp"
#include "train/em.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// The gates beside the softmax, each against plain loops, closed forms and what docs/math.md promises of it.

namespace {

mat with_intercept(uword n, uword p, std::uint64_t seed) {
  mat x = normal_matrix(n, p, Rng(seed, 0x6a7e));
  x.col(0).ones();
  return x;
}

Batch gate_batch(mat x) {
  Batch b;
  b.rows = x.n_rows;
  b.gate = std::move(x);
  return b;
}

mat prob_of(const GateFamily& gate, const Batch& b) {
  mat out;
  gate.log_prob(b, out);
  return arma::exp(out);
}

mat random_shares(uword n, uword k, std::uint64_t seed) {
  Rng rng(seed, 0x5a3e);
  mat r(n, k);
  for (double& v : r) v = rng.uniform();
  r.each_col() /= arma::sum(r, 1).eval();
  return r;
}

/// So many updates with given responsibilities.
void teach(GateFamily& gate, const Batch& b, const mat& r, const Penalty& penalty, int updates) {
  for (int i = 0; i < updates; ++i) {
    std::vector<double> sums(gate.sums(), 0.0);
    gate.add(b, prob_of(gate, b), r, sums);
    gate.update(sums, penalty);
  }
}

Mixture begin(const Rows& rows, const std::string& gate, const std::vector<std::uint32_t>& region,
              uword experts, const Penalty& penalty) {
  Mixture m;
  m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, true);
  const uword p = m.gate_basis.size();
  m.gate = Value<GateFamily>(make_gate(gate, gate_shape(experts, p)));
  m.experts = Value<ExpertFamily>(make_experts("gaussian", expert_shape(experts, p, 0)));
  train::PassSums sums;
  for (int pass = 0; pass < 3; ++pass) {
    train::region_pass(m, rows.schema, rows.source, {1}, region, 0.9, sums);
    m.gate->update(sums.gate, penalty);
    m.experts->update(sums.experts, penalty);
  }
  return m;
}

FitOptions gate_options(const std::string& gate, uword experts, double ridge, int restarts = 10) {
  FitOptions o = options(experts, ridge, restarts);
  o.gate = gate;
  return o;
}

/// Two lines that cross everywhere: no input says which of them a row is on.
Columns crossing(uword n, std::uint64_t seed) {
  Rng rng(seed, 0xc4055);
  Columns c{normal_matrix(n, 1, Rng(seed, 0xc4056)), vec(n), {}};
  for (uword i = 0; i < n; ++i) {
    const bool first = rng.uniform() < 0.3;
    c.y[i] = (first ? 1 + 3 * c.x(i, 0) : -1 - 2 * c.x(i, 0)) + (first ? 0.2 : 0.5) * rng.normal();
  }
  return c;
}

/// Left of x1 = 0 rows are told apart by x2, on the right by x3: four planes.
Columns nested(uword n, std::uint64_t seed, std::vector<std::uint32_t>& region) {
  Rng rng(seed, 0x7ee);
  Columns c{normal_matrix(n, 3, Rng(seed, 0x7ef)), vec(n), {}};
  region.resize(n);
  for (uword i = 0; i < n; ++i) {
    const uword side = c.x(i, 0) > 0 ? 1 : 0;
    const uword r = 2 * side + (c.x(i, 1 + side) > 0.3 ? 1 : 0);
    region[i] = static_cast<std::uint32_t>(r);
    const double slope[] = {3, -3, 5, -1}, level[] = {0, 4, -4, 8};
    c.y[i] = level[r] + slope[r] * c.x(i, 1) + 2 * slope[3 - r] * c.x(i, 2) + 0.3 * rng.normal();
  }
  return c;
}

/// Product along the path, by the nodes' own lists of experts.
double naive_leaf(const std::vector<GateForm>& nodes, const arma::rowvec& x, uword k) {
  double prob = 1;
  for (const GateForm& node : nodes) {
    const auto on = [&](const std::vector<uword>& side) { return std::ranges::count(side, k) > 0; };
    const double left = 1 / (1 + std::exp(-arma::dot(x, node.values)));
    if (on(node.left)) prob *= left;
    if (on(node.right)) prob *= 1 - left;
  }
  return prob;
}

void draw_parameters(GateFamily& gate, std::uint64_t seed) {
  Rng rng(seed, 0xd4a);
  for (const Field& f : gate.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    for (double& v : f.values) v = f.kind == Field::Kind::positive ? 0.5 + rng.uniform() : rng.normal();
  }
}

/// A tree of four leaves that was arranged by regions along the second feature.
std::unique_ptr<GateFamily> tree_of_four(const Batch& b) {
  auto gate = make_gate("tree", gate_shape(4, b.gate.n_cols));
  mat r(b.rows, 4, arma::fill::zeros);
  for (uword i = 0; i < b.rows; ++i)
    r(i, static_cast<uword>(std::clamp(std::floor(b.gate(i, 1) + 2), 0.0, 3.0))) = 1;
  teach(*gate, b, r, {Penalty::Mode::fixed, 1.0}, 1);
  draw_parameters(*gate, 5);
  return gate;
}

}  // namespace

TEST_CASE("constant gate: a fit is a naive mixture of regressions") {
  const Columns c = crossing(400, 1);
  const Rows rows = to_rows(c);
  const Model model = fit(rows.schema, rows.source, gate_options("constant", 2, 0));
  // Plain EM on raw columns from a guess near the truth.
  const mat x = arma::join_rows(vec(400, arma::fill::ones), c.x);
  mat w{{1.0, -1.0}, {2.5, -1.5}};
  vec sd{0.4, 0.4}, share{0.5, 0.5};
  double likelihood = 0;
  for (int pass = 0; pass < 2000; ++pass) {
    mat r(400, 2);
    likelihood = 0;
    for (uword i = 0; i < 400; ++i) {
      for (uword k = 0; k < 2; ++k) {
        const double z = (c.y[i] - arma::dot(x.row(i), w.col(k))) / sd[k];
        r(i, k) = share[k] * std::exp(-0.5 * z * z) / (sd[k] * std::sqrt(2 * std::numbers::pi));
      }
      likelihood += std::log(r(i, 0) + r(i, 1));
      r.row(i) /= arma::accu(r.row(i));
    }
    for (uword k = 0; k < 2; ++k) {
      const vec own = r.col(k);
      w.col(k) = arma::solve(x.t() * arma::diagmat(own) * x, x.t() * (own % c.y));
      sd[k] = std::sqrt(arma::accu(own % arma::square(c.y - x * w.col(k))) / arma::accu(own));
      share[k] = arma::accu(own) / 400;
    }
  }
  CHECK(model.provenance.log_likelihood == doctest::Approx(likelihood).epsilon(1e-9));
  std::vector<double> weight;
  for (const Coefficient& row : coefficients(model))
    if (row.part == "weight") weight.push_back(row.estimate);
  REQUIRE(weight.size() == 2);
  CHECK(weight[0] == doctest::Approx(share.max()).epsilon(1e-4));
  CHECK(model.provenance.parameters == 7);  // one weight, and two lines with their noise
  CHECK(model.members[0].gate_basis.size() == 1);
}

TEST_CASE("gaussian gate: weights and density of the inputs equal a naive double loop") {
  const uword k = 3, d = 3, n = 40;
  const Batch b = gate_batch(with_intercept(n, d + 1, 2));
  const auto gate = make_gate("gaussian", gate_shape(k, d + 1));
  const mat r = random_shares(n, k, 3);
  const Penalty penalty{Penalty::Mode::fixed, 2.0};
  teach(*gate, b, r, penalty, 1);
  mat prob;
  gate->log_prob(b, prob);
  vec input;
  REQUIRE(gate->log_input(b, input));
  // The update in closed form: a prior of 2 rows with the pooled variances, 0.01 rows at the origin.
  const mat x = b.gate.tail_cols(d);
  vec pooled(d);
  for (uword j = 0; j < d; ++j) pooled[j] = arma::var(x.col(j), 1);
  mat joint(n, k);
  for (uword e = 0; e < k; ++e) {
    const double rows = arma::accu(r.col(e));
    const vec m = x.t() * r.col(e) / (rows + 0.01);
    mat c = arma::diagmat(2.0 * pooled) + 0.01 * m * m.t();
    for (uword i = 0; i < n; ++i) {
      const vec from = x.row(i).t() - m;
      c += r(i, e) * from * from.t();
    }
    c /= rows + 2;
    for (uword i = 0; i < n; ++i) {
      const vec from = x.row(i).t() - m;
      joint(i, e) = std::log(rows / n) - 0.5 * arma::dot(from, arma::solve(c, from)) -
                    0.5 * std::log(arma::det(c)) - 0.5 * d * std::log(2 * std::numbers::pi);
    }
    for (const GateForm& form : gate->forms())
      if (form.index == e && form.kind == GateForm::Kind::spread)
        CHECK(arma::abs(form.values.tail(d) - arma::sqrt(c.diag())).max() <= 1e-12);
  }
  for (uword i = 0; i < n; ++i) {
    const double all = std::log(arma::accu(arma::exp(joint.row(i))));
    CHECK(input[i] == doctest::Approx(all).epsilon(1e-10));
    for (uword e = 0; e < k; ++e) CHECK(prob(i, e) == doctest::Approx(joint(i, e) - all).epsilon(1e-9));
  }
}

TEST_CASE("every gate: EM never lowers what it climbs, the inputs' density included") {
  const Columns c = piecewise(300, 2, 3, 4);
  const Rows rows = to_rows(c);
  const Penalty penalties[] = {
      {Penalty::Mode::none}, {Penalty::Mode::fixed, 1.0}, {Penalty::Mode::evidence, 0, 0, 0, false}};
  for (const std::string& gate : gate_families())
    for (const Penalty& penalty : penalties) {
      CAPTURE(gate);
      CAPTURE(static_cast<int>(penalty.mode));
      Mixture m = begin(rows, gate, slices(c, 4), 4, penalty);
      train::EmOptions o;
      o.penalty = penalty;
      o.max_passes = 120;
      const train::EmResult result = train::run_em(m, rows.schema, rows.source, o, {1});
      double deepest = 0;
      for (std::size_t i = 1; i < result.penalised.size(); ++i)
        if (result.stretch[i] == result.stretch[i - 1])
          deepest = std::max(
              deepest, (result.penalised[i - 1] - result.penalised[i]) / (1 + std::abs(result.penalised[i])));
      CHECK(deepest <= 1e-8);
      CHECK(result.penalised.back() > result.penalised.front());
      CHECK(result.trace.back() == doctest::Approx(result.sums.joint()).epsilon(1e-12));
      const bool density = result.sums.log_input != 0;
      CHECK(density == (gate == "gaussian"));
    }
}

TEST_CASE("gaussian gate: constant, repeated and discrete inputs stay finite under every penalty") {
  Columns c = piecewise(150, 3, 2, 5);
  for (uword i = 0; i < 150; ++i) {
    c.x(i, 1) = c.x(i, 0) > 0 ? 1 : 0;      // constant inside a region
    c.x(i, 2) = 2 * c.x(i, 0) - c.x(i, 1);  // a combination of the others
  }
  c.levels.set_size(150, 1);
  for (uword i = 0; i < 150; ++i) c.levels(i, 0) = c.x(i, 0) > 1 ? 2 : i % 2;
  c.level_count = {3};
  const Rows rows = to_rows(c);
  for (const double ridge : {-1.0, 1.0, 0.0}) {
    CAPTURE(ridge);
    const Model model = fit(rows.schema, rows.source, gate_options("gaussian", 3, ridge, 4));
    CHECK(all_finite(numbers(model.members[0])));
    CHECK(std::isfinite(model.provenance.log_likelihood));
    CHECK(all_finite(model.provenance.trace));
    // Far outside, weights are still weights.
    BlockData far;
    far.rows = 2;
    far.numeric = {1e6, -1e300, 0, 0, 1e6, 1e300};
    far.levels = {0, 1};
    Posterior work;
    gate_weights(model.members[0], model.schema, far.view(), work);
    CHECK(arma::abs(arma::sum(work.gate, 1) - 1).max() <= 1e-12);
  }
}

TEST_CASE("gaussian gate: what the density of the inputs says of rows unlike those of training") {
  const Columns c = piecewise(500, 2, 2, 6);
  const Rows rows = to_rows(c);
  const Model model = fit(rows.schema, rows.source, gate_options("gaussian", 2, -1, 4));
  BlockData block;
  block.rows = 2;
  block.numeric = {0, 8, 0, -8};
  Posterior work;
  gate_weights(model.members[0], model.schema, block.view(), work);
  vec input;
  REQUIRE(model.members[0].gate->log_input(work.batch, input));
  CHECK(input[0] - input[1] > 20);  // 8 standard deviations in both: some 64 log units for one normal
  // Centres in the units of the data are weighted means of the columns.
  Posterior all;
  BlockData buffer;
  posterior(model.members[0], model.schema, rows.source.read(0, buffer), all);
  for (const Coefficient& row : coefficients(model)) {
    if (row.part != "centre") continue;
    const uword column = row.term == "x1" ? 0 : 1;
    const vec r = all.responsibility.col(row.expert);
    CHECK(std::abs(row.estimate - arma::dot(r, c.x.col(column)) / arma::accu(r)) <= 0.02);
  }
}

TEST_CASE("tree gate: with two experts it is the softmax gate") {
  const Columns c = piecewise(300, 2, 2, 7);
  const Rows rows = to_rows(c);
  for (const double ridge : {-1.0, 0.0, 1.0}) {
    CAPTURE(ridge);
    FitOptions o = gate_options("tree", 2, ridge);
    o.initial_region = slices(c, 2);
    const Model tree = fit(rows.schema, rows.source, o);
    o.gate = "softmax";
    const Model flat = fit(rows.schema, rows.source, o);
    CHECK(std::abs(tree.provenance.log_likelihood - flat.provenance.log_likelihood) <= 1e-6);
    CHECK(tree.provenance.parameters == flat.provenance.parameters);
  }
}

TEST_CASE("tree gate: four leaves equal the naive product along the path") {
  const Batch b = gate_batch(with_intercept(60, 3, 8));
  const auto gate = tree_of_four(b);
  const mat prob = prob_of(*gate, b);
  CHECK(arma::abs(arma::sum(prob, 1) - 1).max() <= 1e-14);
  const std::vector<GateForm> nodes = gate->forms();
  REQUIRE(nodes.size() == 3);
  CHECK(nodes[0].left.size() + nodes[0].right.size() == 4);
  for (uword i = 0; i < 60; ++i)
    for (uword k = 0; k < 4; ++k)
      CHECK(prob(i, k) == doctest::Approx(naive_leaf(nodes, b.gate.row(i), k)).epsilon(1e-12));
}

TEST_CASE("tree gate: leaves are arranged so that neighbours are siblings") {
  mat x = with_intercept(400, 2, 9);
  const Batch b = gate_batch(x);
  auto gate = make_gate("tree", gate_shape(4, 2));
  // Regions along the input in the order 2, 0, 3, 1.
  const uword region[] = {2, 0, 3, 1};
  mat r(400, 4, arma::fill::zeros);
  for (uword i = 0; i < 400; ++i)
    r(i, region[static_cast<uword>(std::clamp(std::floor(x(i, 1) + 2), 0.0, 3.0))]) = 1;
  teach(*gate, b, r, {Penalty::Mode::fixed, 1.0}, 1);
  const std::vector<GateForm> nodes = gate->forms();
  std::vector<uword> side = nodes[0].left;
  if (std::ranges::count(side, uword{2}) == 0) side = nodes[0].right;
  CHECK(side == std::vector<uword>{0, 2});
}

TEST_CASE("tree gate: a dropped leaf leaves its place to its sibling, twins share theirs") {
  const Batch b = gate_batch(with_intercept(50, 3, 10));
  const auto gate = tree_of_four(b);
  const mat before = prob_of(*gate, b);
  const auto after = [&](const std::vector<uword>& from) {
    const auto chosen = gate->clone();
    chosen->select(from);
    REQUIRE(chosen->count() == from.size());
    return prob_of(*chosen, b);
  };
  const mat moved = after({2, 0, 3, 1});
  for (uword j = 0; j < 4; ++j)
    CHECK(arma::approx_equal(moved.col(j), before.col(std::vector<uword>{2, 0, 3, 1}[j]), "absdiff", 1e-15));
  // The lowest node has two leaves: drop one.
  const std::vector<GateForm> nodes = gate->forms();
  const auto pair = std::ranges::find_if(
      nodes, [](const GateForm& f) { return f.left.size() == 1 && f.right.size() == 1; });
  REQUIRE(pair != nodes.end());
  const uword kept = pair->left[0], dropped = pair->right[0];
  std::vector<uword> from;
  for (uword k = 0; k < 4; ++k)
    if (k != dropped) from.push_back(k);
  const mat fewer = after(from);
  for (uword j = 0; j < 3; ++j) {
    const vec right =
        from[j] == kept ? vec(before.col(kept) + before.col(dropped)) : vec(before.col(from[j]));
    CHECK(arma::approx_equal(fewer.col(j), right, "absdiff", 1e-14));
  }
  const mat more = after({0, 1, 2, 3, 1, 1});
  for (const uword j : {1, 4, 5})
    CHECK(arma::approx_equal(more.col(j), vec(before.col(1) / 3), "absdiff", 1e-14));
  CHECK(arma::approx_equal(more.col(3), before.col(3), "absdiff", 1e-15));
  CHECK(arma::approx_equal(after({2}), mat(50, 1, arma::fill::ones), "absdiff", 0.0));
}

TEST_CASE("tree gate: any numbers in a file are a tree") {
  const Batch b = gate_batch(with_intercept(20, 3, 11));
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto gate = make_gate("tree", gate_shape(7, 3));
    Rng rng(seed, 1);
    for (const Field& f : gate->fields())
      for (double& v : f.values) v = std::round(3 * rng.normal());
    const mat prob = prob_of(*gate, b);
    CHECK(arma::abs(arma::sum(prob, 1) - 1).max() <= 1e-13);
    CHECK(gate->forms().size() == 6);
    gate->select(std::vector<uword>{6, 2, 2, 0});
    CHECK(arma::abs(arma::sum(prob_of(*gate, b), 1) - 1).max() <= 1e-13);
  }
}

TEST_CASE("tree gate: a nested partition is found, read in the units of the data, and survives a file") {
  std::vector<std::uint32_t> region;
  const Columns c = nested(1500, 12, region);
  const Rows rows = to_rows(c);
  const Model model = fit(rows.schema, rows.source, gate_options("tree", 4, -1, 6));
  const std::vector<std::uint32_t> found = train::hard_partition(model.members[0], model.schema, rows.source);
  arma::umat table(4, 4, arma::fill::zeros);
  for (uword i = 0; i < 1500; ++i) ++table(region[i], found[i]);
  CHECK(arma::accu(arma::max(table, 1)) >= 1450);
  // The root separates the first two regions from the others.
  const std::vector<GateForm> nodes = model.members[0].gate->forms();
  REQUIRE(nodes.size() == 3);
  const auto on_left = [&](uword r) {
    return std::ranges::count(nodes[0].left, static_cast<uword>(table.row(r).index_max())) > 0;
  };
  CHECK(on_left(0) == on_left(1));
  CHECK(on_left(2) == on_left(3));
  CHECK(on_left(0) != on_left(2));
  // coefficients(): the root's logit from raw columns.
  Posterior work;
  BlockData buffer;
  const Block block = rows.source.read(0, buffer);
  gate_weights(model.members[0], model.schema, block, work);
  for (uword i = 0; i < 20; ++i) {
    double logit = 0;
    for (const Coefficient& row : coefficients(model)) {
      if (row.part != "node" || row.expert != 0) continue;
      const double raw = row.term == "intercept" ? 1 : c.x(i, static_cast<uword>(row.term[1] - '1'));
      logit += row.estimate * raw;
    }
    double left = 0;
    for (const uword k : nodes[0].left) left += work.gate(i, k);
    CHECK(left == doctest::Approx(1 / (1 + std::exp(-logit))).epsilon(1e-9));
  }
  const Model again = parse_model(model_text(model), "m");
  Posterior twin;
  gate_weights(again.members[0], again.schema, block, twin);
  CHECK(arma::approx_equal(twin.gate, work.gate, "absdiff", 0.0));
}

TEST_CASE("models of every gate survive a file, and threads do not change a bit") {
  const Columns c = piecewise(300, 2, 3, 13);
  const Rows rows = to_rows(c);
  for (const std::string& gate : gate_families()) {
    CAPTURE(gate);
    const Model model = fit(rows.schema, rows.source, gate_options(gate, 4, -1, 4), {1});
    const Model other = fit(rows.schema, rows.source, gate_options(gate, 4, -1, 4), {3});
    CHECK(same_bits(numbers(model.members[0]), numbers(other.members[0])));
    const Model again = parse_model(model_text(model), "m");
    CHECK(same_bits(numbers(model.members[0]), numbers(again.members[0])));
    CHECK(model_text(again) == model_text(model));
    CHECK(log_likelihood(model, rows.source) ==
          doctest::Approx(model.provenance.log_likelihood).epsilon(1e-10));
  }
}

TEST_CASE("gaussian gate: too many features are refused with a remedy, and so are sizes a file cannot hold") {
  CHECK_THROWS_WITH(make_gate("gaussian", gate_shape(2, 1200)), doctest::Contains("--gate-columns"));
  CHECK(gate_numbers("gaussian", gate_shape(3, 101)) > 3 * 5000);
  CHECK(gate_numbers("softmax", gate_shape(3, 101)) < 400);
}
