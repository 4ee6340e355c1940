#include "moekit/ramps.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "fit_helpers.hpp"
#include "simd/vector_math.hpp"
#include "train/loss.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// Ramps in short against the features themselves, multiplied out.

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

/// Two inputs with curves, one of few values, holes, and a category; asked about rows far outside as well.
Columns table(uword n, uword classes) {
  Rng rng(7, classes);
  Columns c{normal_matrix(n, 3, Rng(7, 1)), normal_matrix(n, 1, Rng(7, 2)).col(0), {}, classes};
  c.levels.set_size(n, 1);
  c.level_count = {2};
  for (uword i = 0; i < n; ++i) {
    c.x(i, 1) = static_cast<double>(rng.below(5));
    if (rng.uniform() < 0.2) c.x(i, 0) = kNan;
    if (i % 50 == 7) c.x(i, 2) = i % 100 < 50 ? 1e9 : -1e9;
    c.levels(i, 0) = rng.below(2);
    if (classes > 0) c.y[i] = static_cast<double>(rng.below(classes));
  }
  return c;
}

Basis ramps_of(const Rows& rows) {
  return make_basis({BasisKind::Form::ramps, 2, 6}, rows.schema, rows.source, {}, true);
}

Mixture networks(const Rows& rows, const Basis& basis, uword classes, std::vector<uword> hidden) {
  Mixture m;
  m.gate_basis = linear_basis(rows.schema, {}, true);
  m.expert_basis = basis;
  ExpertShape shape{3, basis.groups()};
  shape.classes = classes;
  shape.hidden = std::move(hidden);
  m.experts = Value<ExpertFamily>(make_experts(classes > 0 ? "logistic" : "gaussian", shape));
  m.gate = Value<GateFamily>(make_gate("mlp:4", {3, m.gate_basis.groups()}));
  m.experts->randomise(Rng(2, 2));
  m.gate->randomise(Rng(2, 3));
  return m;
}

double gap(const mat& a, const mat& b) {
  REQUIRE(arma::size(a) == arma::size(b));
  return arma::abs(a - b).max() / (1 + arma::abs(b).max());
}

}  // namespace

TEST_CASE("a row's place on a run of ramps says every one of them") {
  const Rows rows = to_rows(table(400, 0));
  const Basis basis = ramps_of(rows);
  REQUIRE(basis.runs().size() == 3);
  CHECK(basis.runs()[1].count() == 4);  // between five values
  CHECK(basis.whole() + basis.runs()[0].count() + basis.runs()[1].count() + basis.runs()[2].count() ==
        basis.size());
  BlockData buffer;
  const Block block = rows.source.read(0, buffer);
  mat whole, part;
  RampPositions at;
  basis.features(rows.schema, block, whole);
  basis.features(rows.schema, block, part, at);
  mat again = whole;
  again.head_cols(basis.whole()) = part;
  for (std::size_t r = 0; r < basis.runs().size(); ++r)
    for (uword i = 0; i < block.rows; ++i)
      for (uword j = 0; j < basis.runs()[r].count(); ++j) {
        const RampRun& run = basis.runs()[r];
        const double along = at.along[i + r * block.rows];
        const uword piece = at.piece[i + r * block.rows];
        const double u = j == piece ? along : (j < piece ? 1 : 0);
        again(i, run.first + j) = std::isnan(along) ? 0 : (u - run.center[j]) / run.scale[j];
      }
  CHECK(gap(again, whole) < 1e-12);
}

