// Several targets: joint densities, their marginals, and everything the command line does with them.
#include "moekit/targets.hpp"

#include <cmath>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/model_io.hpp"
#include "moekit/standard_errors.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using namespace moekit::testing;

namespace {

/// Two regions by the sign of the first input, in each two or three correlated targets y, y2, ...
Rows joint_rows(uword n, uword targets, std::uint64_t seed = 1) {
  Rng rng(seed, 0x7a6765);
  Columns c;
  c.x = normal_matrix(n, 2, Rng(seed, 0x696e));
  c.y.zeros(n);
  Rows rows = to_rows(c);
  for (uword j = 1; j < targets; ++j) {
    Target t = rows.schema.target;
    t.name = "y" + std::to_string(j + 1);
    rows.schema.further_targets.push_back(t);
  }
  MemorySource source;
  for (std::size_t b = 0; b < rows.source.blocks(); ++b) {
    BlockData block = rows.source.data(b);
    block.target.assign(block.rows * targets, 0);
    for (uword i = 0; i < block.rows; ++i) {
      const double x = block.numeric[i], z = block.numeric[block.rows + i], side = x > 0 ? 1 : -1;
      double before = 0;
      for (uword j = 0; j < targets; ++j) {
        const double noise = (0.3 + 0.1 * static_cast<double>(j)) * rng.normal() + 0.4 * side * before;
        block.target[j * block.rows + i] = 10 * static_cast<double>(j) + side * (1 + x) + 0.5 * z + noise;
        before = noise;
      }
    }
    source.push(std::move(block));
  }
  rows.source = std::move(source);
  measure(rows.schema, rows.source);
  return rows;
}

/// All rows of a target.
vec target_of(const Rows& rows, uword j) {
  std::vector<double> y;
  for (std::size_t b = 0; b < rows.source.blocks(); ++b) {
    const Block block = rows.source.data(b).view();
    y.insert(y.end(), block.target_column(j), block.target_column(j) + block.rows);
  }
  return vec(y);
}

FitOptions exact(uword experts) {
  FitOptions o;
  o.experts = experts;
  o.restarts = 4;
  o.ridge_mode = Penalty::Mode::fixed;
  return o;
}

Rows single(const Rows& rows, uword j) {
  Rows one{rows.schema, {}};
  one.schema.target = rows.schema.target_at(j);
  one.schema.further_targets.clear();
  for (std::size_t b = 0; b < rows.source.blocks(); ++b) {
    BlockData block = rows.source.data(b);
    const Block view = block.view();
    block.target = std::vector<double>(view.target_column(j), view.target_column(j) + view.rows);
    one.source.push(std::move(block));
  }
  return one;
}

}  // namespace

TEST_CASE("one expert with full covariance is multivariate least squares") {
  const Rows rows = joint_rows(400, 3);
  Model model = fit(rows.schema, rows.source, exact(1));
  CHECK(model.full_covariance);
  mat x(400, 3, arma::fill::ones), y(400, 3);
  const Block block = rows.source.data(0).view();
  for (uword j = 0; j < 2; ++j) x.col(j + 1) = vec(block.numeric_column(j), 400);
  for (uword j = 0; j < 3; ++j) y.col(j) = target_of(rows, j);
  const mat w = arma::solve(x, y), left = y - x * w, s = left.t() * left / 400;
  const double expected = -200 * (3 * std::log(2 * M_PI) + std::log(arma::det(s)) + 3);
  CHECK(model.provenance.log_likelihood == doctest::Approx(expected).epsilon(1e-10));
  CHECK(log_likelihood(model, rows.source) == doctest::Approx(expected).epsilon(1e-10));

  ErrorChoice choice = parse_error_choice("information");
  model.standard_errors = standard_errors(model, rows.source, choice, exact(1), {}).errors;
  const mat inverse = arma::inv_sympd(x.t() * x);
  uword slopes = 0, correlations = 0;
  for (const Coefficient& c : coefficients(model)) {
    const uword target = c.output == "y" ? 0 : c.output == "y2" ? 1 : 2;
    if (c.part == "expert") {
      const uword term = c.term == "intercept" ? 0 : c.term == "x1" ? 1 : 2;
      CHECK(c.estimate == doctest::Approx(w(term, target)).epsilon(1e-9));
      CHECK(c.standard_error ==
            doctest::Approx(std::sqrt(inverse(term, term) * s(target, target))).epsilon(1e-5));
      ++slopes;
    } else if (c.part == "correlation") {
      const uword other = c.term == "y2" ? 1 : 2;
      const double r = s(target, other) / std::sqrt(s(target, target) * s(other, other));
      CHECK(c.estimate == doctest::Approx(r).epsilon(1e-9));
      CHECK(c.standard_error == doctest::Approx((1 - r * r) / 20).epsilon(1e-3));  // 20 = sqrt(400)
      ++correlations;
    }
  }
  CHECK(slopes == 9);
  CHECK(correlations == 3);
}

