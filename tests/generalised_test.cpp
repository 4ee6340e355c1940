// Generalised linear experts as fits: against optima found in other ways, and the truth of simulations.
#include <doctest/doctest.h>

#include <cmath>

#include "fit_helpers.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "reference/climbing.hpp"
#include "scores.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

double poisson_draw(double mean, Rng& rng) {
  double left = mean, count = -1;
  for (; left > 0; ++count) left += std::log(rng.uniform());
  return std::max(0.0, count);
}

/// Of shape 1, 2, ...: a sum of exponentials.
double gamma_draw(int shape, Rng& rng) {
  double sum = 0;
  for (int i = 0; i < shape; ++i) sum -= std::log(rng.uniform());
  return sum;
}

/// Two standard normal inputs, and a target that `draw` makes of the linear predictor.
template <class Draw>
Columns simulated(uword n, const vec& w, std::uint64_t seed, const Draw& draw) {
  Columns c{normal_matrix(n, w.n_elem - 1, Rng(seed, 1)), vec(n), {}};
  Rng rng(seed, 2);
  for (uword i = 0; i < n; ++i) c.y[i] = draw(w[0] + arma::dot(c.x.row(i), w.tail(w.n_elem - 1)), rng);
  return c;
}

/// The table with another task, and an offset for each row.
Rows table(const Columns& c, Task task = Task::regression, const vec& offset = {}) {
  Rows rows = to_rows(c);
  rows.schema.target.task = task;
  if (task == Task::count) measure(rows.schema, rows.source);
  if (offset.is_empty()) return rows;
  rows.schema.offset = "exposure";
  for (std::size_t b = 0, first = 0; b < rows.source.blocks(); first += rows.source.data(b++).rows)
    for (uword i = 0; i < rows.source.data(b).rows; ++i)
      rows.source.data(b).offset.push_back(offset[first + i]);
  return rows;
}

FitOptions asked(const std::string& family, uword experts = 1, double ridge = 0) {
  FitOptions o = options(experts, ridge, 6);
  o.family = family;
  o.max_iterations = 3000;
  return o;
}

/// Coefficients of expert k in the units of the inputs; of the standardised target.
vec raw_coefficients(const Model& model, uword k = 0) {
  const Mixture& m = model.members.front();
  return m.expert_basis.in_input_units(m.experts->coefficients(k).col(0));
}

/// The same in the target's units: the level of a regression behind a log link moves by its scale.
vec log_link_coefficients(const Model& model, uword k = 0) {
  vec w = raw_coefficients(model, k);
  if (model.schema.target.task == Task::regression) w[0] += std::log(model.schema.target.sd);
  return w;
}

vec location_coefficients(const Model& model, uword k = 0) {
  vec w = raw_coefficients(model, k) * model.schema.target.sd;
  w[0] += model.schema.target.mean;
  return w;
}

double field_value(Model& model, std::string_view name) {
  for (const Field& f : model.members.front().fields())
    if (f.name == name) return f.values[0];
  return arma::datum::nan;
}

mat design(const Columns& c) { return arma::join_rows(mat(c.y.n_elem, 1, arma::fill::ones), c.x); }

/// Newton's method for means exp(x'w + offset): Poisson regression, and by its other weights gamma's.
vec log_link_optimum(const Columns& c, bool gamma, const vec& offset) {
  const mat x = design(c);
  vec w(x.n_cols, arma::fill::zeros);
  w[0] = std::log(arma::mean(c.y / arma::exp(offset)));
  for (int step = 0; step < 100; ++step) {
    const vec mean = arma::exp(x * w + offset);
    const vec score = gamma ? vec(c.y / mean - 1) : vec(c.y - mean);
    const vec weight = gamma ? vec(c.y / mean) : mean;
    w += arma::solve(x.t() * (x.each_col() % weight), x.t() * score);
  }
  return w;
}

/// The log-likelihood of a model with one expert is highest where it is, as far as small steps can tell.
void check_highest(Model& model, const Source& source, bool smooth) {
  const auto value = [&] { return log_likelihood(model, source); };
  std::vector<Field> moving;
  for (const Field& f : model.members.front().fields())
    if (f.kind != Field::Kind::fixed && !f.values.empty()) moving.push_back(f);
  CHECK(naive::highest_nearby(moving, value) <= (smooth ? 1e-6 : 1e-3));
  if (smooth) CHECK(naive::steepest(moving, value) <= 0.05);
}