TEST_CASE("ramps that overlap or turn back are runs of their own, and those before other features are none") {
  const auto ramp = [](double knot, double width, std::uint32_t column = 0) {
    return Term{Term::Kind::ramp, column, 0, 0.5, 1, knot, width};
  };
  const Basis basis({Term{}, ramp(9, 1), Term{Term::Kind::numeric}, ramp(0, 1), ramp(1, 2), ramp(2, 1),
                     ramp(0, 1), ramp(1, 1, 1), ramp(3, 1, 1)});
  REQUIRE(basis.runs().size() == 4);
  CHECK(basis.whole() == 3);
  CHECK(basis.runs()[0].count() == 2);
  CHECK(basis.runs()[1].knot == std::vector<double>{2});
  CHECK(basis.runs()[2].first == 6);
  CHECK(basis.runs()[3].knot == std::vector<double>{1, 3});
  std::uint32_t piece = 9;
  double along = 9;
  basis.runs()[3].find(2.5, piece, along);  // between the two: the first is climbed
  CHECK((piece == 0 && along == 1));
  basis.runs()[3].find(0, piece, along);
  CHECK((piece == 0 && along == 0));
  basis.runs()[3].find(3.25, piece, along);
  CHECK((piece == 1 && along == 0.25));
  basis.runs()[3].find(kNan, piece, along);
  CHECK((piece == 0 && std::isnan(along)));
}

TEST_CASE("networks give the same and climb the same slope from ramps in short as from their features") {
  for (const uword classes : {0, 3})
    for (const std::vector<uword>& hidden : {std::vector<uword>{11, 5}, {3}})
      for (const bool routed : {false, true}) {
        const Rows rows = to_rows(table(200, classes));
        const Basis basis = ramps_of(rows);
        const Mixture m = networks(rows, basis, classes, hidden);
        BlockData buffer;
        const Block block = rows.source.read(0, buffer);
        Batch in_short;
        m.prepare(rows.schema, block, in_short);
        REQUIRE(in_short.ramps.runs.size() == 3);
        REQUIRE(in_short.expert.n_cols == basis.whole());
        Batch whole = in_short;
        whole.ramps = {};
        basis.features(rows.schema, block, whole.expert);
        Picks picks{{0, 120, 120, 121}, {}};
        for (uword i = 0; i < 120; ++i) picks.rows.push_back(i + 60);
        picks.rows.push_back(3);
        if (routed) in_short.picks = whole.picks = &picks;
        mat a, b;
        m.experts->log_density(in_short, a);
        m.experts->log_density(whole, b);
        CHECK(gap(a, b) < 1e-12);
        std::size_t size = 0;
        Mixture copy = m;
        for (uword k = 0; k < 3; ++k)
          for (const Field& f : copy.experts->fields(k)) size += f.values.size();
        vec of_short(size, arma::fill::zeros), of_whole = of_short;
        const mat weight = normal_matrix(200, 3, Rng(9, 9));
        m.experts->add_gradient(in_short, weight, of_short);
        m.experts->add_gradient(whole, weight, of_whole);
        CHECK(gap(of_short, of_whole) < 1e-12);
      }
}

TEST_CASE("a gradient that takes what its value has left is the one that asks again, bit for bit") {
  for (const uword classes : {0, 3})
    for (const uword top : {0, 2}) {
      const Rows rows = to_rows(table(150, classes));
      Mixture m = networks(rows, ramps_of(rows), classes, {6});
      m.routing.top_k = top;
      BlockData buffer;
      const Block block = rows.source.read(0, buffer);
      Batch batch;
      m.prepare(rows.schema, block, batch);
      train::Objective objective(m, {}, 1);
      std::vector<double> taken(objective.parameters(), 0.0);
      objective.add(m, batch, taken);
      CHECK(batch.answers == nullptr);
      // The same by hand, where nothing is left behind.
      std::vector<double> asked(taken.size(), 0.0);
      train::Router router({}, m.gate_basis.size(), m.count(), 1);
      router.forward(m, batch, {});
      mat joint, responsibility(150, 3);
      vec row(150);
      m.experts->log_density(batch, joint);
      joint += router.log_gate();
      simd::softmax_rows(joint.memptr(), 150, 3, responsibility.memptr(), row.memptr());
      const std::span<double> experts = std::span(asked).subspan(objective.gate_parameters());
      m.experts->add_gradient(batch, responsibility, experts);
      mat none;
      router.backward(m, batch, responsibility, std::span(asked).first(objective.gate_parameters()), none);
      CHECK(taken == asked);
      CHECK(arma::norm(vec(asked)) > 1);
    }
}
