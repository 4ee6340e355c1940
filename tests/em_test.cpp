#include "train/em.hpp"

#include <doctest/doctest.h>

#include <functional>

#include "fit_helpers.hpp"
#include "shapes.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using train::EmResult;

namespace {

/// A mixture whose parameters come from a partition, as a start does.
Mixture begin(const Rows& rows, const std::vector<std::uint32_t>& region, uword experts,
              const Penalty& penalty) {
  Mixture m;
  m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, true);
  const uword p = m.gate_basis.size(), classes = rows.schema.target.labels.size();
  m.gate = Value<GateFamily>(make_gate("softmax", gate_shape(experts, p)));
  m.experts = Value<ExpertFamily>(
      make_experts(classes > 0 ? "logistic" : "gaussian", expert_shape(experts, p, classes)));
  train::PassSums sums;
  for (int pass = 0; pass < 2; ++pass) {
    train::region_pass(m, rows.schema, rows.source, {1}, region, 0.9, sums);
    m.gate->update(sums.gate, penalty);
    m.experts->update(sums.experts, penalty);
  }
  return m;
}

std::vector<std::uint32_t> anywhere(uword n, uword experts, std::uint64_t seed) {
  Rng rng(seed, 0xa111);
  std::vector<std::uint32_t> region(n);
  for (auto& r : region) r = static_cast<std::uint32_t>(rng.below(experts));
  return region;
}

/// Within a stretch of constant penalties no accepted pass may lower the objective by more than 1e-8 of it.
void check_monotone(const EmResult& result) {
  REQUIRE(result.penalised.size() == result.stretch.size());
  REQUIRE(result.penalised.size() == result.trace.size());
  double deepest = 0;
  for (std::size_t i = 1; i < result.penalised.size(); ++i) {
    if (result.stretch[i] != result.stretch[i - 1]) continue;
    const double before = result.penalised[i - 1];
    deepest = std::max(deepest, (before - result.penalised[i]) / (1 + std::abs(before)));
  }
  CHECK(deepest <= 1e-8);
  CHECK(all_finite(result.penalised));
  CHECK(all_finite(result.trace));
}

const Penalty kPenalties[] = {{Penalty::Mode::none},
                              {Penalty::Mode::fixed, 0.01},
                              {Penalty::Mode::fixed, 1},
                              {Penalty::Mode::fixed, 100},
                              {Penalty::Mode::evidence}};

struct Named {
  const char* name;
  Columns columns;
};

/// What breaks EM programs.
std::vector<Named> degenerate(uword classes) {
  const auto base = [&](uword n, uword d) { return piecewise(n, d, 2, 77, classes); };
  std::vector<Named> all;
  Columns c = base(60, 2);
  c.x.col(1) = c.x.col(0);
  all.push_back({"a column twice", c});
  c = base(60, 3);
  c.x.col(2) = c.x.col(0) - 2 * c.x.col(1);
  all.push_back({"collinear", c});
  c = base(60, 1);
  c.y.zeros();
  all.push_back({"constant target", c});
  c = base(6, 8);
  all.push_back({"fewer rows than columns", c});
  c = base(3, 1);
  all.push_back({"fewer rows than experts", c});
  c = base(60, 1);
  for (uword i = 0; i < 60; ++i) c.y[i] = classes > 0 ? (c.x(i, 0) > 0) : 2 * c.x(i, 0);
  all.push_back({"no noise, separable", c});
  c = base(60, 1);
  for (uword i = 0; i < 60; ++i) c.y[i] = classes > 0 ? (c.x(i, 0) > 0) : std::abs(c.x(i, 0));
  all.push_back({"two exact lines", c});
  c = base(80, 1);
  for (uword i = 0; i < 40; ++i) {
    c.x(i, 0) = 1;
    c.y[i] = 1;
  }
  all.push_back({"half the rows identical", c});
  c = base(60, 2);
  c.x = 1e9 + c.x;
  all.push_back({"offset", c});
  c = base(60, 2);
  c.x.col(0) *= 1e300;
  c.x.col(1) *= 1e-300;
  all.push_back({"scales", c});
  c = base(60, 1);
  c.x(7, 0) = 1e12;  // one row far out
  all.push_back({"outlying input", c});
  if (classes == 0) {
    c = base(60, 1);
    c.y[7] = 1e12;
    all.push_back({"outlying target", c});
  }
  return all;
}

}  // namespace

