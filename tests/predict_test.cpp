#include "moekit/predict.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "components.hpp"
#include "helpers.hpp"
#include "moekit/error.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The naive version: one row, one expert, one member after the other, in the units of the target.
struct NaiveRow {
  std::vector<double> gate, mean, sd;  // all members; gate divided by their number
};

double feature(const Schema& schema, const Term& term, const Block& block, uword i) {
  if (term.kind == Term::Kind::intercept) return 1;
  const Column& c = schema.inputs[term.column];
  if (term.kind == Term::Kind::numeric)
    return (block.numeric[c.index * block.rows + i] - term.center) / term.scale;
  return (block.levels[c.index * block.rows + i] == term.level ? 1 : 0) - term.center;
}

double predictor(const Schema& schema, const Basis& basis, const vec& w, const Block& block, uword i) {
  double sum = 0;
  for (uword j = 0; j < basis.size(); ++j) sum += w[j] * feature(schema, basis.terms()[j], block, i);
  return sum;
}

std::vector<double> naive_gate(const Model& model, const Mixture& m, const Block& block, uword i) {
  const mat theta = m.gate->coefficients();
  std::vector<double> g;
  double total = 0;
  for (uword k = 0; k < m.count(); ++k) {
    g.push_back(std::exp(predictor(model.schema, m.gate_basis, theta.col(k), block, i)));
    total += g.back();
  }
  for (double& v : g) v /= total;
  return g;
}

NaiveRow naive_row(const Model& model, const Block& block, uword i) {
  NaiveRow out;
  const Target& t = model.schema.target;
  for (const Mixture& m : model.members) {
    const std::vector<double> g = naive_gate(model, m, block, i);
    for (uword k = 0; k < m.count(); ++k) {
      const vec w = m.experts->coefficients(k);
      out.gate.push_back(g[k] / static_cast<double>(model.members.size()));
      out.mean.push_back(t.mean + t.sd * predictor(model.schema, m.expert_basis, w, block, i));
      out.sd.push_back(t.sd * m.experts->noise(k));
    }
  }
  return out;
}

double density(const NaiveRow& row, double y) {
  double sum = 0;
  for (std::size_t k = 0; k < row.gate.size(); ++k) {
    const double z = (y - row.mean[k]) / row.sd[k];
    sum += row.gate[k] * std::exp(-0.5 * z * z) / row.sd[k] / std::sqrt(2 * M_PI);
  }
  return sum;
}

double distribution(const NaiveRow& row, double y) {
  double sum = 0;
  for (std::size_t k = 0; k < row.gate.size(); ++k)
    sum += row.gate[k] * 0.5 * std::erfc((row.mean[k] - y) / row.sd[k] / std::sqrt(2));
  return sum;
}

/// One row without any input of effect, whose mixture has the given weights, means and spreads
/// (standardised).
Model fixed_mixture(const rowvec& weight, const rowvec& mean, const rowvec& sd) {
  Model model = test_regression(1, weight.n_elem);
  Mixture& m = model.members[0];
  mat theta(2, weight.n_elem, arma::fill::zeros);
  theta.row(0) = arma::log(weight);
  set_gate(*m.gate, theta);
  for (uword k = 0; k < weight.n_elem; ++k) {
    set_expert(*m.experts, k, vec{mean[k], 0});
    set_noise(*m.experts, k, sd[k]);
  }
  return model;
}

}  // namespace

