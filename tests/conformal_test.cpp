// Calibrated intervals: the guarantee of split conformal prediction, and what the model keeps of it.
#include "conformal.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"
#include "helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/model_io.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

MemorySource source_of(BlockData rows) {
  MemorySource source;
  source.push(std::move(rows));
  return source;
}

Model narrowed(Model model, double factor) {
  for (Mixture& m : model.members)
    for (uword k = 0; k < m.count(); ++k) set_noise(*m.experts, k, factor * m.experts->noise(k));
  return model;
}

/// The order statistic of rank ceil((n + 1) level), or the largest.
double order_statistic(std::vector<double> scores, double level) {
  std::sort(scores.begin(), scores.end());
  const double n = static_cast<double>(scores.size());
  const double rank = std::min(n, std::ceil((n + 1) * level - 1e-9));
  return scores[static_cast<std::size_t>(rank) - 1];
}

std::vector<double> random_scores(std::size_t n) {
  Rng rng(3, 4);
  std::vector<double> out(n);
  for (double& s : out) s = rng.uniform();
  return out;
}

double poisson_cumulative(int y, double mean) {
  double sum = 0, term = std::exp(-mean);
  for (int j = 0; j <= y; ++j) {
    sum += term;
    term *= mean / (j + 1);
  }
  return sum;
}

Prediction poisson_prediction(int y, double mean) {
  Prediction p;
  p.discrete = true;
  p.mean = vec{mean};
  p.sd = vec{std::sqrt(mean)};
  p.cumulative = vec{poisson_cumulative(y, mean)};
  p.log_density = vec{y * std::log(mean) - mean - std::lgamma(y + 1.0)};
  return p;
}

int poisson_quantile(double level, double mean) {
  int y = 0;
  while (poisson_cumulative(y, mean) < level) ++y;
  return y;
}

}  // namespace

TEST_CASE("threshold: the order statistic of rank ceil((n + 1) level)") {
  for (const std::size_t n : {1, 4, 9, 10, 19, 99, 1000}) {
    const std::vector<double> scores = random_scores(n);
    const Conformal c = conformal_of(scores, std::vector<double>(n, 0.3));
    CHECK(c.rows == n);
    CHECK(c.scores.size() == n);
    for (const double level : {0.01, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.999})
      CHECK(c.threshold(level) == order_statistic(scores, level));
    CHECK(c.highest_level() == doctest::Approx(static_cast<double>(n) / static_cast<double>(n + 1)));
    CHECK(c.enough(static_cast<double>(n) / static_cast<double>(n + 1)));
    CHECK(!c.enough(static_cast<double>(n) / static_cast<double>(n + 1) + 1e-6));
  }
  CHECK_THROWS_AS((void)conformal_of({}, {}), Error);
}

TEST_CASE("thinning to 10,000 scores moves a threshold up only, by n / 10,000 ranks at most") {
  const std::size_t n = 25'001;
  std::vector<double> scores = random_scores(n);
  const Conformal c = conformal_of(scores, std::vector<double>(n, 1.0));
  CHECK(c.scores.size() == 10'000);
  std::sort(scores.begin(), scores.end());
  for (double level = 0.0005; level < 1; level += 0.0005) {
    const auto rank = static_cast<std::size_t>(std::ceil(level * static_cast<double>(n + 1) - 1e-9));
    if (rank > n) continue;
    CHECK(c.threshold(level) >= scores[rank - 1]);
    CHECK(c.threshold(level) <= scores[std::min(n, rank + 3) - 1]);
  }
  CHECK(c.threshold(1 - 1e-9) == scores.back());
}

TEST_CASE("weights: the least score that level x (all weight + the heaviest row) reaches") {
  const std::size_t n = 200;
  const std::vector<double> scores = random_scores(n);
  std::vector<double> weights(n);
  Rng rng(9, 9);
  double total = 0, most = 0;
  for (double& w : weights) {
    w = std::pow(rng.uniform(), 2) * 7;
    total += w, most = std::max(most, w);
  }
  const Conformal c = conformal_of(scores, weights);
  const auto naive = [&](double level) {
    std::vector<std::size_t> order(n);
    for (std::size_t i = 0; i < n; ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] < scores[b]; });
    double sum = 0;
    for (const std::size_t i : order)
      if ((sum += weights[i]) >= level * (total + most)) return scores[i];
    return scores[order.back()];
  };
  for (double level = 0.02; level < 0.95; level += 0.01) {
    CHECK(c.threshold(level) >= naive(level));
    CHECK(c.threshold(level) <= naive(level + 1.0 / static_cast<double>(n)));
  }
  // A unit of weight of another size changes nothing.
  for (double& w : weights) w *= 1e-200;
  CHECK(conformal_of(scores, weights).scores == c.scores);
}

