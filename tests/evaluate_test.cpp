#include "moekit/evaluate.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/rng.hpp"
#include "scores.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double weight_of(const Block& block, uword i) { return block.weight ? block.weight[i] : 1.0; }

/// CRPS by the trapezoidal rule on (F - 1[y <= t])^2, units of the target.
double integrated(const Model& model, const Block& row, double y, double lo, double hi) {
  constexpr int kSteps = 40'000;
  double sum = 0;
  const double h = (hi - lo) / kSteps;
  const Components c = components(model, row);
  const Unit unit = target_unit(model.schema.target);
  for (int s = 0; s <= kSteps; ++s) {
    const double t = lo + h * s, z = unit.standard(t);
    double f = 0;
    for (uword k = 0; k < c.weight.n_cols; ++k)
      f += c.weight(0, k) * 0.5 * std::erfc((c.mean(0, k) - z) / c.sd(0, k) / std::sqrt(2));
    const double gap = f - (t >= y ? 1 : 0);
    sum += h * gap * gap * (s == 0 || s == kSteps ? 0.5 : 1);
  }
  return sum;
}

Block one_row(const BlockData& rows) { return rows.view(); }

MemorySource source_of(const Model& model, uword n, bool weights) {
  MemorySource source;
  for (uword begin = 0; begin < n; begin += kBlockRows)
    source.push(test_rows(model, std::min(kBlockRows, n - begin), begin + 1, weights));
  return source;
}

}  // namespace

TEST_CASE("regression metrics are the plain weighted formulas") {
  for (const bool weights : {false, true}) {
    const Model model = test_regression(2, 3, 2);
    const BlockData rows = test_rows(model, 300, 4, weights);
    const Block block = rows.view();
    const Prediction p = predict(model, block);
    Evaluator evaluator(model);
    evaluator.add(block);
    const Metrics m = evaluator.metrics();
    double w = 0, nll = 0, squares = 0, absolute = 0, mean = 0, covered = 0, total = 0;
    for (uword i = 0; i < block.rows; ++i) {
      const double wi = weight_of(block, i), error = block.target[i] - p.mean[i];
      w += wi, nll -= wi * p.log_density[i], squares += wi * error * error, absolute += wi * std::abs(error);
      mean += wi * block.target[i];
      covered += p.cumulative[i] >= 0.05 && p.cumulative[i] <= 0.95 ? wi : 0;
    }
    mean /= w;
    for (uword i = 0; i < block.rows; ++i) total += weight_of(block, i) * std::pow(block.target[i] - mean, 2);
    CHECK(m.rows == 300);
    CHECK(m.nll == doctest::Approx(nll / w).epsilon(1e-12));
    CHECK(m.rmse == doctest::Approx(std::sqrt(squares / w)).epsilon(1e-12));
    CHECK(m.mae == doctest::Approx(absolute / w).epsilon(1e-12));
    CHECK(m.r2 == doctest::Approx(1 - squares / total).epsilon(1e-12));
    CHECK(m.coverage_90 == doctest::Approx(covered / w).epsilon(1e-12));
    CHECK(!m.nll_grid);
  }
}

TEST_CASE("nll is the model's log-likelihood a row") {
  const Model model = test_regression();
  const MemorySource source = source_of(model, 1500, true);
  const Metrics m = evaluate(model, source);
  double weight = 0;
  for (std::size_t b = 0; b < source.blocks(); ++b)
    for (const double w : source.data(b).weight) weight += w;
  CHECK(-m.nll * weight == doctest::Approx(log_likelihood(model, source)).epsilon(1e-12));
}

TEST_CASE("the closed form of the CRPS is the integral of (F - 1)^2") {
  for (const uword members : {1u, 3u}) {
    const Model model = test_regression(2, 3, members);
    for (std::uint64_t seed = 1; seed < 8; ++seed) {
      const BlockData rows = test_rows(model, 1, seed);
      Evaluator evaluator(model);
      evaluator.add(rows.view());
      const double y = rows.target[0];
      const double expected = integrated(model, one_row(rows), y, -40, 60);
      CHECK(evaluator.metrics().crps == doctest::Approx(expected).epsilon(2e-3));
    }
  }
}

