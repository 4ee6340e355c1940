#include "moekit/standard_errors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "standard_errors/bootstrap.hpp"
#include "standard_errors/covariance.hpp"
#include "standard_errors/information.hpp"
#include "standard_errors/match_experts.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using testing::Ran;
using testing::Workshop;

namespace {

ErrorChoice choice(ErrorKind kind, int replicates = 200) { return {kind, false, replicates}; }

/// Fits and fills in the standard errors.
Model fitted(const Rows& rows, const FitOptions& o, const ErrorChoice& kind) {
  Model model = fit(rows.schema, rows.source, o);
  model.standard_errors = standard_errors(model, rows.source, kind, o).errors;
  return model;
}

double error_of(const Model& model, const std::string& part, uword expert, const std::string& term) {
  for (const Coefficient& c : coefficients(model))
    if (c.part == part && c.expert == expert && c.term == term) return c.standard_error;
  FAIL("no such coefficient");
  return 0;
}

/// Two clear regions along the first input, with a noise of 0.3 and 0.5.
Columns two_regions(uword n, std::uint64_t seed) {
  Columns c{normal_matrix(n, 2, Rng(seed, 1)), vec(n), {}, 0};
  Rng rng(seed, 2);
  for (uword i = 0; i < n; ++i) {
    const bool right = rng.uniform() < 1 / (1 + std::exp(-3 * c.x(i, 0)));
    c.y[i] = right ? 1 + 2 * c.x(i, 1) + 0.3 * rng.normal() : -1 - c.x(i, 1) + 0.5 * rng.normal();
  }
  return c;
}

/// Any family with parameters drawn at random: formulas that hold everywhere need no optimum.
Model random_model(const Rows& rows, const std::string& family, bool varying_noise, uword experts) {
  Model model;
  model.schema = rows.schema;
  model.family = family;
  model.gate_family = "softmax";
  Mixture m;
  m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, false);
  if (varying_noise) m.noise_basis = m.expert_basis;
  m.gate = Value<GateFamily>(make_gate("softmax", {experts, m.gate_basis.groups()}));
  m.experts = Value<ExpertFamily>(make_experts(
      family, {experts, m.expert_basis.groups(), m.noise_basis.groups(), rows.schema.target.labels.size()}));
  Rng rng(5, experts);
  for (const Field& f : m.fields())
    for (double& v : f.values) {
      if (f.kind == Field::Kind::free) v = 0.4 * rng.normal();
      if (f.kind == Field::Kind::positive) v = f.least + std::exp(0.3 * rng.normal());
    }
  model.members.push_back(std::move(m));
  return model;
}

/// Rows that suit a family's targets.
Rows rows_for(const std::string& family, bool weights) {
  const FamilyTraits traits = family_traits(family);
  Columns c{normal_matrix(80, 2, Rng(7, 1)), vec(80), {}, 0};
  Rng rng(7, 2);
  for (double& y : c.y) {
    y = rng.normal();
    if (traits.task == Task::classification) y = static_cast<double>(rng.below(3));
    if (traits.task == Task::count) y = static_cast<double>(rng.below(6));
    if (traits.task == Task::regression && traits.log_link) y = std::exp(y);
  }
  if (traits.task == Task::classification) c.classes = 3;
  if (weights) {
    c.weight.set_size(80);
    for (double& w : c.weight) w = 0.5 + rng.uniform();
  }
  Rows rows = to_rows(c);
  if (traits.task == Task::count) rows.schema.target.task = Task::count;
  if (traits.log_link) rows.schema.target.mean = 0;
  return rows;
}

/// Minus the second differences of `f` at the moving parameters.
template <class Function>
mat numeric_curvature(const Mixture& mixture, const errors::Moving& moving, const Function& f) {
  constexpr double kStep = 3e-4;
  mat out(moving.size(), moving.size());
  Mixture work = mixture;
  for (uword a = 0; a < moving.size(); ++a)
    for (uword b = 0; b <= a; ++b) {
      double sum = 0;
      for (const double i : {1.0, -1.0})
        for (const double j : {1.0, -1.0}) {
          vec at = moving.values();
          at[a] += i * kStep;
          at[b] += j * kStep;
          errors::Moving::set(work, at);
          sum -= i * j * f(work);
        }
      out(a, b) = out(b, a) = sum / (4 * kStep * kStep);
    }
  return out;
}

