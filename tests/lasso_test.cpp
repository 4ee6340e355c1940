// The lasso: where it ends its optimality conditions (Karush, Kuhn, Tucker) hold, and zeros are zeros.
#include <doctest/doctest.h>

#include <cmath>

#include "fit_helpers.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

/// n rows of d inputs, of which the first two matter: y = 1 + 2 x1 - x2 + noise.
Columns sparse(uword n, uword d, double noise, std::uint64_t seed) {
  Columns c{normal_matrix(n, d, Rng(seed, 1)), vec(n), {}};
  Rng rng(seed, 2);
  for (uword i = 0; i < n; ++i) c.y[i] = 1 + 2 * c.x(i, 0) - c.x(i, 1) + noise * rng.normal();
  return c;
}

FitOptions penalised(double lasso, uword experts = 1, double ridge = 0) {
  FitOptions o = options(experts, ridge, 4);
  o.lasso = lasso;
  o.max_iterations = 5000;
  o.tolerance = 1e-14;
  return o;
}

Posterior posterior_of(const Model& model, const Source& source) {
  REQUIRE(source.blocks() == 1);
  BlockData buffer;
  Posterior out;
  posterior(model.members.front(), model.schema, source.read(0, buffer), out);
  return out;
}

/// Gradients of the log-likelihood by the rows of w, against what the penalty allows. The first row, the
/// intercept, is free.
void check_conditions(const mat& w, const mat& gradient, double lasso, double close) {
  REQUIRE(w.n_rows == gradient.n_rows);
  CHECK(arma::norm(gradient.row(0)) <= close * lasso);
  for (uword j = 1; j < w.n_rows; ++j) {
    CAPTURE(j);
    const double size = arma::norm(w.row(j));
    if (size == 0)
      CHECK(arma::norm(gradient.row(j)) <= lasso * (1 + close));
    else
      CHECK(arma::norm(gradient.row(j) - lasso * w.row(j) / size) <= close * lasso);
  }
}

uword zeros(const mat& w) {
  uword count = 0;
  for (uword j = 1; j < w.n_rows; ++j) count += arma::norm(w.row(j)) == 0;
  return count;
}

mat centred(const mat& theta) { return theta.each_col() - vec(arma::mean(theta, 1)); }

}  // namespace

TEST_CASE("one gaussian expert: the conditions hold exactly, at every penalty") {
  const Rows rows = to_rows(sparse(400, 6, 1.0, 1));
  uword before = 0;
  double likelihood = arma::datum::inf;
  for (const double lasso : {5.0, 20.0, 60.0, 200.0}) {
    CAPTURE(lasso);
    const Model model = fit(rows.schema, rows.source, penalised(lasso));
    const ExpertFamily& experts = *model.members[0].experts;
    const Posterior post = posterior_of(model, rows.source);
    const mat w = experts.coefficients(0);
    const double variance = experts.noise(0) * experts.noise(0);
    const vec residual = post.batch.target - post.batch.expert * w.col(0);
    check_conditions(w, post.batch.expert.t() * residual / variance, lasso, 1e-4);
    CHECK(variance == doctest::Approx(arma::mean(arma::square(residual))).epsilon(1e-5));
    CHECK(zeros(w) >= before);
    before = zeros(w);
    CHECK(model.provenance.log_likelihood <= likelihood);
    likelihood = model.provenance.log_likelihood;
  }
  CHECK(before >= 4);
  const Model none = fit(rows.schema, rows.source, penalised(1e5));
  CHECK(zeros(none.members[0].experts->coefficients(0)) == 6);
}

TEST_CASE("beside a ridge the conditions are those of both") {
  const Rows rows = to_rows(sparse(400, 6, 1.0, 2));
  const Model model = fit(rows.schema, rows.source, penalised(40, 1, 30));
  const ExpertFamily& experts = *model.members[0].experts;
  const Posterior post = posterior_of(model, rows.source);
  const mat w = experts.coefficients(0);
  mat gradient = post.batch.expert.t() * (post.batch.target - post.batch.expert * w.col(0)) /
                 (experts.noise(0) * experts.noise(0));
  gradient.tail_rows(6) -= 30 * w.tail_rows(6);
  check_conditions(w, gradient, 40, 1e-4);
}

TEST_CASE("generalised experts: location and noise") {
  Columns c = sparse(500, 5, 1.0, 3);
  Rng rng(3, 3);
  for (uword i = 0; i < 500; ++i) c.y[i] = 2 * c.x(i, 0) + std::exp(0.6 * c.x(i, 2)) * rng.normal();
  const Rows rows = to_rows(c);
  FitOptions o = penalised(120);
  o.noise_basis = parse_basis("linear");
  const Model model = fit(rows.schema, rows.source, o);
  const ExpertFamily& experts = *model.members[0].experts;
  const Posterior post = posterior_of(model, rows.source);
  const vec w = experts.coefficients(0).col(0), v = experts.noise_coefficients(0);
  const vec scale = arma::exp(post.batch.noise * v), z = (post.batch.target - post.batch.expert * w) / scale;
  check_conditions(w, post.batch.expert.t() * (z / scale), 120, 1e-3);
  check_conditions(v, post.batch.noise.t() * (arma::square(z) - 1), 120, 1e-3);
  CHECK(zeros(w) >= 2);
  CHECK(zeros(v) >= 3);

  Columns counts = c;
  for (uword i = 0; i < 500; ++i)
    counts.y[i] = std::floor(std::exp(0.7 + 0.5 * c.x(i, 0)) * -2 * std::log(rng.uniform()));
  Rows table = to_rows(counts);
  table.schema.target.task = Task::count;
  const Model poisson = fit(table.schema, table.source, penalised(80));
  const Posterior at = posterior_of(poisson, table.source);
  const mat u = poisson.members[0].experts->coefficients(0);
  check_conditions(u, at.batch.expert.t() * (at.batch.target - arma::exp(at.batch.expert * u.col(0))), 80,
                   1e-4);
  CHECK(zeros(u) >= 3);
}