TEST_CASE("independent targets of one expert are as many single fits") {
  const Rows rows = joint_rows(300, 2);
  for (const char* family : {"gaussian", "student-t", "laplace"}) {
    FitOptions options = exact(1);
    options.family = family;
    options.full_covariance = false;
    double sum = 0;
    for (uword j = 0; j < 2; ++j) {
      const Rows one = single(rows, j);
      FitOptions alone = options;
      alone.full_covariance.reset();
      sum += fit(one.schema, one.source, alone).provenance.log_likelihood;
    }
    CAPTURE(family);
    CHECK(fit(rows.schema, rows.source, options).provenance.log_likelihood ==
          doctest::Approx(sum).epsilon(1e-6));
  }
}

TEST_CASE("EM climbs, more experts and a covariance help, and the order of targets does not matter") {
  Rows rows = joint_rows(600, 2);
  FitOptions options = exact(2);
  const Model full = fit(rows.schema, rows.source, options);
  for (std::size_t i = 1; i < full.provenance.trace.size(); ++i)
    CHECK(full.provenance.trace[i] >=
          full.provenance.trace[i - 1] - 1e-9 * std::abs(full.provenance.trace[i]));
  CHECK(full.provenance.log_likelihood > full.provenance.single_log_likelihood + 100);
  options.full_covariance = false;
  CHECK(full.provenance.log_likelihood >
        fit(rows.schema, rows.source, options).provenance.log_likelihood + 20);
  // The regions differ in the sign of the correlation of the noise.
  const mat a = full.members[0].experts->correlation(0), b = full.members[0].experts->correlation(1);
  CHECK(a(0, 1) * b(0, 1) < 0);

  Rows turned{rows.schema, {}};
  std::swap(turned.schema.target, turned.schema.further_targets[0]);
  BlockData block = rows.source.data(0);
  std::rotate(block.target.begin(), block.target.begin() + 600, block.target.end());
  turned.source.push(std::move(block));
  options.full_covariance = true;
  CHECK(fit(turned.schema, turned.source, options).provenance.log_likelihood ==
        doctest::Approx(full.provenance.log_likelihood).epsilon(1e-7));
}

TEST_CASE("the prior of joint experts has the slope it says, and EM ends where the whole slope is zero") {
  const Rows rows = joint_rows(150, 3);
  for (const Penalty::Mode mode : {Penalty::Mode::fixed, Penalty::Mode::evidence}) {
    Penalty penalty;
    penalty.mode = mode;
    penalty.ridge = mode == Penalty::Mode::fixed ? 20 : 0;
    Mixture m;
    m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, true);
    m.gate = Value<GateFamily>(make_gate("softmax", {2, m.gate_basis.groups()}));
    ExpertShape shape{2, m.expert_basis.groups()};
    shape.targets = 3;
    shape.full_covariance = true;
    m.experts = Value<ExpertFamily>(make_experts("gaussian", shape));
    BlockData buffer;
    Batch batch;
    m.prepare(rows.schema, rows.source.read(0, buffer), batch);
    mat r = normal_matrix(150, 2, Rng(5, 5));
    r = 1 / (1 + arma::exp(r));
    // Given the responsibilities the updates climb the penalised likelihood to its top.
    for (int i = 0; i < 400; ++i) {
      std::vector<double> sums(m.experts->sums(), 0.0);
      m.experts->add(batch, r, sums);
      penalty.refresh = i < 40;
      m.experts->update(sums, penalty);
    }
    std::vector<double*> at;
    for (uword k = 0; k < 2; ++k)
      for (const Field& f : m.experts->fields(k))
        for (double& v : f.values)
          if (f.kind == Field::Kind::free) at.push_back(&v);
    std::size_t moving = 0;
    for (const Field& f : m.experts->fields(0)) moving += f.kind == Field::Kind::fixed ? 0 : f.values.size();
    std::vector<double> prior(2 * moving, 0.0), whole(2 * moving, 0.0);
    m.experts->add_prior_gradient(prior);
    m.experts->add_gradient(batch, r, whole);
    double largest = 1, worst = 0, left = 0;
    std::size_t place = 0, free = 0;
    for (uword k = 0; k < 2; ++k)
      for (const Field& f : m.experts->fields(k)) {
        for (std::size_t j = 0; f.kind != Field::Kind::fixed && j < f.values.size(); ++j, ++place) {
          if (f.kind != Field::Kind::free) continue;
          double& v = *at[free++];
          const double before = v, h = 1e-5;
          v = before + h;
          const double up = m.experts->log_prior();
          v = before - h;
          const double down = m.experts->log_prior();
          v = before;
          worst = std::max(worst, std::abs((up - down) / (2 * h) - prior[place]));
          largest = std::max(largest, std::abs(prior[place]));
          left = std::max(left, std::abs(prior[place] + whole[place]));
        }
      }
    CHECK(free == 2 * (3 + 4 + 5));
    CHECK(largest > 1.5);
    CHECK(worst < 1e-7 * largest);
    CHECK(left < 1e-5 * largest);
  }
}

