// predict --flags: predictions with several modes, and rows far from every region.
#include "moekit/flags.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"
#include "helpers.hpp"
#include "modes.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

/// A mixture without any input of effect: weights, means and spreads on the standardised target.
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

bool several(const Model& model) { return multimodal(model, test_rows(model, 1).view())[0] == 1; }

double normal_density(double y, double mean, double sd) {
  const double z = (y - mean) / sd;
  return std::exp(-0.5 * z * z) / sd;
}

/// Valley over peak of two equal normals at distance d (in sd): the valley is in the middle, the peak is the
/// fixed point of the mean-shift map from a mean.
double valley_ratio(double d) {
  double y = d / 2;
  for (int i = 0; i < 5000; ++i) y = d / 2 * std::tanh(y * d / 2);
  const auto f = [&](double at) { return normal_density(at, -d / 2, 1) + normal_density(at, d / 2, 1); };
  return f(0) / f(y);
}

/// The rule again, in another way: on a fine grid, flood from the highest point down; a summit counts when it
/// stands 1 / valley above the level where its basin meets a higher one.
int modes_by_flooding(const rowvec& w, const rowvec& m, const rowvec& s, double valley, double mass) {
  constexpr int kGrid = 40'001;
  const double lo = (m - 8 * s).min(), hi = (m + 8 * s).max(), h = (hi - lo) / (kGrid - 1);
  std::vector<double> f(kGrid);
  double total = 0;
  for (int g = 0; g < kGrid; ++g) {
    for (uword k = 0; k < w.n_elem; ++k) f[g] += w[k] * normal_density(lo + h * g, m[k], s[k]);
    total += f[g];
  }
  std::vector<int> summits, cuts{0};
  for (int g = 1; g + 1 < kGrid; ++g)
    if (f[g] > f[g - 1] && f[g] >= f[g + 1]) {
      // Walk to both sides until higher ground; the lowest point on the way there is the col.
      bool counts = true;
      for (const int step : {-1, 1}) {
        double col = f[g];
        int at = g;
        while (at > 0 && at + 1 < kGrid && f[at] <= f[g]) col = std::min(col, f[at += step]);
        if (at > 0 && at + 1 < kGrid && col >= valley * f[g]) counts = false;
      }
      if (counts) summits.push_back(g);
    }
  for (std::size_t j = 0; j + 1 < summits.size(); ++j)
    cuts.push_back(
        static_cast<int>(std::min_element(f.begin() + summits[j], f.begin() + summits[j + 1]) - f.begin()));
  cuts.push_back(kGrid);
  int modes = 0;
  for (std::size_t j = 0; j < summits.size(); ++j) {
    double sum = 0;
    for (int g = cuts[j]; g < cuts[j + 1]; ++g) sum += f[g];
    modes += sum >= mass * total;
  }
  return modes;
}

fit_testing::Rows clusters(uword n, uword d, std::uint64_t seed, bool heavy = false) {
  Rng rng(seed, 0xc1);
  fit_testing::Columns c{mat(n, d), vec(n), {}};
  for (uword i = 0; i < n; ++i) {
    const double middle = 4.0 * static_cast<double>(rng.below(3));
    for (uword j = 0; j < d; ++j) {
      double noise = rng.normal();
      if (heavy)  // Student's t with 3 degrees of freedom
        noise /= std::sqrt(
            (std::pow(rng.normal(), 2) + std::pow(rng.normal(), 2) + std::pow(rng.normal(), 2)) / 3);
      c.x(i, j) = (j % 2 ? -middle : middle) + noise;
    }
    c.y[i] = middle * c.x(i, 0) + rng.normal();
  }
  return fit_testing::to_rows(c);
}

double flagged(const Model& model, const Source& source) {
  double sum = 0;
  BlockData buffer;
  for (std::size_t b = 0; b < source.blocks(); ++b)
    sum += static_cast<double>(arma::accu(out_of_region(model, source.read(b, buffer))));
  return sum / static_cast<double>(source.rows());
}

Model quick_fit(const fit_testing::Rows& rows, uword experts) {
  FitOptions o = fit_testing::options(experts, -1, 2);
  o.max_iterations = 30;
  return fit(rows.schema, rows.source, o);
}

}  // namespace