TEST_CASE("mean, spread, density and F are those of the mixture, also for an ensemble") {
  for (const uword members : {1u, 3u}) {
    const Model model = test_regression(2, 3, members, true);
    const BlockData rows = test_rows(model, 50);
    const Block block = rows.view();
    const Prediction p = predict(model, block);
    for (uword i = 0; i < block.rows; ++i) {
      const NaiveRow row = naive_row(model, block, i);
      double mean = 0, within = 0, between = 0;
      for (std::size_t k = 0; k < row.gate.size(); ++k) mean += row.gate[k] * row.mean[k];
      for (std::size_t k = 0; k < row.gate.size(); ++k) {
        within += row.gate[k] * row.sd[k] * row.sd[k];
        between += row.gate[k] * std::pow(row.mean[k] - mean, 2);
      }
      CHECK(p.mean[i] == doctest::Approx(mean).epsilon(1e-12));
      CHECK(p.within[i] == doctest::Approx(std::sqrt(within)).epsilon(1e-12));
      CHECK(p.between[i] == doctest::Approx(std::sqrt(between)).epsilon(1e-12));
      CHECK(p.sd[i] == doctest::Approx(std::sqrt(within + between)).epsilon(1e-12));
      const double d = density(row, block.target[i]);
      if (d > 1e-250) CHECK(p.log_density[i] == doctest::Approx(std::log(d)).epsilon(1e-10));
      CHECK(p.cumulative[i] == doctest::Approx(distribution(row, block.target[i])).epsilon(1e-11));
      for (uword k = 0; k < 3; ++k) {
        CHECK(p.component_mean(i, k) == doctest::Approx(row.mean[k]).epsilon(1e-12));
        CHECK(p.component_sd(i, k) == doctest::Approx(row.sd[k]).epsilon(1e-12));
        CHECK(p.gate(i, k) == doctest::Approx(row.gate[k] * static_cast<double>(members)).epsilon(1e-12));
      }
      CHECK(p.expert[i] == p.gate.row(i).index_max());
      CHECK(arma::accu(p.responsibility.row(i)) == doctest::Approx(1).epsilon(1e-12));
    }
  }
}

TEST_CASE("a prediction does not depend on the target, nor on the rows beside it") {
  const Model model = test_regression(2, 3, 2);
  BlockData rows = test_rows(model, 40);
  const Prediction all = predict(model, rows.view());
  Block without = rows.view();
  without.target = nullptr;
  const Prediction blind = predict(model, without);
  CHECK(!blind.has_target);
  CHECK(blind.log_density.is_empty());
  CHECK(arma::approx_equal(all.mean, blind.mean, "absdiff", 0));
  CHECK(arma::approx_equal(all.gate, blind.gate, "absdiff", 1e-15));

  rows.target[7] = kNaN;
  const Prediction gap = predict(model, rows.view());
  CHECK(std::isnan(gap.log_density[7]));
  CHECK(std::isnan(gap.cumulative[7]));
  CHECK(std::isnan(gap.responsibility(7, 0)));
  CHECK(gap.mean.is_finite());
  for (uword i = 0; i < 40; ++i) {
    if (i == 7) continue;
    CHECK(gap.log_density[i] == all.log_density[i]);
    CHECK(gap.responsibility(i, 1) == all.responsibility(i, 1));
  }
}

TEST_CASE("class probabilities are the gated average, add up to one, and name the label") {
  for (const uword classes : {2u, 4u}) {
    const Model model = test_classification(2, 3, classes, 2);
    BlockData rows = test_rows(model, 30);
    rows.target[3] = kNaN;
    const Block block = rows.view();
    const Prediction p = predict(model, block);
    for (uword i = 0; i < block.rows; ++i) {
      std::vector<double> expected(classes);
      for (const Mixture& m : model.members) {
        const std::vector<double> g = naive_gate(model, m, block, i);
        for (uword k = 0; k < m.count(); ++k) {
          const mat w = m.experts->coefficients(k);
          std::vector<double> e(classes, 1.0);
          double total = 1;
          for (uword c = 0; c + 1 < classes; ++c) {
            e[c] = std::exp(predictor(model.schema, m.expert_basis, w.col(c), block, i));
            total += e[c];
          }
          for (uword c = 0; c < classes; ++c) expected[c] += 0.5 * g[k] * e[c] / total;
        }
      }
      for (uword c = 0; c < classes; ++c)
        CHECK(p.probability(i, c) == doctest::Approx(expected[c]).epsilon(1e-11));
      CHECK(std::abs(arma::accu(p.probability.row(i)) - 1) < 1e-15 * static_cast<double>(classes + 1));
      CHECK(p.label[i] == p.probability.row(i).index_max());
      if (i == 3)
        CHECK(std::isnan(p.log_density[i]));
      else
        CHECK(p.log_density[i] ==
              doctest::Approx(std::log(expected[static_cast<uword>(block.target[i])])).epsilon(1e-10));
    }
    CHECK(p.mean.is_empty());
    CHECK(p.cumulative.is_empty());
  }
}