TEST_CASE("coverage over many splits is exact, however wrong the model is") {
  // With 39 calibration rows the rank of 0.9 is 36 of 40: mean coverage 0.9 exactly; that of a split has
  // a beta distribution of variance 0.9 x 0.1 / 41, and is measured on 100 rows.
  constexpr int kSplits = 400, kCalibration = 39, kNew = 100;
  const double error = std::sqrt(0.09 * (1.0 / 41 + 1.0 / kNew) / kSplits);
  const Model decent = narrowed(test_regression(2, 3, 1), 4), wrong = test_regression(2, 3, 1),
              ensemble = test_regression(2, 2, 3), hopeless = narrowed(wrong, 1e-4),
              vague = narrowed(wrong, 1e3);
  for (Model model : {decent, wrong, ensemble, hopeless, vague}) {
    double covered = 0, evaluated = 0;
    for (int split = 0; split < kSplits; ++split) {
      const auto seed = static_cast<std::uint64_t>(split + 1);
      model.conformal = calibrate(model, source_of(test_rows(model, kCalibration, seed)));
      const BlockData fresh = test_rows(model, kNew, 1000 + seed);
      const mat range = intervals(model, fresh.view(), 0.9);
      double inside = 0;
      for (uword i = 0; i < kNew; ++i)
        inside += range(i, 0) <= fresh.target[i] && fresh.target[i] <= range(i, 1);
      covered += inside / kNew;
      const Metrics m = evaluate(model, source_of(fresh));
      evaluated += m.coverage_90;
      CHECK(m.coverage_90 == doctest::Approx(inside / kNew).epsilon(1e-9));
      CHECK(range.is_finite());
    }
    CHECK(std::abs(covered / kSplits - 0.9) < 4 * error);
    CHECK(std::abs(evaluated / kSplits - 0.9) < 4 * error);
  }
}

TEST_CASE("without calibration intervals and coverage are the mixture's own") {
  const Model model = test_regression(2, 3, 2);
  const BlockData rows = test_rows(model, 60);
  const mat range = intervals(model, rows.view(), 0.8), q = quantiles(model, rows.view(), vec{0.1, 0.9});
  CHECK(arma::approx_equal(range, q, "absdiff", 1e-12));
  CHECK(!model.conformal.known());
}

TEST_CASE("too few rows: the widest score, finite") {
  Model model = test_regression();
  const BlockData few = test_rows(model, 4);
  model.conformal = calibrate(model, source_of(few));
  CHECK(!model.conformal.enough(0.9));
  CHECK(model.conformal.enough(0.8));
  CHECK(model.conformal.threshold(0.99) == model.conformal.scores.back());
  const mat range = intervals(model, few.view(), 0.99);
  CHECK(range.is_finite());
  for (uword i = 0; i < 4; ++i) {
    CHECK(range(i, 0) <= few.target[i] + 1e-9);
    CHECK(range(i, 1) >= few.target[i] - 1e-9);
  }
}