TEST_CASE("no correlation is found where an earlier target only knows the inputs") {
  // Both targets jump and slope with x; their noises have nothing to do with each other.
  double sum = 0;
  for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
    Rows rows = joint_rows(400, 2, seed);
    BlockData block = rows.source.data(0);
    Rng rng(seed, 77);
    for (uword i = 0; i < 400; ++i) {
      const double x = block.numeric[i], mean = (x > 0 ? 3 : -3) + x;
      block.target[i] = mean + 0.5 * rng.normal();
      block.target[400 + i] = 0.5 * mean + block.numeric[400 + i] + rng.normal();
    }
    rows.source = MemorySource();
    rows.source.push(std::move(block));
    measure(rows.schema, rows.source);
    FitOptions o;
    o.experts = 2;
    o.restarts = 2;
    const Model model = fit(rows.schema, rows.source, o);
    for (uword k = 0; k < 2; ++k) sum += model.members[0].experts->correlation(k)(0, 1) / 16;
  }
  CHECK(std::abs(sum) < 0.05);  // its standard error is 0.0125; 0.09 with priors on the chain's slopes
}

TEST_CASE("a marginal is the joint density summed over the other target") {
  const Rows rows = joint_rows(500, 2);
  for (const bool covariance : {true, false}) {
    FitOptions options;
    options.experts = 3;
    options.restarts = 2;
    options.full_covariance = covariance;
    const Model model = fit(rows.schema, rows.source, options);
    for (uword j = 0; j < 2; ++j) {
      const Model one = marginal(model, j);
      const Target& other = model.schema.target_at(1 - j);
      BlockData row = rows.source.data(0);
      constexpr uword kSteps = 1000;
      const double low = other.min - 3 * other.sd, step = (other.max - other.min + 6 * other.sd) / kSteps;
      // The same row again and again, with the other target moving along.
      for (const uword i : {3u, 77u, 311u}) {
        BlockData many;
        many.rows = kSteps;
        for (const double* from : {&row.numeric[i], &row.numeric[row.rows + i]})
          many.numeric.insert(many.numeric.end(), kSteps, *from);
        many.target.assign(2 * kSteps, row.target[j * row.rows + i]);
        for (uword s = 0; s < kSteps; ++s)
          many.target[(1 - j) * kSteps + s] = low + (static_cast<double>(s) + 0.5) * step;
        const Prediction p = predict(model, many.view());
        const Prediction q = predict(one, target_block(many.view(), j));
        CHECK(step * arma::accu(arma::exp(p.log_density)) ==
              doctest::Approx(std::exp(q.log_density[0])).epsilon(1e-6));
        CHECK(p.targets[j].mean[0] == q.mean[0]);
      }
    }
  }
  CHECK_THROWS_AS((void)marginal(fit(rows.schema, rows.source, exact(1)), 2), Error);
}

TEST_CASE("joint models: files, threads, metrics of each target") {
  const Rows rows = joint_rows(2500, 2);
  FitOptions options;
  options.experts = 2;
  options.restarts = 2;
  options.expert_basis = parse_basis("additive");
  const Model model = fit(rows.schema, rows.source, options, {1});
  const std::string text = model_text(model);
  CHECK(model_text(fit(rows.schema, rows.source, options, {3})) == text);
  const Model back = parse_model(text, "m");
  CHECK(model_text(back) == text);
  const Metrics all = evaluate(back, rows.source);
  REQUIRE(all.targets.size() == 2);
  CHECK(all.rows == 2500);
  CHECK(all.nll == doctest::Approx(-log_likelihood(back, rows.source) / 2500).epsilon(1e-12));
  for (uword j = 0; j < 2; ++j) {
    const Metrics one = evaluate(marginal(back, j), single(rows, j).source);
    CHECK(all.targets[j].target == back.schema.target_at(j).name);
    CHECK(all.targets[j].nll == doctest::Approx(one.nll).epsilon(1e-12));
    CHECK(all.targets[j].rmse == doctest::Approx(one.rmse).epsilon(1e-12));
    CHECK(all.targets[j].crps == doctest::Approx(one.crps).epsilon(1e-12));
  }
}