std::span<double> values_of(Mixture& m, uword k, std::string_view name) {
  for (const Field& f : m.experts->fields(k))
    if (f.name == name) return f.values;
  FAIL("no such field");
  return {};
}

void check_close(const mat& a, const mat& b, double tolerance) {
  REQUIRE(arma::size(a) == arma::size(b));
  CHECK(arma::abs(a - b).max() <= tolerance * (1 + arma::abs(b).max()));
}

}  // namespace

TEST_CASE("the information is the second derivative of the log-likelihood, for every family") {
  for (const std::string& family : expert_families()) {
    if (family_traits(family).kink) continue;
    for (const bool varying : {false, true}) {
      if (varying && !family_traits(family).noise) continue;
      for (const bool weights : {false, true}) {
        CAPTURE(family);
        CAPTURE(varying);
        CAPTURE(weights);
        const Rows rows = rows_for(family, weights);
        Model model = random_model(rows, family, varying, 3);
        const Mixture mixture = model.members.front();
        const errors::Moving moving(mixture);
        const errors::Information found =
            errors::information(mixture, moving, model.schema, rows.source, false, {});
        const mat wanted = numeric_curvature(mixture, moving, [&](const Mixture& m) {
          model.members.front() = m;
          return log_likelihood(model, rows.source);
        });
        check_close(found.observed, wanted, 2e-5);
        // The score likewise, and one matrix of squares without weights equals the sum over rows.
        vec slope(moving.size());
        for (uword j = 0; j < moving.size(); ++j) {
          double side[2];
          for (const int s : {0, 1}) {
            vec at = moving.values();
            at[j] += s ? 1e-5 : -1e-5;
            errors::Moving::set(model.members.front(), at);
            side[s] = log_likelihood(model, rows.source);
          }
          slope[j] = (side[1] - side[0]) / 2e-5;
        }
        check_close(found.score, slope, 1e-5);
      }
    }
  }
}

TEST_CASE("experts with a kink take the squares of their scores for their own curvature") {
  const Rows rows = rows_for("laplace", false);
  const Model model = random_model(rows, "laplace", false, 1);
  const errors::Moving moving(model.members.front());
  const errors::Information found =
      errors::information(model.members.front(), moving, model.schema, rows.source, true, {});
  check_close(found.observed, found.squares, 1e-12);
}

TEST_CASE("one Gaussian expert: ordinary least squares, and the sandwich of White") {
  const Columns c = piecewise(300, 2, 1, 3);
  const Rows rows = to_rows(c);
  const Model model = fitted(rows, options(1, 0), choice(ErrorKind::information));
  const mat x = arma::join_rows(mat(300, 1, arma::fill::ones), c.x);
  const mat inverse = arma::inv(x.t() * x);
  const vec left = c.y - x * (inverse * x.t() * c.y);
  const double variance = arma::mean(arma::square(left));
  const std::vector<std::string> terms = {"intercept", "x1", "x2"};
  CHECK(model.standard_errors.kind == ErrorKind::information);
  CHECK(!model.standard_errors.penalised);
  for (uword j = 0; j < 3; ++j)
    CHECK(error_of(model, "expert", 0, terms[j]) ==
          doctest::Approx(std::sqrt(variance * inverse(j, j))).epsilon(1e-5));
  CHECK(error_of(model, "noise", 0, "intercept") == doctest::Approx(1 / std::sqrt(600.0)).epsilon(1e-5));

  const Model robust = fitted(rows, options(1, 0), choice(ErrorKind::sandwich));
  const mat meat = x.t() * arma::diagmat(arma::square(left)) * x;
  // Up to the link between coefficients and noise through the third moment, which vanishes in the bread.
  const mat white = inverse * meat * inverse;
  for (uword j = 0; j < 3; ++j)
    CHECK(error_of(robust, "expert", 0, terms[j]) == doctest::Approx(std::sqrt(white(j, j))).epsilon(1e-5));
  for (const Coefficient& k : coefficients(model)) {
    if (k.part == "noise") {
      CHECK(std::isnan(k.z()));
      CHECK(std::isnan(k.p()));
    } else {
      CHECK(k.z() == k.estimate / k.standard_error);
      CHECK(k.p() == std::erfc(std::abs(k.z()) / std::sqrt(2.0)));
    }
  }
}