TEST_CASE("two equal normals: one mode up to two standard deviations apart, by the closed form beyond") {
  // Where the rule's valley is reached, by bisection on the closed form; the program looks a quarter of a
  // standard deviation apart, which can miss a peak's height by exp(-1/128), 0.8 %.
  double lo = 2, hi = 4;
  while (hi - lo > 1e-6) (valley_ratio((lo + hi) / 2) < 0.9 ? hi : lo) = (lo + hi) / 2;
  CHECK(valley_ratio(lo) == doctest::Approx(0.9).epsilon(1e-4));
  for (const double s : {0.01, 0.4, 50.0}) {
    for (const double d : {0.0, 0.5, 1.0, 1.7, 2.0, lo - 0.06})
      CHECK(!several(fixed_mixture({0.5, 0.5}, {1 - d * s / 2, 1 + d * s / 2}, {s, s})));
    for (const double d : {lo + 0.06, 3.0, 5.0, 30.0, 1e6})
      CHECK(several(fixed_mixture({0.5, 0.5}, {1 - d * s / 2, 1 + d * s / 2}, {s, s})));
  }
}

TEST_CASE("a mode needs 5 % of the probability") {
  CHECK(!several(fixed_mixture({0.045, 0.955}, {-5, 5}, {0.5, 0.5})));
  CHECK(several(fixed_mixture({0.055, 0.945}, {-5, 5}, {0.5, 0.5})));
  CHECK(!several(fixed_mixture({0.02, 0.02, 0.96}, {-5, 9, 2}, {0.1, 0.1, 0.5})));
  // A needle beside a broad component, and one component alone.
  CHECK(several(fixed_mixture({0.3, 0.7}, {2, 0}, {1e-6, 1})));
  CHECK(!several(fixed_mixture({1}, {2}, {1})));
}

TEST_CASE("random mixtures: as flooding a fine grid finds, but for borderline cases") {
  Rng rng(11, 12);
  int yes = 0;
  for (int round = 0; round < 300; ++round) {
    const uword k = 2 + rng.below(4);
    rowvec w(k), m(k), s(k);
    for (uword j = 0; j < k; ++j)
      w[j] = 0.02 + rng.uniform(), m[j] = 2 * rng.normal(), s[j] = 0.2 + rng.uniform();
    w /= arma::accu(w);
    const bool found = several(fixed_mixture(w, m, s));
    const bool surely = modes_by_flooding(w, m, s, 0.87, 0.055) > 1,
               perhaps = modes_by_flooding(w, m, s, 0.93, 0.045) > 1;
    if (surely == perhaps) CHECK(found == surely);
    yes += found;
  }
  CHECK(yes > 60);
  CHECK(yes < 280);
}

TEST_CASE("count_modes: plateaus, ties and edges") {
  const std::vector<double> at = {0, 1, 2, 3, 4, 5, 6};
  CHECK(count_modes(at, std::vector<double>{1, 1, 1, 1, 1, 1, 1}) == 1);
  CHECK(count_modes(at, std::vector<double>{3, 2, 1, 0, 1, 2, 3}) == 2);
  CHECK(count_modes(at, std::vector<double>{0, 2, 2, 1, 2, 2, 0}) == 2);
  CHECK(count_modes(at, std::vector<double>{0, 2, 1.9, 2, 1.85, 2, 0}) == 1);
  CHECK(count_modes(at, std::vector<double>{0, 3, 0, 3, 0, 3, 0}) == 3);
  CHECK(count_modes({}, {}) == 0);
}

TEST_CASE("an ensemble's density is what counts; other families are looked at through their own density") {
  const Model left = fixed_mixture({1}, {-2}, {0.5}), right = fixed_mixture({1}, {2}, {0.5});
  Model both = left;
  both.members.push_back(right.members[0]);
  CHECK(!several(left));
  CHECK(several(both));
  for (Model model : {left, both, fixed_mixture({0.5, 0.5}, {0, 0.9}, {0.5, 0.5}),
                      fixed_mixture({0.3, 0.7}, {0, 4}, {1, 0.2})}) {
    const bool normal = several(model);
    model.family = "not known to be gaussian";
    CHECK(several(model) == normal);
  }
  const Model classes = test_classification();
  CHECK_THROWS_AS((void)multimodal(classes, test_rows(classes, 2).view()), Error);
}