TEST_CASE("CRPS of one normal distribution, and of a point") {
  // Gneiting & Raftery 2007, eq. 21: s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)).
  for (const double y : {-4.0, 0.0, 0.7, 30.0}) {
    const double mean = 0.2, s = 1.5, z = (y - mean) / s;
    const double expected = s * (z * std::erf(z / std::sqrt(2)) +
                                 2 * std::exp(-0.5 * z * z) / std::sqrt(2 * M_PI) - 1 / std::sqrt(M_PI));
    CHECK(crps_gaussian_mixture(y, {1}, {mean}, {s}) == doctest::Approx(expected).epsilon(1e-13));
    CHECK(crps_gaussian_mixture(y, {0.25, 0.75}, {mean, mean}, {s, s}) ==
          doctest::Approx(expected).epsilon(1e-13));
  }
  CHECK(crps_gaussian_mixture(3, {1}, {1}, {1e-300}) == doctest::Approx(2));
  CHECK(crps_gaussian_mixture(3, {1}, {3}, {0}) == 0);
  // Two points at 0 and 1: E|X - y| - E|X - X'| / 2 at y = 0: 1/2 - 1/4.
  CHECK(crps_gaussian_mixture(0, {0.5, 0.5}, {0, 1}, {1e-12, 1e-12}) == doctest::Approx(0.25));
}

namespace {

/// E|X| of N(m, s^2) without tables.
double mean_absolute(double m, double s) {
  if (s == 0) return std::abs(m);
  const double z = std::abs(m) / s;
  return s * std::sqrt(2 / M_PI) * std::exp(-0.5 * z * z) + std::abs(m) * std::erf(z / std::sqrt(2));
}

/// The double sum over all pairs.
double naive_crps(double y, const rowvec& w, const rowvec& m, const rowvec& s) {
  double error = 0, spread = 0;
  for (uword i = 0; i < w.n_elem; ++i) {
    error += w[i] * mean_absolute(m[i] - y, s[i]);
    for (uword j = 0; j < w.n_elem; ++j)
      spread += w[i] * w[j] * mean_absolute(m[i] - m[j], std::hypot(s[i], s[j]));
  }
  return error - spread / 2;
}

}  // namespace

TEST_CASE("CRPS of mixtures: the double sum, to 1e-9, for any number of components and any units") {
  Rng rng(23, 0);
  for (const uword count : {uword{1}, uword{2}, uword{3}, uword{8}, uword{9}, uword{40}, uword{255}})
    for (const double sharpness :
         {0.0, 1.0, 12.0})  // the weights: alike, uneven, most of them next to nothing
      for (const double unit : {1.0, 1e-150, 1e150}) {
        rowvec w(count), m(count), s(count);
        for (uword k = 0; k < count; ++k) {
          w[k] = std::exp(sharpness * rng.normal());
          m[k] = 3 * rng.normal();
          s[k] = std::exp(rng.normal() - 1);
        }
        w /= arma::accu(w);
        if (count > 2) w[1] = 0, m[1] = NAN;  // not used
        if (count > 3) s[2] = 0;
        rowvec used = m;
        if (count > 2) used[1] = 0;
        for (const double y : {0.0, 0.3, -2.5, 40.0}) {
          CAPTURE(count);
          CAPTURE(sharpness);
          const double expected = naive_crps(y, w, used, s);
          CHECK(crps_gaussian_mixture(unit * y, w, unit * m, unit * s) / unit ==
                doctest::Approx(expected).epsilon(1e-9));
        }
      }
}

TEST_CASE("CRPS of a block of rows: that of each row, for few components and many, with and without weight") {
  Rng rng(29, 0);
  for (const uword count : {uword{1}, uword{4}, uword{8}, uword{16}, uword{17}, uword{30}})
    for (const uword rows : {uword{1}, uword{7}, uword{8}, uword{21}}) {
      Components c{mat(rows, count), mat(rows, count), mat(rows, count)};
      vec y(rows);
      for (uword i = 0; i < rows; ++i) {
        y[i] = rng.normal();
        for (uword k = 0; k < count; ++k) {
          c.weight(i, k) = count > 1 && rng.below(5) == 0 ? 0 : std::exp(3 * rng.normal());
          c.mean(i, k) = c.weight(i, k) > 0 ? 2 * rng.normal() : NAN;
          c.sd(i, k) = rng.below(9) == 0 ? 0 : std::exp(rng.normal());
        }
        if (!(arma::accu(c.weight.row(i)) > 0)) c.weight(i, 0) = 1, c.mean(i, 0) = 0;
        c.weight.row(i) /= arma::accu(c.weight.row(i));
      }
      const vec found = gaussian_crps(c, y);
      for (uword i = 0; i < rows; ++i) {
        rowvec mean = c.mean.row(i);
        mean.replace(arma::datum::nan, 0);
        CHECK(found[i] ==
              doctest::Approx(naive_crps(y[i], c.weight.row(i), mean, c.sd.row(i))).epsilon(1e-9));
      }
    }
}