TEST_CASE("rows without target or weight do not calibrate; none at all, and classes, are refused") {
  const Model model = test_regression();
  BlockData rows = test_rows(model, 10);
  rows.weight.assign(10, 1.0);
  rows.target[1] = std::numeric_limits<double>::quiet_NaN();
  rows.weight[2] = 0;
  CHECK(calibrate(model, source_of(rows)).rows == 8);
  rows.target.assign(10, std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_AS((void)calibrate(model, source_of(rows)), Error);
  const Model classes = test_classification();
  const BlockData labelled = test_rows(classes, 5);
  CHECK_THROWS_AS((void)calibrate(classes, source_of(labelled)), Error);
  CHECK_THROWS_AS((void)intervals(classes, labelled.view(), 0.5), Error);
  for (const double level : {0.0, 1.0, -1.0, std::nan("")})
    CHECK_THROWS_AS((void)intervals(model, rows.view(), level), Error);
}

TEST_CASE("a score is monotone all the way out, where F is lost in rounding") {
  const Model model = narrowed(test_regression(1, 1), 0.01);
  BlockData rows = test_rows(model, 300);
  const Prediction middle = predict(model, rows.view());
  for (uword i = 0; i < 300; ++i)
    rows.target[i] = middle.mean[i] + 0.1 * static_cast<double>(i) * middle.sd[i];
  const Prediction p = predict(model, rows.view());
  double last = -1;
  for (uword i = 0; i < 300; ++i) {
    const double score = conformal_score(p, i, rows.target[i]), z = 0.1 * static_cast<double>(i);
    CHECK(score > last);
    last = score;
    if (z < 7)
      CHECK(score == doctest::Approx(std::erf(z / std::sqrt(2))).epsilon(1e-9));
    else if (z > 7.1)
      CHECK(score == doctest::Approx(1 + z).epsilon(1e-9));
  }
}

TEST_CASE("the row that sets a level is inside its interval as predict writes it") {
  const fit_testing::Columns c = fit_testing::piecewise(200, 2, 2, 5);
  for (const char* family : {"gaussian", "student-t", "gamma"}) {
    fit_testing::Columns own = c;
    if (family == std::string("gamma")) own.y = arma::exp(0.3 * own.y);
    const fit_testing::Rows rows = fit_testing::to_rows(own);
    FitOptions o;
    o.experts = 2;
    o.restarts = 1;
    o.family = family;
    Model model = fit(rows.schema, rows.source, o);
    BlockData buffer;
    const Block block = rows.source.read(0, buffer);
    const Prediction p = predict(model, block);
    int outside = 0;
    for (uword i = 0; i < block.rows; ++i) {
      const double score = conformal_score(p, i, block.target[i]);
      model.conformal = conformal_of({score}, {1});
      const mat ends = intervals(model, block, 0.5);
      outside += !(ends(i, 0) <= block.target[i] && block.target[i] <= ends(i, 1));
      CHECK((family != std::string("gamma") || ends.min() > 0));
    }
    CAPTURE(family);
    CHECK(outside == 0);
  }
}

TEST_CASE("counts: a value is inside the interval of a score exactly when its own is at most that") {
  for (const double mean : {0.05, 0.7, 3.0, 12.5, 40.0})
    for (int limit = 0; limit < 60; ++limit) {
      const double at = conformal_score(poisson_prediction(limit, mean), 0, limit);
      if (!(at < 1)) continue;
      const TwoLevels levels = levels_of_score(at, true);
      if (!(levels.lower > 0 && levels.upper < 1)) continue;
      const int lower = poisson_quantile(levels.lower, mean), upper = poisson_quantile(levels.upper, mean);
      for (int y = 0; y < 60; ++y) {
        const double score = conformal_score(poisson_prediction(y, mean), 0, y);
        if (std::abs(score - at) < 1e-12) {
          CHECK((lower <= y && y <= upper));
        } else if (score < at) {
          CHECK((lower <= y && y <= upper));
        } else if (score > at + 1e-12) {
          CHECK(!(lower <= y && y <= upper));
        }
      }
    }
}

TEST_CASE("counts: at least the level is covered, over many splits") {
  Rng rng(5, 6);
  constexpr double kTrue = 2.5, kBelieved = 6;  // the model is wrong
  const auto draw = [&] {
    int y = 0;
    for (double u = rng.uniform(); poisson_cumulative(y, kTrue) < u;) ++y;
    return y;
  };
  double covered = 0;
  constexpr int kSplits = 1000, kNew = 50;
  for (int split = 0; split < kSplits; ++split) {
    std::vector<double> scores;
    for (int i = 0; i < 39; ++i) {
      const int y = draw();
      scores.push_back(conformal_score(poisson_prediction(y, kBelieved), 0, y));
    }
    const double threshold = conformal_of(scores, std::vector<double>(39, 1.0)).threshold(0.9);
    for (int i = 0; i < kNew; ++i) {
      const int y = draw();
      covered += conformal_score(poisson_prediction(y, kBelieved), 0, y) <= threshold;
    }
  }
  CHECK(covered / (kSplits * kNew) >= 0.9 - 4 * std::sqrt(0.09 * (1.0 / 41 + 1.0 / kNew) / kSplits));
}

TEST_CASE("threads do not change a bit; a calibrated model survives its file; damage is named") {
  Model model = test_regression(2, 3, 2);
  MemorySource source;
  for (std::uint64_t b = 0; b < 4; ++b) source.push(test_rows(model, b < 3 ? kBlockRows : 700, b + 1, true));
  const Conformal one = calibrate(model, source, {1});
  CHECK(one == calibrate(model, source, {3}));
  CHECK(model_text(model).find("conformal") == std::string::npos);
  model.conformal = one;
  const std::string text = model_text(model);
  const Model back = parse_model(text, "m");
  CHECK(back.conformal == one);
  CHECK(model_text(back) == text);
  const BlockData rows = test_rows(model, 20);
  CHECK(arma::approx_equal(intervals(model, rows.view(), 0.9), intervals(back, rows.view(), 0.9), "absdiff",
                           0));
}

TEST_CASE("train --conformal: the report, inspect and predict know it") {
  const Workshop w;
  const std::string train = "train data/boston.csv --target medv --experts 2 --restarts 2 --conformal 0.3 ";
  Ran ran = w.run(train + "--report r.json -o m.moe");
  REQUIRE(ran.code == 0);
  CHECK(has(ran.err, "calibrated on 152 rows"));
  const nlohmann::json report = json_of(w.read("r.json"));
  CHECK(report["conformal"]["rows"] == 152);
  CHECK(report["rows"] == 506 - 152);
  CHECK(report["options"]["conformal"] == "0.3");
  CHECK(report["conformal"]["highest_level"].get<double>() == doctest::Approx(152.0 / 153));
  CHECK(has(w.run("inspect m.moe").out, "calibrated on 152 rows"));
  CHECK(json_of(w.run("inspect m.moe --json").out)["conformal"] == report["conformal"]);
  // On the very rows of the calibration and the fit, about nine of ten lie inside.
  const double coverage =
      json_of(w.run("evaluate m.moe data/boston.csv --json").out)["coverage_90"].get<double>();
  CHECK(coverage > 0.85);
  ran = w.run("predict m.moe data/boston.csv --interval 0.9 --quantiles 0.05,0.95");
  REQUIRE(ran.code == 0);
  CHECK(first_line(ran.out) == "prediction,sd,lower,upper,q0.05,q0.95");
  CHECK(!has(ran.err, "calibration"));
  ran = w.run("predict m.moe data/boston.csv --interval 0.999 -o p.csv");
  CHECK(ran.code == 0);
  CHECK(has(ran.err, "99.9 % need more calibration rows than the 152"));
  // Without: null, and no word of it.
  REQUIRE(w.run("train data/boston.csv --target medv --experts 1 --report n.json -q -o n.moe").code == 0);
  CHECK(json_of(w.read("n.json"))["conformal"].is_null());
  CHECK(!has(w.run("inspect n.moe").out, "calibrated"));
}

TEST_CASE("train --conformal: beside --validation, with weights, and the same for every number of threads") {
  const Workshop w;
  std::string text = "x,y,w\n";
  Rng rng(1, 1);
  for (int i = 0; i < 300; ++i)
    text += std::to_string(rng.normal()) + "," + std::to_string(rng.normal()) + "," +
            std::to_string(1 + static_cast<int>(rng.below(4))) + "\n";
  w.write("d.csv", text);
  const std::string train =
      "train d.csv --target y --weights w --experts 2 --restarts 2 --validation 0.2 --conformal 0.25 ";
  REQUIRE(w.run(train + "--threads 1 --report r.json -o a.moe").code == 0);
  REQUIRE(w.run(train + "--threads 3 -q -o b.moe").code == 0);
  CHECK(w.read("a.moe") == w.read("b.moe"));
  const nlohmann::json report = json_of(w.read("r.json"));
  CHECK(report["held_out"]["n"] == 60);
  CHECK(report["conformal"]["rows"] == 60);
  CHECK(report["rows"] == 180);
}

TEST_CASE("train --conformal: what is refused") {
  const Workshop w;
  Ran ran = w.run("train data/iris.csv --target target --conformal 0.2 -q -o m.moe");
  CHECK(ran.code == 64);
  CHECK(one_error_line(ran));
  CHECK(has(ran.err, "is a class"));
  for (const char* share : {"0", "1", "-0.5", "1.5", "x", "0.0001"}) {
    ran = w.run(std::string("train data/mcycle.csv --target accel -q -o m.moe --conformal ") + share);
    CHECK(ran.code == 64);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, "--conformal"));
  }
  CHECK(!w.exists("m.moe"));
}