TEST_CASE("EM is monotone over seeds, numbers of experts and penalties") {
  for (const uword classes : {0, 2, 3})
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const Columns c = piecewise(120, 1 + seed % 3, 2 + seed % 2, seed, classes);
      const Rows rows = to_rows(c);
      for (const uword experts : {1, 2, 3, 5})
        for (const Penalty& penalty : kPenalties) {
          CAPTURE(classes);
          CAPTURE(seed);
          CAPTURE(experts);
          CAPTURE(static_cast<int>(penalty.mode));
          CAPTURE(penalty.ridge);
          Mixture m = begin(rows, anywhere(c.y.n_elem, experts, seed), experts, penalty);
          check_monotone(train::run_em(m, rows.schema, rows.source, {penalty, 150}, {1}));
        }
    }
}

TEST_CASE("EM is monotone on degenerate tables") {
  for (const uword classes : {0, 2})
    for (const Named& table : degenerate(classes)) {
      const Rows rows = to_rows(table.columns);
      for (const uword experts : {1, 2, 4})
        for (const Penalty& penalty : kPenalties)
          for (std::uint64_t seed = 0; seed < 2; ++seed) {
            CAPTURE(table.name);
            CAPTURE(classes);
            CAPTURE(experts);
            CAPTURE(static_cast<int>(penalty.mode));
            CAPTURE(penalty.ridge);
            CAPTURE(seed);
            Mixture m = begin(rows, anywhere(table.columns.y.n_elem, experts, seed), experts, penalty);
            check_monotone(train::run_em(m, rows.schema, rows.source, {penalty, 100}, {1}));
            CHECK(all_finite(numbers(m)));
          }
    }
}

TEST_CASE("EM is monotone without acceleration, with weights, and when the gate's step is only bounded") {
  SUBCASE("plain") {
    const Columns c = piecewise(150, 2, 3, 5);
    const Rows rows = to_rows(c);
    for (const Penalty& penalty : kPenalties) {
      Mixture m = begin(rows, anywhere(150, 3, 1), 3, penalty);
      check_monotone(train::run_em(m, rows.schema, rows.source, {penalty, 200, 1e-9, false}, {1}));
    }
  }
  SUBCASE("weights") {
    Columns c = piecewise(150, 2, 3, 6);
    Rng rng(6, 6);
    c.weight.set_size(150);
    for (double& w : c.weight) w = rng.uniform() < 0.2 ? 0 : 10 * rng.uniform();
    const Rows rows = to_rows(c);
    for (const Penalty& penalty : kPenalties) {
      Mixture m = begin(rows, anywhere(150, 3, 1), 3, penalty);
      check_monotone(train::run_em(m, rows.schema, rows.source, {penalty, 200}, {1}));
    }
  }
  SUBCASE("bounded") {
    const uword d = 60, experts = 8;  // (K - 1) p = 427 coefficients of the gate
    const Columns c = piecewise(400, d, 2, 7);
    const Rows rows = to_rows(c);
    for (const Penalty& penalty : {kPenalties[2], kPenalties[4]}) {
      Mixture m = begin(rows, anywhere(400, experts, 1), experts, penalty);
      check_monotone(train::run_em(m, rows.schema, rows.source, {penalty, 40}, {1}));
    }
  }
}