TEST_CASE("probability of an interval keeps its digits near, far and for narrow widths") {
  const auto naive = [](double a, double b) {
    return std::log(0.5 * (std::erfc(a / std::sqrt(2)) - std::erfc(b / std::sqrt(2))));
  };
  CHECK(log_normal_interval(-1, 2) == doctest::Approx(naive(-1, 2)).epsilon(1e-13));
  CHECK(log_normal_interval(3, 5) == doctest::Approx(naive(3, 5)).epsilon(1e-13));
  CHECK(log_normal_interval(-5, -3) == doctest::Approx(naive(3, 5)).epsilon(1e-13));
  // The two ways meet where one gives over to the other.
  for (const double a : {0.0, 0.5, 2.0, 10.0, 29.999, 30.001, 100.0}) {
    const double width = 1e-3 / std::max(1.0, a);
    const double below = log_normal_interval(a, a + 0.999 * width),
                 above = log_normal_interval(a, a + 1.001 * width);
    CHECK(above - below == doctest::Approx(std::log(1.001 / 0.999)).epsilon(5e-2));
  }
  CHECK(log_normal_interval(29.999999, 40) ==
        doctest::Approx(log_normal_interval(30.000001, 40)).epsilon(1e-6));
  CHECK(std::isfinite(log_normal_interval(1000, 1001)));
  CHECK(log_normal_interval(1000, 1001) ==
        doctest::Approx(-0.5 * 1e6 - std::log(1000 * std::sqrt(2 * M_PI))));
  CHECK(log_normal_interval(1, 1 + 1e-12) ==
        doctest::Approx(-0.5 - 0.5 * std::log(2 * M_PI) + std::log(1e-12)).epsilon(1e-5));
}

TEST_CASE("nll_grid is -ln of the mass of the step around y, per unit") {
  Model model = test_regression(2, 3, 2);
  model.schema.target.step = 0.5;
  BlockData rows = test_rows(model, 100);
  const vec centre = predict(model, rows.view()).mean;
  for (uword i = 0; i < 100; ++i) rows.target[i] = 0.5 * std::round(centre[i] / 0.5);
  Evaluator evaluator(model);
  evaluator.add(rows.view());
  vec above(100), below(100);
  for (uword i = 0; i < 100; ++i) above[i] = rows.target[i] + 0.25, below[i] = rows.target[i] - 0.25;
  const vec mass = cumulative(model, rows.view(), above) - cumulative(model, rows.view(), below);
  REQUIRE(evaluator.metrics().nll_grid);
  REQUIRE(mass.min() > 1e-8);  // so that the plain difference has digits
  CHECK(*evaluator.metrics().nll_grid == doctest::Approx(-arma::mean(arma::log(mass / 0.5))).epsilon(1e-7));
  rows.target[0] = 1e6;
  Evaluator far(model);
  far.add(rows.view());
  CHECK(std::isfinite(*far.metrics().nll_grid));
  // As the step shrinks it becomes the nll.
  model.schema.target.step = 1e-7;
  Evaluator fine(model);
  fine.add(rows.view());
  CHECK(*fine.metrics().nll_grid == doctest::Approx(fine.metrics().nll).epsilon(1e-6));
}