TEST_CASE("region shapes are the weighted moments, and the limits hold 99.9 % of the rows") {
  const Model model = test_regression(3, 3, 1, true);
  BlockData rows = test_rows(model, 900, 3, true);
  rows.numeric[5] = std::nan("");
  MemorySource source;
  source.push(BlockData(rows));
  const Block block = source.data(0).view();
  const Mixture& m = model.members[0];
  const RegionShapes shapes = region_shapes(m, model.schema, source);
  REQUIRE(shapes.columns.size() == 3);
  Posterior post;
  posterior(m, model.schema, block, post);
  double all = 0;
  for (const double w : rows.weight) all += w;
  for (uword k = 0; k < 3; ++k)
    for (uword j = 0; j < 3; ++j) {
      const Column& c = model.schema.inputs[j];
      const auto z = [&](uword i) {
        const double x = block.numeric_column(j)[i];
        return std::isnan(x) ? 0 : (x - c.mean) / c.sd;
      };
      double weight = 0, mean = 0, variance = 0;
      for (uword i = 0; i < 900; ++i) {
        const double r = post.responsibility(i, k) * rows.weight[i];
        weight += r, mean += r * z(i);
      }
      mean /= weight;
      for (uword i = 0; i < 900; ++i)
        variance += post.responsibility(i, k) * rows.weight[i] * std::pow(z(i) - mean, 2);
      const double effective = weight * 900 / all;
      CHECK(shapes.mean(k, j) == doctest::Approx(mean).epsilon(1e-10));
      CHECK(shapes.sd(k, j) ==
            doctest::Approx(std::sqrt((effective * variance / weight + 5) / (effective + 5))).epsilon(1e-10));
    }
  // Least distances by hand; the limits are bin edges, 1 % apart.
  double inside = 0, inside_deviation = 0, below = 0;
  for (uword i = 0; i < 900; ++i) {
    double least = arma::datum::inf, least_deviation = arma::datum::inf;
    for (uword k = 0; k < 3; ++k) {
      double squares = 0, largest = 0;
      for (uword j = 0; j < 3; ++j) {
        const Column& c = model.schema.inputs[j];
        const double x = block.numeric_column(j)[i];
        const double z = ((std::isnan(x) ? 0 : (x - c.mean) / c.sd) - shapes.mean(k, j)) / shapes.sd(k, j);
        squares += z * z, largest = std::max(largest, std::abs(z));
      }
      least = std::min(least, std::sqrt(squares));
      least_deviation = std::min(least_deviation, largest);
    }
    inside += least <= shapes.distance ? rows.weight[i] : 0;
    inside_deviation += least_deviation <= shapes.deviation ? rows.weight[i] : 0;
    below += least <= shapes.distance / 1.0101 ? rows.weight[i] : 0;
  }
  CHECK(inside >= 0.999 * all);
  CHECK(inside_deviation >= 0.999 * all);
  CHECK(below <= 0.999 * all);
}

TEST_CASE("held-out rows are hardly ever out of region; rows 10 standard deviations away always are") {
  for (const uword d : {1u, 4u, 20u, 60u}) {
    CAPTURE(d);
    const Model model = quick_fit(clusters(1500, d, 1), 3);
    const fit_testing::Rows fresh = clusters(4000, d, 2);
    CHECK(flagged(model, fresh.source) <= 0.001);
    // One input of a row moved by 10 standard deviations of the input away from the middle.
    for (uword j = 0; j < d; j += std::max<uword>(1, d / 7)) {
      BlockData rows = fresh.source.data(0);
      const Column& c = model.schema.inputs[j];
      for (uword i = 0; i < rows.rows; ++i) {
        double& x = rows.numeric[j * rows.rows + i];
        x = c.mean + (x > c.mean ? 10 : -10) * c.sd;
      }
      CHECK(arma::accu(out_of_region(model, rows.view())) == rows.rows);
    }
    // All inputs far away, without a number being too large.
    BlockData far = fresh.source.data(0);
    for (double& x : far.numeric) x = 1e300;
    CHECK(arma::accu(out_of_region(model, far.view())) == far.rows);
  }
}

TEST_CASE("few rows and heavy tails: still few false flags") {
  CHECK(flagged(quick_fit(clusters(100, 3, 5), 2), clusters(4000, 3, 6).source) <= 0.005);
  CHECK(flagged(quick_fit(clusters(2000, 3, 7, true), 3), clusters(4000, 3, 8, true).source) <= 0.005);
}