TEST_CASE("the result describes the mixture that comes back") {
  for (const Penalty& penalty : kPenalties) {
    const Rows rows = to_rows(piecewise(200, 2, 2, 8));
    Mixture m = begin(rows, anywhere(200, 2, 3), 2, penalty);
    const EmResult r = train::run_em(m, rows.schema, rows.source, {penalty, 300}, {1});
    train::PassSums sums;
    train::em_pass(m, rows.schema, rows.source, {1}, sums);
    CHECK(r.log_likelihood == sums.log_likelihood);
    CHECK(r.sums.rows == sums.rows);
    CHECK(r.trace.back() == r.log_likelihood);
    CHECK(r.penalised.back() == r.objective);
    CHECK(r.objective ==
          doctest::Approx(r.log_likelihood + m.gate->log_prior() + m.experts->log_prior()).epsilon(1e-12));
    CHECK(r.sums.weight == 200);
    CHECK(r.sums.rows[0] + r.sums.rows[1] == doctest::Approx(200).epsilon(1e-12));
  }
}

TEST_CASE("a fit that was cut short does not call itself converged") {
  // The run is the same whatever its limit, so one that says at pass M that it has converged must be one that
  // goes no further with a higher limit.
  for (const Penalty& penalty : {kPenalties[0], kPenalties[2], kPenalties[4]})
    for (const uword classes : {0, 2})
      for (std::uint64_t seed = 0; seed < 3; ++seed) {
        const Rows rows = to_rows(piecewise(100, 1, 3, seed, classes));
        const Mixture start = begin(rows, anywhere(100, 3, seed), 3, penalty);
        Mixture whole = start;
        const EmResult full = train::run_em(whole, rows.schema, rows.source, {penalty, 3000}, {1});
        for (int limit = 1; limit <= 60; ++limit) {
          Mixture m = start;
          const EmResult cut = train::run_em(m, rows.schema, rows.source, {penalty, limit}, {1});
          CHECK(cut.passes <= limit);
          CAPTURE(limit);
          CAPTURE(full.passes);
          if (cut.status == EmResult::Status::converged) CHECK(full.passes <= limit);
          if (full.passes > limit) CHECK(cut.status == EmResult::Status::iteration_limit);
        }
      }
}

TEST_CASE("the watch sees every pass and can stop") {
  const Rows rows = to_rows(piecewise(100, 1, 2, 9));
  Mixture m = begin(rows, anywhere(100, 2, 0), 2, kPenalties[0]);
  int calls = 0;
  const EmResult r = train::run_em(m, rows.schema, rows.source, {kPenalties[0], 100}, {1},
                                   [&](int pass, double log_likelihood) {
                                     CHECK(pass == ++calls);
                                     CHECK(std::isfinite(log_likelihood));
                                     return calls < 4;
                                   });
  CHECK(calls == 4);
  CHECK(r.passes == 4);
  CHECK(r.status == EmResult::Status::stopped);
  CHECK(all_finite(numbers(m)));
}

TEST_CASE("acceleration ends where plain EM ends") {
  // One well-marked optimum; each run stops within its tolerance of it, 1e-9 a row and pass.
  const Columns c = piecewise(300, 1, 2, 10);
  const Rows rows = to_rows(c);
  for (const Penalty& penalty : {kPenalties[0], kPenalties[2]}) {
    Mixture fast = begin(rows, slices(c, 2), 2, penalty), slow = fast;
    const EmResult a = train::run_em(fast, rows.schema, rows.source, {penalty, 5000, 1e-12}, {1});
    const EmResult b = train::run_em(slow, rows.schema, rows.source, {penalty, 5000, 1e-12, false}, {1});
    CHECK(a.objective == doctest::Approx(b.objective).epsilon(1e-6));
    CHECK(a.passes <= 2 * b.passes);
  }
}

TEST_CASE("a parameter that is not a number does not hide behind the other experts") {
  const Rows rows = to_rows(piecewise(100, 1, 2, 9));
  Mixture m = begin(rows, anywhere(100, 3, 0), 3, kPenalties[0]);
  m.experts->fields(1)[0].values[0] = std::nan("");
  const EmResult r = train::run_em(m, rows.schema, rows.source, {kPenalties[0], 50}, {1});
  CHECK(!std::isfinite(r.objective));
}