const vec kTrue = {1.0, 0.5, -0.3};

Columns counts(uword n, std::uint64_t seed) {
  return simulated(n, kTrue, seed, [](double at, Rng& rng) { return poisson_draw(std::exp(at), rng); });
}

std::string refusal(const std::string& family, const Schema& schema, const std::string& noise = "constant") {
  FitOptions o = asked(family);
  o.noise_basis = parse_basis(noise);
  try {
    check_family(o, schema);
  } catch (const Error& e) {
    CHECK(e.code() == Errc::usage);
    return e.what();
  }
  return {};
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("poisson and gamma with one expert are where Newton's method ends") {
  const Columns c = counts(800, 1);
  const vec none(800, arma::fill::zeros);
  const Rows rows = table(c, Task::count);
  const Model poisson = fit(rows.schema, rows.source, asked("poisson"));
  CHECK(arma::abs(log_link_coefficients(poisson) - log_link_optimum(c, false, none)).max() <= 1e-5);

  const Columns g =
      simulated(800, kTrue, 2, [](double at, Rng& rng) { return std::exp(at) * gamma_draw(4, rng) / 4; });
  const Rows positive = table(g);
  Model gamma = fit(positive.schema, positive.source, asked("gamma"));
  CHECK(arma::abs(log_link_coefficients(gamma) - log_link_optimum(g, true, none)).max() <= 1e-5);
  check_highest(gamma, positive.source, true);
  // Coefficient of variation of the truth: 1 / 2.
  CHECK(std::exp(field_value(gamma, "log_scale")) == doctest::Approx(0.5).epsilon(0.08));
}

TEST_CASE("poisson: an exposure is an offset, and a constant one moves the intercept") {
  Columns c = counts(700, 3);
  Rng rng(3, 9);
  vec offset(700);
  for (uword i = 0; i < 700; ++i) {
    offset[i] = std::log(0.5 + 4 * rng.uniform());
    c.y[i] = poisson_draw(std::exp(kTrue[0] + arma::dot(c.x.row(i), kTrue.tail(2)) + offset[i]), rng);
  }
  for (const std::string family : {"poisson", "negative-binomial"}) {
    CAPTURE(family);
    const Rows plain = table(c, Task::count), exposed = table(c, Task::count, offset),
               more = table(c, Task::count, offset + 1.5);
    const vec with = log_link_coefficients(fit(exposed.schema, exposed.source, asked(family)));
    const vec shifted = log_link_coefficients(fit(more.schema, more.source, asked(family)));
    CHECK(shifted[0] == doctest::Approx(with[0] - 1.5).epsilon(1e-4));
    CHECK(arma::abs(shifted.tail(2) - with.tail(2)).max() <= 1e-4);
    CHECK(arma::abs(with - kTrue).max() <= 0.12);
    const vec without = log_link_coefficients(fit(plain.schema, plain.source, asked(family)));
    CHECK(std::abs(without[0] - kTrue[0]) > 0.5);
    if (family == "poisson") CHECK(arma::abs(with - log_link_optimum(c, false, offset)).max() <= 1e-5);
  }
}

TEST_CASE("negative-binomial, student-t and laplace: no small step raises the likelihood") {
  const Columns over = simulated(700, kTrue, 4, [](double at, Rng& rng) {
    return poisson_draw(std::exp(at) * gamma_draw(2, rng) / 2, rng);  // variance m + m^2 / 2
  });
  const Rows rows = table(over, Task::count);
  Model negative = fit(rows.schema, rows.source, asked("negative-binomial"));
  check_highest(negative, rows.source, true);
  CHECK(arma::abs(log_link_coefficients(negative) - kTrue).max() <= 0.15);
  CHECK(std::exp(field_value(negative, "log_scale")) == doctest::Approx(0.5).epsilon(0.25));
  const Model poisson = fit(rows.schema, rows.source, asked("poisson"));
  CHECK(log_likelihood(negative, rows.source) > log_likelihood(poisson, rows.source) + 20);

  const Columns heavy = simulated(700, kTrue, 5, [](double at, Rng& rng) {
    return at + 0.5 * rng.normal() / std::sqrt(gamma_draw(2, rng) / 2);  // t with 4 degrees of freedom
  });
  const Rows real = table(heavy);
  Model student = fit(real.schema, real.source, asked("student-t"));
  check_highest(student, real.source, true);
  CHECK(arma::abs(location_coefficients(student) - kTrue).max() <= 0.1);
  const double freedom = field_value(student, "shape");
  CHECK(freedom > 2.5);
  CHECK(freedom < 8);

  Model laplace = fit(real.schema, real.source, asked("laplace"));
  check_highest(laplace, real.source, false);
  CHECK(arma::abs(location_coefficients(laplace) - kTrue).max() <= 0.1);
  CHECK(log_likelihood(student, real.source) >= log_likelihood(laplace, real.source));
}

TEST_CASE("gaussian with noise that varies: the coefficients of both predictors are recovered") {
  const uword n = 3000;
  Columns c{normal_matrix(n, 2, Rng(6, 1)), vec(n), {}};
  Rng rng(6, 2);
  const vec noise = {-0.7, 0.4, -0.2};
  for (uword i = 0; i < n; ++i)
    c.y[i] = kTrue[0] + arma::dot(c.x.row(i), kTrue.tail(2)) +
             std::exp(noise[0] + arma::dot(c.x.row(i), noise.tail(2))) * rng.normal();
  const Rows rows = table(c);
  for (const double ridge : {0.0, -1.0}) {
    CAPTURE(ridge);
    FitOptions o = asked("gaussian", 1, ridge);
    o.noise_basis = parse_basis("linear");
    Model model = fit(rows.schema, rows.source, o);
    const Mixture& m = model.members.front();
    vec v = m.noise_basis.in_input_units(m.experts->noise_coefficients(0));
    v[0] += std::log(rows.schema.target.sd);
    // Standard errors: of the location by weighted least squares, of a log scale 1 / sqrt(2 n).
    const mat x = design(c);
    const vec precision = arma::exp(-2 * (x * noise));
    const vec location = arma::sqrt(arma::inv_sympd(x.t() * (x.each_col() % precision)).eval().diag());
    const vec scale = arma::sqrt(arma::inv_sympd(2 * x.t() * x).eval().diag());
    CHECK(arma::abs((location_coefficients(model) - kTrue) / location).max() <= 4);
    CHECK(arma::abs((v - noise) / scale).max() <= 4);
    if (ridge == 0) check_highest(model, rows.source, true);
    const Model constant = fit(rows.schema, rows.source, asked("gaussian", 1, ridge));
    CHECK(log_likelihood(model, rows.source) > log_likelihood(constant, rows.source) + 200);
    // coefficients(): in the units of the data too.
    uword found = 0;
    for (const Coefficient& one : coefficients(model))
      if (one.part == "noise") CHECK(one.estimate == doctest::Approx(v[found++]).epsilon(1e-9));
    CHECK(found == 3);
  }
}

TEST_CASE("student-t experts pass over outliers, gaussian ones do not") {
  const uword n = 1000;
  const Columns clean = simulated(n, kTrue, 7, [](double at, Rng& rng) { return at + 0.5 * rng.normal(); });
  Columns dirty = clean;
  Rng rng(7, 3);
  for (uword i = 0; i < n; ++i)
    if (rng.uniform() < 0.05) dirty.y[i] += 10 * (dirty.x(i, 0) > 0 ? 1 : -0.2);  // 20 standard deviations
  const Rows rows = table(dirty), before = table(clean);
  const vec aim = location_coefficients(fit(before.schema, before.source, asked("gaussian")));
  for (const double ridge : {0.0, -1.0}) {
    const vec student = location_coefficients(fit(rows.schema, rows.source, asked("student-t", 1, ridge)));
    const vec gaussian = location_coefficients(fit(rows.schema, rows.source, asked("gaussian", 1, ridge)));
    CHECK(arma::abs(student - aim).max() <= 0.06);
    CHECK(arma::abs(gaussian - aim).max() >= 0.15);
  }
}

TEST_CASE("student-t of many degrees of freedom is gaussian") {
  // Targets with lighter tails than a normal one: the degrees of freedom go where they can.
  const Columns c = simulated(600, kTrue, 8, [](double at, Rng& rng) { return at + rng.uniform() - 0.5; });
  const Rows rows = table(c);
  Model student = fit(rows.schema, rows.source, asked("student-t"));
  const Model gaussian = fit(rows.schema, rows.source, asked("gaussian"));
  CHECK(field_value(student, "shape") > 200);
  CHECK(arma::abs(location_coefficients(student) - location_coefficients(gaussian)).max() <= 1e-3);
  CHECK(student.members[0].experts->noise(0) ==
        doctest::Approx(gaussian.members[0].experts->noise(0)).epsilon(0.01));
  CHECK(log_likelihood(student, rows.source) ==
        doctest::Approx(log_likelihood(gaussian, rows.source)).epsilon(0.01));
}

TEST_CASE("a mixture of two poisson regressions is recovered") {
  const uword n = 2000;
  Columns c{normal_matrix(n, 2, Rng(9, 1)), vec(n), {}};
  Rng rng(9, 2);
  const mat w = {{2.0, 0.5}, {0.4, -0.8}, {-0.5, 0.3}};
  vec truth(n);
  for (uword i = 0; i < n; ++i) {
    const uword k = rng.uniform() < 1 / (1 + std::exp(-4 * c.x(i, 0))) ? 0 : 1;
    truth[i] = w(0, k) + c.x(i, 0) * w(1, k) + c.x(i, 1) * w(2, k);
    c.y[i] = poisson_draw(std::exp(truth[i]), rng);
  }
  const Rows rows = table(c, Task::count);
  for (const double ridge : {0.0, -1.0}) {
    CAPTURE(ridge);
    const Model model = fit(rows.schema, rows.source, asked("poisson", 2, ridge));
    REQUIRE(model.members.front().count() == 2);
    const vec a = log_link_coefficients(model, 0), b = log_link_coefficients(model, 1);
    const bool swapped = a[1] < 0;
    CHECK(arma::abs((swapped ? b : a) - w.col(0)).max() <= 0.15);
    CHECK(arma::abs((swapped ? a : b) - w.col(1)).max() <= 0.25);
    const Model one = fit(rows.schema, rows.source, asked("poisson", 1, ridge));
    CHECK(log_likelihood(model, rows.source) > log_likelihood(one, rows.source) + 100);
  }
}

TEST_CASE("a family that does not suit the target is refused, with those that do") {
  const Columns c = counts(60, 10);
  const Rows count = table(c, Task::count), number = table(c);
  Columns two = piecewise(60, 2, 2, 1, 2);
  const Rows classes = to_rows(two);
  for (const std::string& family : expert_families())
    for (const Rows* rows : {&count, &number, &classes}) {
      CAPTURE(family);
      const Task task = rows->schema.target.task;
      if (family == "gamma" && task == Task::regression) continue;
      const std::string text = refusal(family, rows->schema);
      CHECK(text.empty() == (family_traits(family).task == task));
      if (text.empty()) continue;
      CHECK(says(text, "--family " + family));
      for (const std::string& other : expert_families())
        if (family_traits(other).task == task) CHECK(says(text, other));
    }
  CHECK(says(refusal("poisson", number.schema), "--task"));

  REQUIRE(number.schema.target.min == 0);
  CHECK(says(refusal("gamma", number.schema), "above 0"));
  CHECK_THROWS_AS(fit(number.schema, number.source, asked("gamma")), Error);
  Schema negative = number.schema;
  negative.target.min = -1;
  CHECK(!refusal("gamma", negative).empty());
  negative.target.min = 0.5;
  CHECK(refusal("gamma", negative).empty());

  for (const std::string& family : expert_families()) {
    CAPTURE(family);
    const FamilyTraits traits = family_traits(family);
    Schema schema = (traits.task == Task::count        ? count
                     : traits.task == Task::regression ? number
                                                       : classes)
                        .schema;
    schema.target.min = 1;
    CHECK(refusal(family, schema, "linear").empty() == traits.noise);
    if (!traits.noise) CHECK(says(refusal(family, schema, "additive"), "--noise"));
    schema.offset = "exposure";
    CHECK(refusal(family, schema).empty() == traits.log_link);
    if (!traits.log_link) CHECK(says(refusal(family, schema), "--offset"));
  }
}

TEST_CASE("without a name the family goes by the task") {
  const Columns c = counts(60, 11);
  CHECK(family_of({}, table(c).schema) == "gaussian");
  CHECK(family_of({}, table(c, Task::count).schema) == "poisson");
  CHECK(family_of({}, to_rows(piecewise(60, 2, 2, 1, 2)).schema) == "logistic");
  CHECK(family_of(asked("laplace"), table(c).schema) == "laplace");
}

TEST_CASE("student-t mixtures keep their predictions when targets are spoilt, and give outliers no expert") {
  const Columns clean = piecewise(800, 2, 3, 5), fresh = piecewise(400, 2, 3, 5);
  Columns spoilt = clean;
  const double sd = arma::stddev(clean.y);
  for (uword i = 0; i < 800; i += 20) spoilt.y[i] = (i % 40 ? 20 : -20) * sd;
  FitOptions options;
  options.experts = 3;
  options.family = "student-t";
  const auto rmse = [&](const Columns& train) {
    const Rows rows = to_rows(train);
    const Model model = fit(rows.schema, rows.source, options);
    CHECK(model.members[0].count() == 3);
    return evaluate(model, to_rows(fresh).source).rmse;
  };
  const double before = rmse(clean);
  CHECK(rmse(spoilt) < 1.1 * before);
}

TEST_CASE("distribution functions hold far from the mean, where a library's gamma function overflows") {
  for (const char* family : {"poisson", "negative-binomial", "gamma"}) {
    CAPTURE(family);
    const auto experts = make_experts(family, {.experts = 1, .groups = {0}});
    Batch batch;
    batch.rows = 1;
    batch.expert.ones(1, 1);
    batch.noise.ones(1, 1);
    batch.target.zeros(1);
    mat below;
    for (const double location : {-100.0, -20.0, 0.0, 1.6, 8.0, 20.0, 100.0}) {
      experts->fields(0)[0].values[0] = location;
      for (Field& f : experts->fields(0))
        if (f.name == "log_scale") f.values[0] = -6;
      double last = 0;
      for (const double y : {0.0, 5.0, 170.0, 1754.0, 2000.0, 1e5, 1e9, 1e45}) {
        experts->cumulative(batch, {y}, below);
        CAPTURE(location);
        CAPTURE(y);
        CHECK(below(0, 0) >= last);
        CHECK(below(0, 0) <= 1);
        last = below(0, 0);
      }
      CHECK(last == doctest::Approx(1));
    }
  }
}

TEST_CASE("distribution functions of large counts: no jump where the expansion takes over, right far above") {
  Batch batch;
  batch.rows = 1;
  batch.expert.ones(1, 1);
  batch.noise.ones(1, 1);
  const auto at = [&](ExpertFamily& experts, double location, double y, mat& log_density) {
    experts.fields(0)[0].values[0] = location;
    for (Field& f : experts.fields(0))
      if (f.name == "log_scale") f.values[0] = std::log(1e-3);
    mat below;
    experts.cumulative(batch, {y}, below);
    batch.target = {y};
    experts.log_density(batch, log_density);
    return below(0, 0);
  };
  mat density;
  const auto poisson = make_experts("poisson", {.experts = 1, .groups = {0}});
  const auto binomial = make_experts("negative-binomial", {.experts = 1, .groups = {0}});
  for (const double mean : {1e6 - 5e3, 1e6, 1e6 + 5e3})
    for (const double y : {1e6 - 1, 1e6, 1e6 + 1}) {
      const double before = at(*poisson, std::log(mean), y - 1, density);
      CHECK(at(*poisson, std::log(mean), y, density) - before ==
            doctest::Approx(std::exp(density(0, 0))).epsilon(1e-7));
    }
  for (const double mean : {0.9e9, 1e9, 1.1e9})
    for (const double y : {1e9 - 1, 1e9, 1e9 + 1}) {
      const double before = at(*binomial, std::log(mean), y - 1, density);
      CHECK(std::abs(at(*binomial, std::log(mean), y, density) - before - std::exp(density(0, 0))) < 1e-9);
    }
  // Normal but for the skewness, by the first terms of Edgeworth's series.
  for (const double location : {20.0, 25.0, 30.0, 50.0})
    for (double z = -30; z <= 30; z += 2.5) {
      const double mean = std::exp(location);
      const double y = std::floor(mean + z * std::sqrt(mean)) + 0.5, u = (y - mean) / std::sqrt(mean);
      const double want = 0.5 * std::erfc(-u / M_SQRT2) -
                          (u * u - 1) * std::exp(-0.5 * u * u) / std::sqrt(2 * M_PI) / 6 / std::sqrt(mean);
      CAPTURE(location);
      CAPTURE(z);
      CHECK(std::abs(at(*poisson, location, y, density) - want) < 1e-8);
    }
}

TEST_CASE("the CRPS of counts is the plain sum over all numbers, also where they are many") {
  const Columns c = simulated(400, {4.0, 1.6, 0.2}, 9, [](double location, Rng& draw) {
    return poisson_draw(std::exp(location) * gamma_draw(2, draw) / 2, draw);
  });
  const Rows rows = table(c, Task::count);
  FitOptions o = asked("negative-binomial", 2, -1);
  o.restarts = 1;
  const Model model = fit(rows.schema, rows.source, o);
  BlockData buffer;
  const Block block = rows.source.read(0, buffer);
  const RowScores scores = row_scores(model, block);
  const vec all = predict(model, block).mean;
  REQUIRE(all.max() > 2000);  // so that numbers are taken together
  for (const uword i : arma::uvec{0, 1, 2, all.index_max(), all.index_min()}) {
    CAPTURE(all[i]);
    const double y = block.target[i];
    double sum = 0, f = 0;
    const MemorySource one = take_rows(rows.source, {i});
    BlockData own;
    const Block row = one.read(0, own);
    for (double j = 0; j <= y || 1 - f > 1e-7; ++j) {
      f = cumulative(model, row, {j})[0];
      sum += std::pow(f - (y <= j ? 1 : 0), 2);
    }
    CHECK(scores.crps[i] == doctest::Approx(sum).epsilon(1e-4));
  }
}

TEST_CASE("counts of billions: the dispersion is that of a gamma fit, whose limit they are") {
  // Var = m + a m^2 with a m far above 1: y / m is Gamma(1 / a), here a sum of three squared normals.
  for (const double level : {std::log(1e7), std::log(1e9), std::log(1e11)}) {
    const Columns c = simulated(800, {level, 0.5}, 6, [](double location, Rng& rng) {
      double sum = 0;
      for (int i = 0; i < 3; ++i) sum += std::pow(rng.normal(), 2);
      return std::floor(std::exp(location) * sum / 3);
    });
    const Model gamma = fit(table(c).schema, table(c).source, asked("gamma"));
    const Rows rows = table(c, Task::count);
    const Model binomial = fit(rows.schema, rows.source, asked("negative-binomial"));
    CAPTURE(level);
    const vec w = raw_coefficients(gamma), v = raw_coefficients(binomial);
    CHECK(v[0] == doctest::Approx(w[0] + std::log(rows.schema.target.mean)).epsilon(1e-4));
    CHECK(v[1] == doctest::Approx(w[1]).epsilon(1e-2));
    CHECK(binomial.provenance.log_likelihood ==
          doctest::Approx(gamma.provenance.log_likelihood).epsilon(1e-4));
  }
}

TEST_CASE("behind a log link a mean ends at twice the largest target, far outside; not with an offset") {
  const Columns c = simulated(
      500, {1.0, 0.8}, 5, [](double location, Rng& rng) { return poisson_draw(std::exp(location), rng); });
  for (const bool offset : {false, true}) {
    CAPTURE(offset);
    const Rows rows = table(c, Task::count, offset ? vec(c.y.n_elem, arma::fill::zeros) : vec());
    Model model = fit(rows.schema, rows.source, asked("poisson"));
    const Columns far{mat(vec{0, 2, 12}), vec{1, 1, 1}, {}};
    Rows there = table(far, Task::count, offset ? vec(3, arma::fill::zeros) : vec());
    BlockData buffer;
    const Block block = there.source.read(0, buffer);
    const vec mean = predict(model, block).mean;
    const vec w = raw_coefficients(model);
    CHECK(mean[0] == doctest::Approx(std::exp(w[0])).epsilon(1e-9));
    CHECK(mean[1] == doctest::Approx(std::exp(w[0] + 2 * w[1])).epsilon(1e-9));
    const double free = std::exp(w[0] + 12 * w[1]), most = 2 * c.y.max();
    REQUIRE(free > 2 * most);
    CHECK(mean[2] == doctest::Approx(offset ? free : most).epsilon(1e-9));
    const Model back = parse_model(model_text(model), "m");
    CHECK(arma::approx_equal(predict(back, block).mean, mean, "absdiff", 0.0));
  }
}