TEST_CASE("categories: a level that training never saw is outside, a missing value counts as the mean") {
  Model model = test_regression(1, 2, 2, true);
  MemorySource source;
  source.push(test_rows(model, 500));
  for (Mixture& m : model.members) m.shapes = region_shapes(m, model.schema, source);
  BlockData rows = test_rows(model, 4);
  rows.numeric = {0, std::nan(""), 0, 50};
  rows.levels = {0, 1, 3, 2};  // 3: a new level, or missing, which training did not have either
  CHECK(out_of_region(model, rows.view())[0] == 0);
  CHECK(out_of_region(model, rows.view())[1] == 0);
  CHECK(out_of_region(model, rows.view())[2] == 1);
  CHECK(out_of_region(model, rows.view())[3] == 1);
  model.schema.inputs[1].shares = {0.5, 0.25, 0.0, 0.25};
  rows.levels = {0, 1, 3, 2};
  rows.numeric.assign(4, 0.0);
  CHECK(out_of_region(model, rows.view())[2] == 0);  // missing, as training rows were
  CHECK(out_of_region(model, rows.view())[3] == 1);  // a level that only rows outside the fit had
  // Every member has to agree.
  model.members[1].shapes.distance = model.members[1].shapes.deviation = 1e6;
  rows.levels.assign(4, 0);
  rows.numeric.assign(4, 50.0);
  CHECK(arma::accu(out_of_region(model, rows.view())) == 0);
}

TEST_CASE("shapes follow their experts, and do not depend on threads") {
  Model model = test_regression(2, 3);
  MemorySource source;
  for (std::uint64_t b = 0; b < 5; ++b) source.push(test_rows(model, kBlockRows, b + 1, true));
  Mixture& m = model.members[0];
  m.shapes = region_shapes(m, model.schema, source, {1});
  const RegionShapes other = region_shapes(m, model.schema, source, {3});
  CHECK(arma::approx_equal(m.shapes.mean, other.mean, "absdiff", 0));
  CHECK(arma::approx_equal(m.shapes.sd, other.sd, "absdiff", 0));
  CHECK(m.shapes.distance == other.distance);
  const std::vector<uword> order = {2, 0};
  m.select(order);
  CHECK(m.shapes.mean.n_rows == 2);
  CHECK(arma::approx_equal(m.shapes.mean.row(0), other.mean.row(2), "absdiff", 0));
  CHECK(arma::approx_equal(m.shapes.sd.row(1), other.sd.row(0), "absdiff", 0));
}

TEST_CASE("shapes survive the model file; a model without them has no flags") {
  Model model = test_regression(2, 3);
  const BlockData rows = test_rows(model, 300);
  CHECK_THROWS_AS((void)out_of_region(model, rows.view()), Error);
  CHECK(model_text(model).find("shapes") == std::string::npos);
  MemorySource source;
  source.push(BlockData(rows));
  model.members[0].shapes = region_shapes(model.members[0], model.schema, source);
  const std::string text = model_text(model);
  const Model back = parse_model(text, "m");
  CHECK(model_text(back) == text);
  CHECK(arma::approx_equal(back.members[0].shapes.sd, model.members[0].shapes.sd, "absdiff", 0));
}

TEST_CASE("predict --flags: columns, old files and classes") {
  const Workshop w;
  REQUIRE(w.run("train data/faithful.csv --target waiting --drop eruptions --experts 2 -q -o f.moe").code ==
          0);
  Ran ran = w.run("predict f.moe data/faithful.csv --flags");
  REQUIRE(ran.code == 0);
  const std::vector<std::string> lines = lines_of(ran.out);
  CHECK(lines[0] == "prediction,sd,multimodal,out_of_region");
  for (std::size_t i = 1; i < lines.size(); ++i) CHECK(lines[i].ends_with(",1,0"));  // the two modes of 1985

  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 3 --restarts 2 -q -o m.moe").code == 0);
  w.write("new.csv", "times\n20\n300\n-200\n30\n");
  ran = w.run("predict m.moe new.csv --flags --components");
  REQUIRE(ran.code == 0);
  std::string outside;
  for (const std::string& line : lines_of(ran.out)) outside += cells_of(line).back() + " ";
  CHECK(outside == "out_of_region 0 1 1 0 ");
  CHECK(first_line(ran.out) == "prediction,sd,mean_1,mean_2,mean_3,multimodal,out_of_region");

  REQUIRE(
      w.run("train data/iris.csv --target target --experts 2 --restarts 2 --max-iterations 30 -q -o i.moe")
          .code == 0);
  ran = w.run("predict i.moe data/iris.csv --flags");
  REQUIRE(ran.code == 0);
  CHECK(cells_of(first_line(ran.out)).back() == "out_of_region");
  CHECK(!has(first_line(ran.out), "multimodal"));

  Model old = load_model(w.file("m.moe"));
  old.members[0].shapes = {};
  save_model(old, w.file("old.moe"));
  CHECK(w.run("predict old.moe new.csv").code == 0);
  ran = w.run("predict old.moe new.csv --flags");
  CHECK(ran.code == 64);
  CHECK(one_error_line(ran));
  CHECK(has(ran.err, "train the model again"));
}