TEST_CASE("one logistic expert: the information of logistic regression") {
  const Columns c = piecewise(400, 2, 1, 4, 2);
  const Model model = fitted(to_rows(c), options(1, 0), choice(ErrorKind::information));
  const mat x = arma::join_rows(mat(400, 1, arma::fill::ones), c.x);
  vec w(3);
  for (const Coefficient& k : coefficients(model))
    if (k.part == "expert") w[k.term == "intercept" ? 0 : (k.term == "x1" ? 1 : 2)] = k.estimate;
  const vec p = 1 / (1 + arma::exp(-x * w));
  const mat inverse = arma::inv(x.t() * arma::diagmat(p % (1 - p)) * x);
  CHECK(error_of(model, "expert", 0, "intercept") == doctest::Approx(std::sqrt(inverse(0, 0))).epsilon(1e-5));
  CHECK(error_of(model, "expert", 0, "x1") == doctest::Approx(std::sqrt(inverse(1, 1))).epsilon(1e-5));
  CHECK(error_of(model, "expert", 0, "x2") == doctest::Approx(std::sqrt(inverse(2, 2))).epsilon(1e-5));
}

TEST_CASE("with penalties the curvature of the log prior is added") {
  const Rows rows = to_rows(two_regions(300, 5));
  for (const double ridge : {-1.0, 5.0}) {
    CAPTURE(ridge);
    const Model model = fit(rows.schema, rows.source, options(2, ridge));
    const Mixture& mixture = model.members.front();
    const errors::Moving moving(mixture);
    std::vector<bool> held = moving.at_bound();
    const mat prior = errors::prior_curvature(mixture, moving, held);
    CHECK(std::count(held.begin(), held.end(), true) == 0);
    // The vector that slopes are drawn to has the prior N(0, 1); at its mode for any slopes it is integrated
    // out.
    const mat wanted = numeric_curvature(mixture, moving, [&](Mixture m) {
      double own = 0;
      if (ridge < 0) {
        const double a[] = {values_of(m, 0, "precision")[0], values_of(m, 1, "precision")[0]};
        const auto common = values_of(m, 0, "common");
        for (std::size_t j = 1; j < common.size(); ++j) {
          common[j] =
              (a[0] * values_of(m, 0, "coefficients")[j] + a[1] * values_of(m, 1, "coefficients")[j]) /
              (1 + a[0] + a[1]);
          own -= 0.5 * common[j] * common[j];
        }
      }
      return m.gate->log_prior() + m.experts->log_prior() + own;
    });
    check_close(prior, wanted, 1e-4);
    CHECK(standard_errors(model, rows.source, choice(ErrorKind::information), {}).errors.penalised);
  }
}

TEST_CASE("effects of levels are deviations from the average row, and so are their standard errors") {
  // Three quarters of the rows have level 0; the penalty alone knows the sum of the two effects.
  const uword n = 2000;
  Columns c{mat(n, 0), vec(n), {}, 0, arma::umat(n, 1), {2}};
  Rng rng(13, 1);
  double count[2] = {0, 0}, sum[2] = {0, 0};
  for (uword i = 0; i < n; ++i) {
    c.levels(i, 0) = i % 4 == 0;
    c.y[i] = (i % 4 == 0 ? 2.0 : 0.0) + rng.normal();
    count[i % 4 == 0] += 1;
    sum[i % 4 == 0] += c.y[i];
  }
  const Model model = fitted(to_rows(c), options(1, -1), choice(ErrorKind::information));
  const double difference = sum[1] / count[1] - sum[0] / count[0];
  const double error = std::sqrt(1 / count[0] + 1 / count[1]);  // of the difference; the noise is 1
  const double share[] = {0.75, 0.25};
  for (const Coefficient& k : coefficients(model)) {
    if (k.part != "expert" || k.term == "intercept") continue;
    const bool second = k.term == "c1 = level1";
    // The prior's pull is of the order of one row, the estimated noise within 4 standard errors of 1.
    CHECK(k.estimate == doctest::Approx((second ? share[0] : -share[1]) * difference).epsilon(0.01));
    CHECK(k.standard_error == doctest::Approx((second ? share[0] : share[1]) * error).epsilon(0.07));
  }
}

