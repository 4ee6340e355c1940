// A model of several members predicts the average of their densities: everything against single members.
#include <doctest/doctest.h>

#include <cmath>

#include "helpers.hpp"
#include "moekit/evaluate.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

Model only(const Model& model, std::size_t member) {
  Model one = model;
  one.members = {model.members[member]};
  return one;
}

double average(double a, double b) { return 0.5 * (a + b); }

}  // namespace

TEST_CASE("two members: density, distribution, quantiles and intervals are those of the averaged density") {
  const Model both = test_regression(2, 3, 2), first = only(both, 0), second = only(both, 1);
  const BlockData rows = test_rows(both, 60);
  const Block block = rows.view();
  const Prediction p = predict(both, block), a = predict(first, block), b = predict(second, block);
  const vec levels = {0.02, 0.05, 0.3, 0.5, 0.95};
  const mat q = quantiles(both, block, levels), range = intervals(both, block, 0.9);
  for (uword i = 0; i < 60; ++i) {
    const double density = average(std::exp(a.log_density[i]), std::exp(b.log_density[i]));
    if (density > 1e-290) CHECK(p.log_density[i] == doctest::Approx(std::log(density)).epsilon(1e-12));
    CHECK(p.cumulative[i] == doctest::Approx(average(a.cumulative[i], b.cumulative[i])).epsilon(1e-12));
    CHECK(p.mean[i] == doctest::Approx(average(a.mean[i], b.mean[i])).epsilon(1e-12));
    const double square =
        average(std::pow(a.sd[i], 2) + std::pow(a.mean[i], 2), std::pow(b.sd[i], 2) + std::pow(b.mean[i], 2));
    CHECK(std::pow(p.sd[i], 2) == doctest::Approx(square - std::pow(p.mean[i], 2)).epsilon(1e-10));
    CHECK(range(i, 0) == doctest::Approx(q(i, 1)).epsilon(1e-12));
    CHECK(range(i, 1) == doctest::Approx(q(i, 4)).epsilon(1e-12));
  }
  for (uword l = 0; l < levels.n_elem; ++l) {
    const vec fa = cumulative(first, block, q.col(l)), fb = cumulative(second, block, q.col(l));
    for (uword i = 0; i < 60; ++i) CHECK(average(fa[i], fb[i]) == doctest::Approx(levels[l]).epsilon(1e-9));
  }
}

TEST_CASE("two members: CRPS and coverage, by integrating the averaged distribution") {
  const Model both = test_regression(1, 2, 2), first = only(both, 0), second = only(both, 1);
  const BlockData rows = test_rows(both, 12);
  const Block block = rows.view();
  Evaluator evaluator(both);
  evaluator.add(block);
  const Prediction p = predict(both, block);
  constexpr int kSteps = 40'000;
  const double lo = -30, hi = 50, h = (hi - lo) / kSteps;
  vec crps(12, arma::fill::zeros);
  for (int s = 0; s < kSteps; ++s) {
    vec at(12);
    at.fill(lo + (s + 0.5) * h);
    const vec f = 0.5 * (cumulative(first, block, at) + cumulative(second, block, at));
    for (uword i = 0; i < 12; ++i) crps[i] += h * std::pow(f[i] - (at[i] >= block.target[i] ? 1 : 0), 2);
  }
  CHECK(evaluator.metrics().crps == doctest::Approx(arma::mean(crps)).epsilon(1e-3));
  double covered = 0;
  const mat range = intervals(both, block, 0.9);
  for (uword i = 0; i < 12; ++i) covered += range(i, 0) <= block.target[i] && block.target[i] <= range(i, 1);
  CHECK(evaluator.metrics().coverage_90 == doctest::Approx(covered / 12));
}