TEST_CASE("several targets on the command line") {
  const Workshop w;
  const Ran fit =
      w.run("train data/boston.csv --target medv,lstat --experts 2 --restarts 2 -o j.moe --report r.json");
  CAPTURE(fit.err);
  REQUIRE(fit.code == 0);
  const Ran predicted =
      w.run("predict j.moe data/boston.csv --interval 0.9 --regions --components --flags --density");
  REQUIRE(predicted.code == 0);
  CHECK(lines_of(predicted.out)[0] ==
        "prediction_medv,sd_medv,lower_medv,upper_medv,prediction_lstat,sd_lstat,lower_lstat,upper_lstat,"
        "expert,"
        "gate_1,gate_2,mean_1_medv,mean_2_medv,mean_1_lstat,mean_2_lstat,multimodal_medv,multimodal_lstat,"
        "out_of_region,log_density");
  const nlohmann::json scores = json_of(w.run("evaluate j.moe data/boston.csv --json").out);
  double sum = 0;
  const std::vector<std::string> lines = lines_of(predicted.out);
  for (std::size_t i = 1; i < lines.size(); ++i) sum -= std::stod(cells_of(lines[i]).back());
  CHECK(scores["nll"].get<double>() == doctest::Approx(sum / 506).epsilon(1e-9));
  CHECK(scores["targets"]["medv"]["rmse"].get<double>() < 5);
  CHECK(scores["targets"]["lstat"]["coverage_90"].get<double>() > 0.8);
  CHECK_FALSE(scores.contains("rmse"));

  REQUIRE(w.run("diagnose j.moe data/boston.csv -o d").code == 0);
  CHECK(lines_of(w.read("d/experts.csv"))[0] ==
        "expert,share,effective_rows,rows_won,target_mean_medv,target_sd_medv,noise_medv,rmse_medv,"
        "target_mean_lstat,target_sd_lstat,noise_lstat,rmse_lstat");
  CHECK(w.read("d/coefficients.csv").find("correlation,1,medv,lstat,") != std::string::npos);
  const std::string inspected = w.run("inspect j.moe").out;
  CHECK(inspected.find("of 'medv' and 'lstat'") != std::string::npos);
  CHECK(inspected.find("expert 2: lstat = ") != std::string::npos);
  CHECK(inspected.find("correlation of medv with lstat") != std::string::npos);

  // A row without one of its targets is no training row, and has a prediction but no density.
  w.write("holes.csv", "x,a,b\n1,2,3\n2,,4\n3,4,5.5\n4,6,\n5,5,8\n6,7,9\n7,9,9.5\n");
  const Ran holes = w.run("train holes.csv --target a,b --experts 1 -o h.moe");
  CHECK(holes.code == 0);
  CHECK(holes.err.find("2 rows have no target") != std::string::npos);
  const std::vector<std::string> filled = lines_of(w.run("predict h.moe holes.csv --density").out);
  REQUIRE(filled.size() == 8);
  CHECK(filled[2].ends_with(","));
  CHECK_FALSE(filled[3].ends_with(","));
  w.write("blind.csv", "x\n1\n");
  CHECK(w.run("predict h.moe blind.csv").code == 0);
  CHECK(json_of(w.run("evaluate h.moe holes.csv --json").out)["n"] == 5);
  CHECK(w.run("cv holes.csv --target a,b --experts 1 --folds 2 --json").code == 0);
}

TEST_CASE("several targets: what cannot be is refused in one line") {
  const Workshop w;
  w.write("t.csv", "x,a,b,c\n1,2,3,u\n2,-1,4,v\n3,4,5.5,u\n4,6,1,v\n");
  const auto refused = [&](const std::string& options, int code, const std::string& what) {
    const Ran ran = w.run("train t.csv --experts 1 -q -o no.moe " + options);
    CAPTURE(options);
    CAPTURE(ran.err);
    CHECK(ran.code == code);
    CHECK(lines_of(ran.err).size() == 1);
    CHECK(ran.err.find(what) != std::string::npos);
    CHECK_FALSE(w.exists("no.moe"));
  };
  refused("--target a,a", 64, "twice");
  refused("--target a,nothing", 65, "nothing");
  refused("--target a,c", 65, "'c'");
  refused("--target a,b --task classification", 64, "one target");
  refused("--target a,b --conformal 0.5", 64, "--conformal");
  refused("--target a --drop b,c --covariance full", 64, "--covariance");
  refused("--target a,b --drop c --family laplace --covariance full", 64, "independent");
  refused("--target b,a --drop c --family gamma", 64, "'a'");
  refused("--target a,b --drop c --task count", 65, "count");
}