TEST_CASE("a row of weight 2 is the row twice, for the information") {
  Columns c = two_regions(200, 6);
  std::vector<uword> twice;
  c.weight.ones(200);
  for (uword i = 0; i < 200; ++i) {
    twice.push_back(i);
    if (i % 3 == 0) twice.push_back(i), c.weight[i] = 2;
  }
  Columns repeated = pick(c, arma::uvec(twice));
  repeated.weight.reset();
  const auto regions = slices(c, 2);
  FitOptions o = options(2, 0);
  o.initial_region = regions;
  const Model a = fitted(to_rows(c), o, choice(ErrorKind::information));
  o.initial_region = pick(regions, arma::uvec(twice));
  const Model b = fitted(to_rows(repeated), o, choice(ErrorKind::information));
  REQUIRE(a.standard_errors.values.size() == b.standard_errors.values.size());
  for (std::size_t i = 0; i < a.standard_errors.values.size(); ++i)
    CHECK(a.standard_errors.values[i] == doctest::Approx(b.standard_errors.values[i]).epsilon(1e-4));
}

TEST_CASE("standard errors follow the units of the data and not the number of threads") {
  const Columns c = two_regions(1500, 7);
  Columns scaled = c;
  scaled.x.col(1) = 1e4 + 1e-3 * scaled.x.col(1);
  scaled.y = 1e6 + 50 * scaled.y;
  FitOptions o = options(2, 0);
  o.initial_region = slices(c, 2);
  for (const ErrorKind kind : {ErrorKind::information, ErrorKind::sandwich}) {
    const Model a = fitted(to_rows(c), o, choice(kind));
    const Model b = fitted(to_rows(scaled), o, choice(kind));
    for (const uword k : {uword{0}, uword{1}})
      CHECK(error_of(b, "expert", k, "x2") ==
            doctest::Approx(5e4 * error_of(a, "expert", k, "x2")).epsilon(1e-3));
    CHECK(error_of(b, "gate", 0, "x1") == doctest::Approx(error_of(a, "gate", 0, "x1")).epsilon(1e-3));
    CHECK(error_of(b, "noise", 0, "intercept") ==
          doctest::Approx(error_of(a, "noise", 0, "intercept")).epsilon(1e-3));
  }
  const Rows rows = to_rows(c);
  const Model model = fit(rows.schema, rows.source, o);
  for (const ErrorKind kind : {ErrorKind::information, ErrorKind::sandwich, ErrorKind::bootstrap}) {
    const auto run = [&](int threads) {
      return standard_errors(model, rows.source, choice(kind, 12), o, {threads, &one_rank()}).errors.values;
    };
    CHECK(same_bits(run(1), run(3)));
  }
}

TEST_CASE("the bootstrap and the information agree where the model is right") {
  const Rows rows = to_rows(two_regions(1000, 8));
  const FitOptions o = options(2, 0);
  const Model model = fit(rows.schema, rows.source, o);
  const ErrorReport by_information = standard_errors(model, rows.source, choice(ErrorKind::information), o);
  const ErrorReport by_rows = standard_errors(model, rows.source, choice(ErrorKind::bootstrap, 300), o);
  CHECK(by_rows.errors.replicates == 300);
  REQUIRE(by_rows.errors.values.size() == by_information.errors.values.size());
  for (std::size_t i = 0; i < by_rows.errors.values.size(); ++i) {
    // A spread of 300 replicates has a standard error of 4 %; resampled rows add what one table has of its
    // own.
    const double ratio = by_rows.errors.values[i] / by_information.errors.values[i];
    CHECK(ratio > 0.8);
    CHECK(ratio < 1.25);
  }
}