TEST_CASE("classification metrics are the plain weighted formulas") {
  for (const uword classes : {2u, 3u}) {
    const Model model = test_classification(2, 3, classes, 2);
    const BlockData rows = test_rows(model, 400, 2, true);
    const Block block = rows.view();
    const Prediction p = predict(model, block);
    Evaluator evaluator(model);
    evaluator.add(block);
    const Metrics m = evaluator.metrics();
    double w = 0, right = 0, loss = 0, brier = 0;
    std::vector<double> confidence(15), hits(15);
    for (uword i = 0; i < 400; ++i) {
      const double wi = block.weight[i];
      const auto y = static_cast<uword>(block.target[i]);
      w += wi, right += p.label[i] == y ? wi : 0, loss -= wi * std::log(p.probability(i, y));
      for (uword c = 0; c < classes; ++c) brier += wi * std::pow(p.probability(i, c) - (c == y), 2);
      const double top = p.probability.row(i).max();
      const auto bin = static_cast<std::size_t>(std::min(14.0, std::floor(top * 15)));
      confidence[bin] += wi * top, hits[bin] += p.label[i] == y ? wi : 0;
    }
    double ece = 0;
    for (int b = 0; b < 15; ++b) ece += std::abs(hits[b] - confidence[b]) / w;
    CHECK(m.accuracy == doctest::Approx(right / w).epsilon(1e-12));
    CHECK(m.log_loss == doctest::Approx(loss / w).epsilon(1e-11));
    CHECK(m.nll == m.log_loss);
    CHECK(m.brier == doctest::Approx(brier / w).epsilon(1e-12));
    CHECK(m.ece == doctest::Approx(ece).epsilon(1e-11));
    CHECK(m.auc.has_value() == (classes == 2));
    if (classes > 2) continue;
    double won = 0, pairs = 0;
    for (uword i = 0; i < 400; ++i)
      for (uword j = 0; j < 400; ++j) {
        if (block.target[i] != 1 || block.target[j] != 0) continue;
        const double both = block.weight[i] * block.weight[j];
        pairs += both;
        if (p.probability(i, 1) > p.probability(j, 1)) won += both;
        if (p.probability(i, 1) == p.probability(j, 1)) won += 0.5 * both;
      }
    CHECK(*m.auc == doctest::Approx(won / pairs).epsilon(1e-12));
  }
}

TEST_CASE("ties count half in the area under the curve; one class alone has none") {
  Model model = test_classification(1, 1, 2);
  set_expert(*model.members[0].experts, 0, mat(2, 1, arma::fill::zeros));
  BlockData rows = test_rows(model, 20);
  Evaluator tied(model);
  tied.add(rows.view());
  CHECK(*tied.metrics().auc == doctest::Approx(0.5));
  rows.target.assign(20, 1.0);
  Evaluator alone(model);
  alone.add(rows.view());
  CHECK(!alone.metrics().auc);
}

TEST_CASE("rows without target or weight are passed over; none at all is an error") {
  const Model model = test_regression();
  BlockData rows = test_rows(model, 10);
  rows.weight.assign(10, 1.0);
  Evaluator nine(model), eight(model);
  rows.target[2] = kNaN;
  nine.add(rows.view());
  CHECK(nine.metrics().rows == 9);
  rows.weight[5] = 0;
  eight.add(rows.view());
  CHECK(eight.metrics().rows == 8);
  CHECK(std::isfinite(eight.metrics().crps));
  Evaluator none(model);
  rows.target.assign(10, kNaN);
  none.add(rows.view());
  rows.target.clear();
  none.add(rows.view());
  try {
    (void)none.metrics();
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.code() == Errc::data);
  }
}

TEST_CASE("constant targets have r2 = 0; scales of 1e-300 and 1e300 keep their metrics") {
  const Model base = test_regression();
  BlockData rows = test_rows(base, 50);
  BlockData same = rows;
  same.target.assign(50, 12.25);
  Evaluator constant(base);
  constant.add(same.view());
  CHECK(constant.metrics().r2 == 0);
  Evaluator plain(base);
  plain.add(rows.view());
  for (const double size : {1e-300, 1e300}) {
    Model model = base;
    model.schema.target.mean *= size, model.schema.target.sd *= size;
    BlockData scaled = rows;
    for (double& y : scaled.target) y *= size;
    Evaluator evaluator(model);
    evaluator.add(scaled.view());
    const Metrics m = evaluator.metrics(), p = plain.metrics();
    CHECK(m.rmse / size == doctest::Approx(p.rmse).epsilon(1e-11));
    CHECK(m.mae / size == doctest::Approx(p.mae).epsilon(1e-11));
    CHECK(m.crps / size == doctest::Approx(p.crps).epsilon(1e-10));
    CHECK(m.r2 == doctest::Approx(p.r2).epsilon(1e-10));
    CHECK(m.coverage_90 == p.coverage_90);
  }
}

TEST_CASE("threads and blocks do not change a bit") {
  const Model model = test_regression(2, 3, 2);
  const MemorySource source = source_of(model, 5000, true);
  const Metrics one = evaluate(model, source, {1}), three = evaluate(model, source, {3});
  Evaluator streamed(model);
  BlockData buffer;
  for (std::size_t b = 0; b < source.blocks(); ++b) streamed.add(source.read(b, buffer));
  CHECK(one.nll == three.nll);
  CHECK(one.crps == three.crps);
  CHECK(one.rmse == three.rmse);
  CHECK(one.r2 == three.r2);
  CHECK(one.nll == streamed.metrics().nll);
  CHECK(one.crps == streamed.metrics().crps);
}