TEST_CASE("equal probabilities give the lower code; hopeless classes keep a finite logarithm") {
  Model model = test_classification(1, 1, 3);
  set_expert(*model.members[0].experts, 0, mat(2, 2, arma::fill::zeros));
  const BlockData rows = test_rows(model, 5);
  CHECK(arma::all(predict(model, rows.view()).label == 0));
  set_expert(*model.members[0].experts, 0, mat{{2000, 0}, {0, 0}});
  const Prediction p = predict(model, rows.view());
  CHECK(p.probability.min() > 0);
  CHECK(p.log_density.is_finite());
}

TEST_CASE("units of the target do not matter, from 1e-300 to 1e300") {
  const Model base = test_regression(2, 3, 2);
  const BlockData rows = test_rows(base, 20);
  const Prediction p = predict(base, rows.view());
  const mat q = quantiles(base, rows.view(), vec{0.05, 0.5, 0.95});
  for (const double size : {1e-300, 1e-9, 1e9, 1e300}) {
    Model model = base;
    model.schema.target.mean *= size;
    model.schema.target.sd *= size;
    BlockData scaled = rows;
    for (double& y : scaled.target) y *= size;
    const Prediction s = predict(model, scaled.view());
    const mat sq = quantiles(model, scaled.view(), vec{0.05, 0.5, 0.95});
    for (uword i = 0; i < 20; ++i) {
      CHECK(s.mean[i] / size == doctest::Approx(p.mean[i]).epsilon(1e-12));
      CHECK(s.sd[i] / size == doctest::Approx(p.sd[i]).epsilon(1e-12));
      CHECK(s.between[i] / size == doctest::Approx(p.between[i]).epsilon(1e-12));
      CHECK(s.log_density[i] + std::log(size) == doctest::Approx(p.log_density[i]).epsilon(1e-9));
      CHECK(sq(i, 2) / size == doctest::Approx(q(i, 2)).epsilon(1e-12));
    }
  }
}

TEST_CASE("a target beyond the reach of squares leaves no NaN") {
  const Model model = test_regression(2, 3, 2);
  BlockData rows = test_rows(model, 4);
  rows.target = {1e300, -1e300, 1e200, 10};
  const Prediction p = predict(model, rows.view());
  CHECK(p.log_density.is_finite());
  CHECK(p.responsibility.is_finite());
  CHECK(p.log_density[0] < -1e200);
}

TEST_CASE("F(Q(q)) = q, in both tails, for mixtures of any shape") {
  const vec levels = {1e-12, 1e-6, 0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999, 1 - 1e-6};
  const Model model = test_regression(2, 4, 2);
  const BlockData rows = test_rows(model, 40);
  const mat q = quantiles(model, rows.view(), levels);
  for (uword l = 0; l < levels.n_elem; ++l) {
    const vec back = cumulative(model, rows.view(), q.col(l));
    for (uword i = 0; i < 40; ++i) {
      // y is rounded to 2^-52 |y|; F moves by the density times that.
      const double noise = 40 * 2.3e-16 / 0.05;
      CHECK(std::abs(back[i] - levels[l]) <=
            1e-12 * std::min(levels[l], 1 - levels[l]) + noise * back[i] + 1e-16);
      if (l > 0) CHECK(q(i, l) > q(i, l - 1));
    }
  }
}