TEST_CASE("directions without curvature leave what depends on them without a standard error") {
  // Parameters 0 and 1 appear as their sum only; 2 is on its own; 3 is a constant.
  mat information(4, 4, arma::fill::zeros);
  information.submat(0, 0, 1, 1).fill(4);
  information(2, 2) = 25;
  information(3, 3) = -1;
  const errors::Covariance covariance(information, {false, false, false, true});
  const mat functions = {{1, 0, 0, 0}, {0, 1, 0, 0}, {1, 1, 0, 0}, {0, 0, 2, 0}, {0, 0, 1, 1}, {0, 0, 0, 1}};
  const vec found = covariance.deviations(functions);
  CHECK(std::isnan(found[0]));
  CHECK(std::isnan(found[1]));
  CHECK(found[2] == doctest::Approx(0.5));
  CHECK(found[3] == doctest::Approx(0.4));
  CHECK(found[4] == doctest::Approx(0.2));
  CHECK(std::isnan(found[5]));
  const vec robust = covariance.deviations(functions, information);
  CHECK(robust[2] == doctest::Approx(0.5));
  CHECK(robust[3] == doctest::Approx(0.4));
  // A saddle: no curvature either.
  const vec saddle = errors::Covariance(mat{{-1, 0}, {0, 1}}, {false, false}).deviations(mat{{1, 0}, {0, 1}});
  CHECK(std::isnan(saddle[0]));
  CHECK(saddle[1] == doctest::Approx(1));
  const errors::Covariance tilted(mat{{-1, 0}, {0, 1}}, {false, false});
  CHECK(tilted.saddle());
  CHECK(!covariance.saddle());
  const vec mixed = tilted.deviations(mat{{0.1, 1}, {0.2, 1}});
  CHECK(mixed[0] == doctest::Approx(1));
  CHECK(std::isnan(mixed[1]));
}

TEST_CASE("coefficients that the rows do not identify are named in a note") {
  // Two experts with equal parameters: where one goes, the other may go back.
  const Columns c = piecewise(200, 1, 1, 9);
  const Rows rows = to_rows(c);
  Model model = fit(rows.schema, rows.source, options(1, 0));
  const uword twice[] = {0, 0};
  Mixture m = model.members.front();
  m.select(twice);
  model.members.front() = m;
  const ErrorReport report = standard_errors(model, rows.source, choice(ErrorKind::information), {});
  REQUIRE(!report.notes.empty());
  CHECK(testing::has(report.notes.back(), "no standard error"));
  CHECK(testing::has(report.notes.back(), "gate 1: x1"));
  for (const double v : report.errors.values) CHECK((std::isnan(v) || v > 0));
}

TEST_CASE("the assignment with the largest sum, against all permutations") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const mat gain = normal_matrix(5, 5, Rng(seed, 3));
    std::vector<uword> order(5);
    std::iota(order.begin(), order.end(), uword{0});
    const auto total = [&](const std::vector<uword>& to) {
      double sum = 0;
      for (uword j = 0; j < 5; ++j) sum += gain(j, to[j]);
      return sum;
    };
    double best = total(order);
    while (std::next_permutation(order.begin(), order.end())) best = std::max(best, total(order));
    CHECK(total(errors::best_assignment(gain)) == doctest::Approx(best));
  }
}

TEST_CASE("permuted experts are brought back into line") {
  const Rows rows = to_rows(piecewise(600, 2, 3, 10));
  const Model model = fit(rows.schema, rows.source, options(3, -1));
  const Mixture& reference = model.members.front();
  Mixture other = reference;
  const uword order[] = {2, 0, 1};
  other.select(order);
  other.select(errors::match_experts(reference, other, rows.schema, rows.source, {}));
  for (uword k = 0; k < 3; ++k)
    check_close(other.experts->coefficients(k), reference.experts->coefficients(k), 1e-12);
}

TEST_CASE("resampled rows have their counts as weights") {
  Columns c = two_regions(1100, 11);
  c.weight.set_size(1100);
  c.weight.fill(0.5);
  const MemorySource source = to_source(c);
  std::vector<std::uint32_t> counts(1100, 1);
  counts[3] = 0, counts[1030] = 4;
  const errors::Resampled resampled(source, counts);
  BlockData buffer;
  const Block first = resampled.read(0, buffer);
  CHECK(first.weight[3] == 0);
  CHECK(first.weight[4] == 0.5);
  CHECK(resampled.read(1, buffer).weight[6] == 2);
  CHECK(resampled.rows() == 1100);
}