TEST_CASE("logistic experts: a feature's coefficients of all classes are zero together") {
  for (const uword classes : {2, 3}) {
    CAPTURE(classes);
    Columns c = piecewise(500, 5, 1, 4, classes);
    Rng rng(4, 4);
    for (uword i = 0; i < 500; ++i) {  // the first two inputs matter
      const double pull = 1.5 * c.x(i, 0) - c.x(i, 1) - std::log(1 / rng.uniform() - 1);
      c.y[i] = pull < -0.7 ? 0 : pull < 0.7 || classes == 2 ? 1 : 2;
    }
    const Rows rows = to_rows(c);
    const double lasso = 25;
    const Model model = fit(rows.schema, rows.source, penalised(lasso));
    const ExpertFamily& experts = *model.members[0].experts;
    const Posterior post = posterior_of(model, rows.source);
    arma::cube cube;
    experts.class_probabilities(post.batch, cube);
    mat label(500, classes, arma::fill::zeros);
    for (uword i = 0; i < 500; ++i) label(i, static_cast<uword>(c.y[i])) = 1;
    mat gradient = post.batch.expert.t() * (label - cube.slice(0));
    mat w = arma::join_rows(experts.coefficients(0), vec(6, arma::fill::zeros));
    if (classes == 2)  // the usual logit
      w = w.col(0), gradient = gradient.col(0);
    else
      w = centred(w);
    check_conditions(w, gradient, lasso, 1e-3);
    CHECK(zeros(w) == 3);
  }
}

TEST_CASE("two experts and their gate: the conditions hold, and inputs that do not matter have zeros") {
  const uword n = 1000, d = 8;
  Columns c{normal_matrix(n, d, Rng(5, 1)), vec(n), {}};
  Rng rng(5, 2);
  for (uword i = 0; i < n; ++i) {
    const bool left = rng.uniform() < 1 / (1 + std::exp(-4 * c.x(i, 0)));
    c.y[i] = (left ? 3 + 2 * c.x(i, 1) : -3 - 2 * c.x(i, 1)) + rng.normal();
  }
  const Rows rows = to_rows(c);
  const double lasso = 260;
  const Model model = fit(rows.schema, rows.source, penalised(lasso, 2));
  const Mixture& m = model.members.front();
  REQUIRE(m.count() == 2);
  const Posterior post = posterior_of(model, rows.source);
  for (uword k = 0; k < 2; ++k) {
    CAPTURE(k);
    const mat w = m.experts->coefficients(k);
    const vec residual = post.batch.target - post.batch.expert * w.col(0);
    const double variance = m.experts->noise(k) * m.experts->noise(k);
    check_conditions(w, post.batch.expert.t() * (post.responsibility.col(k) % residual) / variance, lasso,
                     1e-2);
    CHECK(w(2, 0) != 0);
    for (uword j = 3; j <= d; ++j) CHECK(w(j, 0) == 0);
  }
  const mat theta = centred(m.gate->coefficients());
  check_conditions(theta, post.batch.gate_features().t() * (post.responsibility - post.gate), lasso, 1e-2);
  CHECK(theta(1, 0) != 0);
  for (uword j = 2; j <= d; ++j) CHECK(arma::norm(theta.row(j)) == 0);
}

TEST_CASE("a lasso of zero changes nothing, a tiny one hardly anything") {
  const Rows rows = to_rows(piecewise(300, 3, 2, 6));
  for (const double ridge : {0.0, -1.0, 5.0}) {
    CAPTURE(ridge);
    const Model plain = fit(rows.schema, rows.source, options(2, ridge, 3));
    FitOptions o = options(2, ridge, 3);
    o.lasso = 0;
    CHECK(same_bits(numbers(fit(rows.schema, rows.source, o).members[0]), numbers(plain.members[0])));
    if (ridge < 0) continue;  // the common vector of the evidence is gone with any lasso
    o.lasso = 1e-7;
    CHECK(fit(rows.schema, rows.source, o).provenance.log_likelihood ==
          doctest::Approx(plain.provenance.log_likelihood).epsilon(1e-5));
  }
}

TEST_CASE("a lasso under the evidence has zeros too, and no worse a fit of what matters") {
  const Rows rows = to_rows(sparse(400, 8, 1.0, 7));
  FitOptions o = options(1, -1, 3);
  o.lasso = 80;
  const Model model = fit(rows.schema, rows.source, o);
  const vec w = model.members[0].experts->coefficients(0).col(0) * rows.schema.target.sd;
  CHECK(zeros(w) >= 4);
  CHECK(w[1] == doctest::Approx(2).epsilon(0.2));
  CHECK(w[2] == doctest::Approx(-1).epsilon(0.3));
}

TEST_CASE("a negative lasso is refused") {
  const Rows rows = to_rows(sparse(50, 2, 1.0, 8));
  for (const double wrong : {-1.0, arma::datum::nan, arma::datum::inf})
    CHECK_THROWS_WITH(fit(rows.schema, rows.source, penalised(wrong)), doctest::Contains("--lasso"));
}