TEST_CASE("the median of one normal component is its mean; quantiles are mean + sd z") {
  const Model model = fixed_mixture({1}, {0.5}, {0.25});
  const BlockData rows = test_rows(model, 1);
  const mat q = quantiles(model, rows.view(), vec{0.5, 0.975, 0.025});
  const double mean = 10 + 2.5 * 0.5, sd = 2.5 * 0.25;
  CHECK(q(0, 0) == doctest::Approx(mean).epsilon(1e-15));
  CHECK(q(0, 1) == doctest::Approx(mean + sd * 1.959963984540054236).epsilon(1e-14));
  CHECK(q(0, 2) == doctest::Approx(mean - sd * 1.959963984540054236).epsilon(1e-14));
}

TEST_CASE("quantiles of two far components, one as narrow as 1e-10 of their distance") {
  const Model model = fixed_mixture({0.3, 0.7}, {-1, 1}, {1e-10, 0.5});
  const BlockData rows = test_rows(model, 1);
  // Nothing but the needle's 0.3 and about 0.7 F2(-1) = 2e-5 lies below -1 + 1e-9: the level 0.2 is in it.
  const double inside = quantiles(model, rows.view(), vec{0.2})(0, 0);
  CHECK(std::abs(inside - (10 - 2.5)) < 2.5 * 1e-9);
  // Between the components F is flat; above, 0.7 F2 carries the rest.
  const vec levels = {0.01, 0.29, 0.2999, 0.31, 0.6, 0.999};
  const mat q = quantiles(model, rows.view(), levels);
  for (uword l = 0; l < levels.n_elem; ++l) {
    if (l > 0) CHECK(q(0, l) >= q(0, l - 1));
    if (q(0, l) > 10 - 2.4) {
      const double back = cumulative(model, rows.view(), vec{q(0, l)})[0];
      CHECK(back == doctest::Approx(levels[l]).epsilon(1e-12));
    }
  }
  // A flat stretch: equal far needles. The median may be anywhere where F = 1/2 to rounding.
  const Model needles = fixed_mixture({0.5, 0.5}, {-1, 1}, {1e-10, 1e-10});
  const double median = quantiles(needles, rows.view(), vec{0.5})(0, 0);
  CHECK(median >= 10 - 2.5 - 1e-8);
  CHECK(median <= 10 + 2.5 + 1e-8);
}

TEST_CASE("levels in any order; levels outside and classes are refused") {
  const Model model = test_regression();
  const BlockData rows = test_rows(model, 3);
  const mat up = quantiles(model, rows.view(), vec{0.1, 0.9}),
            down = quantiles(model, rows.view(), vec{0.9, 0.1});
  CHECK(arma::approx_equal(up.col(0), down.col(1), "absdiff", 0));
  CHECK(arma::approx_equal(up.col(1), down.col(0), "absdiff", 0));
  for (const double bad : {0.0, 1.0, -0.5, 2.0, kNaN}) {
    try {
      (void)quantiles(model, rows.view(), vec{bad});
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.code() == Errc::usage);
    }
  }
  const Model classes = test_classification();
  const BlockData labelled = test_rows(classes, 3);
  CHECK_THROWS_AS((void)quantiles(classes, labelled.view(), vec{0.5}), Error);
  CHECK_THROWS_AS((void)cumulative(classes, labelled.view(), vec{0, 0, 0}), Error);
  CHECK_THROWS_AS((void)cumulative(model, rows.view(), vec{0}), Error);
}

TEST_CASE("any family: the search that knows only F and the density agrees with the normal one") {
  const Model model = test_regression(2, 4, 2);
  const BlockData rows = test_rows(model, 30);
  Model other = model;
  other.family = "not known to be gaussian";
  const vec levels = {0.001, 0.05, 0.5, 0.9, 0.999};
  const mat fast = quantiles(model, rows.view(), levels), slow = quantiles(other, rows.view(), levels);
  CHECK(arma::abs(fast - slow).max() < 1e-10);
}