TEST_CASE("standard errors are kept in the model file, empty ones too") {
  const Rows rows = to_rows(two_regions(300, 12));
  const FitOptions o = options(2, 0);
  Model model = fitted(rows, o, choice(ErrorKind::sandwich));
  const std::string without = [&] {
    Model bare = model;
    bare.standard_errors = {};
    return model_text(bare);
  }();
  CHECK(parse_model(without, "bare").standard_errors.kind == ErrorKind::none);
  model.standard_errors.values[1] = std::nan("");
  const Model read = parse_model(model_text(model), "kept");
  CHECK(read.standard_errors.kind == ErrorKind::sandwich);
  REQUIRE(read.standard_errors.values.size() == model.standard_errors.values.size());
  for (std::size_t i = 0; i < read.standard_errors.values.size(); ++i)
    if (i == 1)
      CHECK(std::isnan(read.standard_errors.values[i]));
    else
      CHECK(read.standard_errors.values[i] == model.standard_errors.values[i]);
  model.standard_errors.values.pop_back();
  CHECK_THROWS_WITH_AS(parse_model(model_text(model), "short"),
                       doctest::Contains("does not have a number for each coefficient"), Error);
}

TEST_CASE("the choice of standard errors") {
  CHECK(parse_error_choice("auto").automatic);
  CHECK(parse_error_choice("none").kind == ErrorKind::none);
  CHECK(parse_error_choice("bootstrap").replicates == 200);
  CHECK(parse_error_choice("bootstrap:50").replicates == 50);
  for (const char* bad : {"", "sandwhich", "bootstrap:", "bootstrap:9", "bootstrap:x", "information:3"})
    CHECK_THROWS_AS(parse_error_choice(bad), Error);
  const Rows rows = to_rows(piecewise(50, 2, 1, 1));
  const Model model = fit(rows.schema, rows.source, options(1, 0));
  CHECK(information_affordable(model, 50));
  CHECK(!information_affordable(model, 1'000'000'000));
}

TEST_CASE("train keeps standard errors, diagnose and inspect show them") {
  const Workshop shop;
  REQUIRE(shop.run("train data/faithful.csv --target eruptions --experts 2 --ridge 0 -q -o f.moe").code == 0);
  REQUIRE(shop.run("diagnose f.moe data/faithful.csv -o d").code == 0);
  const std::vector<std::string> lines = testing::lines_of(shop.read("d/coefficients.csv"));
  CHECK(lines[0] == "part,expert,output,term,estimate,standardised,standard_error,z,p");
  CHECK(testing::cells_of(lines[1]).size() == 9);
  const nlohmann::json inspected = testing::json_of(shop.run("inspect f.moe --json").out);
  CHECK(inspected["standard_errors"]["kind"] == "information");
  CHECK(inspected["coefficients"][0]["standard_error"].is_number());
  CHECK(testing::has(shop.run("inspect f.moe").out, "In brackets: standard errors from the observed"));

  REQUIRE(
      shop.run("train data/faithful.csv --target eruptions --experts 2 --standard-errors none -q -o n.moe")
          .code == 0);
  CHECK(testing::json_of(shop.run("inspect n.moe --json").out)["standard_errors"].is_null());
  CHECK(!testing::has(shop.run("inspect n.moe").out, "In brackets"));
  REQUIRE(shop.run("diagnose n.moe data/faithful.csv -o e").code == 0);
  CHECK(testing::lines_of(shop.read("e/coefficients.csv"))[1].ends_with(",,,"));

  REQUIRE(
      shop.run("train data/faithful.csv --target eruptions --experts 2 --standard-errors bootstrap:20 -q -o "
               "b.moe")
          .code == 0);
  CHECK(testing::has(shop.run("inspect b.moe").out, "bootstrap refits of the penalised fit"));
  const Ran bad = shop.run("train data/faithful.csv --target eruptions --standard-errors jackknife -o x.moe");
  CHECK(bad.code == 64);
  CHECK(testing::one_error_line(bad));
}
