// Bases that bend: features, names, knots, units, and what additive experts recover.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fit_helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

mat all_features(const Basis& basis, const Rows& rows) {
  mat out(rows.source.rows(), basis.size()), part;
  BlockData buffer;
  for (std::size_t b = 0; b < rows.source.blocks(); ++b) {
    const Block block = rows.source.read(b, buffer);
    basis.features(rows.schema, block, part);
    out.rows(block.first, block.first + block.rows - 1) = part;
  }
  return out;
}

Basis basis_of(const std::string& kind, const Rows& rows, std::uint32_t bins = 0,
               const std::vector<std::string>& columns = {}) {
  BasisKind parsed = parse_basis(kind);
  parsed.bins = bins;
  return make_basis(parsed, rows.schema, rows.source, columns, true);
}

/// Two inputs far from zero and of different spread.
Columns table(uword n, std::uint64_t seed) {
  Columns c{normal_matrix(n, 2, Rng(seed, 1)), normal_matrix(n, 1, Rng(seed, 2)).col(0), {}};
  c.x.col(0) = 40 + 3 * c.x.col(0);
  c.x.col(1) = -0.02 * c.x.col(1);
  return c;
}

/// y = curve(x1) + noise, x1 uniform in -3 .. 3; x2 has no effect.
template <class Curve>
Columns curved(uword n, std::uint64_t seed, double noise, const Curve& curve) {
  Columns c{normal_matrix(n, 2, Rng(seed, 1)), vec(n), {}};
  Rng rng(seed, 2);
  for (uword i = 0; i < n; ++i) {
    c.x(i, 0) = 6 * rng.uniform() - 3;
    c.y[i] = curve(c.x(i, 0)) + noise * rng.normal();
  }
  return c;
}

Model fitted(const Rows& rows, const std::string& expert, std::uint32_t bins = 0) {
  FitOptions o = options(1, -1, 4);
  o.expert_basis = parse_basis(expert);
  o.expert_basis.bins = bins;
  return fit(rows.schema, rows.source, o);
}

std::string refusal(const std::string& text) {
  try {
    parse_basis(text);
  } catch (const Error& e) {
    CHECK(e.code() == Errc::usage);
    return e.what();
  }
  return {};
}

}  // namespace

TEST_CASE("parse_basis: what it takes, and what it says of anything else") {
  using Form = BasisKind::Form;
  CHECK(parse_basis("constant").form == Form::constant);
  CHECK(parse_basis("linear").form == Form::linear);
  CHECK(parse_basis("additive").form == Form::additive);
  CHECK(parse_basis("ramps").form == Form::ramps);
  for (std::uint32_t d = 2; d <= kMostDegree; ++d)
    CHECK(parse_basis("poly:" + std::to_string(d)) == BasisKind{Form::polynomial, d});
  for (const char* wrong : {"", "Linear", "poly", "poly:", "poly:1", "poly:10", "poly:2x", "poly:-2",
                            "poly: 2", "poly:2.5", "additive:3", "spline", "poly:99999999999"}) {
    CAPTURE(wrong);
    const std::string text = refusal(wrong);
    CHECK(text.find("'" + std::string(wrong) + "'") != std::string::npos);
    CHECK(text.find("poly:P") != std::string::npos);
    CHECK(text.find("additive") != std::string::npos);
    CHECK(text.find("ramps") != std::string::npos);
  }
}

TEST_CASE("hinges and powers are plain formulas, with mean zero") {
  const Rows rows = to_rows(table(700, 1));
  const mat x = table(700, 1).x;
  for (const std::string kind : {"additive", "poly:2", "poly:5"}) {
    CAPTURE(kind);
    const Basis basis = basis_of(kind, rows);
    const mat got = all_features(basis, rows);
    uword bent = 0;
    for (uword j = 0; j < basis.size(); ++j) {
      const Term& t = basis.terms()[j];
      if (!bends(t)) continue;
      ++bent;
      vec plain(700);
      for (uword i = 0; i < 700; ++i) {
        const double u = (x(i, t.column) - t.knot) / t.width;
        plain[i] = t.kind == Term::Kind::hinge ? std::max(0.0, u) : std::pow(u, t.degree);
      }
      CHECK(t.center == doctest::Approx(arma::mean(plain)).epsilon(1e-10));
      CHECK(arma::abs(got.col(j) - (plain - t.center) / t.scale).max() <= 1e-9);
      CHECK(t.width == rows.schema.inputs[t.column].sd);
      if (t.kind == Term::Kind::power) {
        CHECK(t.knot == rows.schema.inputs[t.column].mean);
        CHECK(arma::mean(arma::square(got.col(j))) == doctest::Approx(1).epsilon(1e-9));
      }
    }
    CHECK(bent == (kind == "additive" ? basis.size() - 3 : kind == "poly:2" ? 2 : 8));
  }
  CHECK(basis_of("linear", rows) == linear_basis(rows.schema, {}, true));
  CHECK(basis_of("constant", rows).size() == 1);
  CHECK(basis_of("additive", rows, 5).size() == 3 + 2 * 4);
}

TEST_CASE("ramps are plain formulas, standardised, and add up to the way from the first knot to the last") {
  const Rows rows = to_rows(table(700, 1));
  const mat x = table(700, 1).x;
  const Basis basis = basis_of("ramps", rows, 6);
  const mat got = all_features(basis, rows);
  REQUIRE(basis.size() == 3 + 2 * 6);
  mat sum(700, 2, arma::fill::zeros);
  for (uword j = 3; j < basis.size(); ++j) {
    const Term& t = basis.terms()[j];
    REQUIRE(t.kind == Term::Kind::ramp);
    vec plain(700);
    for (uword i = 0; i < 700; ++i) {
      const double value = x(i, t.column), end = t.knot + t.width;
      plain[i] = value <= t.knot ? 0 : value >= end ? 1 : (value - t.knot) / (end - t.knot);
    }
    CHECK(arma::abs(got.col(j) - (plain - arma::mean(plain)) / arma::stddev(plain, 1)).max() <= 1e-9);
    sum.col(t.column) += t.width * plain;
  }
  for (uword c = 0; c < 2; ++c)
    CHECK(arma::abs(sum.col(c) - (x.col(c) - x.col(c).min())).max() <= 1e-9 * arma::abs(x.col(c)).max());
  // Coefficients in the units of the inputs say the same of a row.
  const vec w = normal_matrix(basis.size(), 1, Rng(3, 3)).col(0), unit = basis.in_input_units(w);
  for (uword i = 0; i < 700; i += 50) {
    double direct = unit[0] + unit[1] * x(i, 0) + unit[2] * x(i, 1);
    for (uword j = 3; j < basis.size(); ++j) {
      const Term& t = basis.terms()[j];
      direct += unit[j] * std::clamp((x(i, t.column) - t.knot) / t.width, 0.0, 1.0);
    }
    CHECK(direct == doctest::Approx(arma::dot(got.row(i), w)).epsilon(1e-9));
  }
}

TEST_CASE("a model of ramps comes back from its file") {
  const Rows rows = to_rows(curved(300, 5, 0.1, [](double v) { return std::floor(v); }));
  const Model model = fitted(rows, "ramps", 8);
  const Model again = parse_model(model_text(model), "test");
  CHECK(again.members.front().expert_basis == model.members.front().expert_basis);
  CHECK(log_likelihood(again, rows.source) == log_likelihood(model, rows.source));
}

TEST_CASE("names of powers and hinges") {
  Rows rows = to_rows(table(50, 2));
  const auto name = [&](Term::Kind kind, double knot, std::uint32_t degree) {
    Term t{kind, 0, 0, 0, 1};
    t.knot = knot;
    t.degree = degree;
    return Basis({Term{}, t}).name(rows.schema, 1);
  };
  rows.schema.inputs[0].name = "x";
  CHECK(name(Term::Kind::hinge, 3, 1) == "max(0, x - 3)");
  CHECK(name(Term::Kind::hinge, -2.5, 1) == "max(0, x + 2.5)");
  CHECK(name(Term::Kind::hinge, 0, 1) == "max(0, x - 0)");
  CHECK(name(Term::Kind::ramp, 3, 1) == "ramp(x, 3 to 4)");
  CHECK(name(Term::Kind::power, 2, 2) == "(x - 2)^2");
  CHECK(name(Term::Kind::power, -1234567, 9) == "(x + 1.23457e+06)^9");
}

TEST_CASE("groups: linear terms, then each category, each curve") {
  Columns c = table(200, 3);
  c.levels.set_size(200, 1);
  c.level_count = {2};
  for (uword i = 0; i < 200; ++i) c.levels(i, 0) = i % 2;
  const Rows rows = to_rows(c);
  CHECK(basis_of("linear", rows).groups() == std::vector<uword>{0, 1, 1, 2, 2});
  CHECK(basis_of("poly:3", rows).groups() == std::vector<uword>{0, 1, 1, 2, 2, 3, 3, 4, 4});
  CHECK(basis_of("additive", rows, 3).groups() == std::vector<uword>{0, 1, 1, 2, 2, 3, 3, 4, 4});
  CHECK(basis_of("poly:2", rows, 0, {"x2"}).groups() == std::vector<uword>{0, 1, 2});
  CHECK(basis_of("linear", rows, 0, {"c1"}).groups() == std::vector<uword>{0, 1, 1});
  CHECK(Basis().groups() == std::vector<uword>{0});
}

TEST_CASE("coefficients in the units of the inputs give the same predictions from raw values") {
  const Columns c = table(300, 4);
  const Rows rows = to_rows(c);
  for (const std::string kind : {"linear", "poly:4", "additive"}) {
    CAPTURE(kind);
    const Basis basis = basis_of(kind, rows);
    const vec w = normal_matrix(basis.size(), 1, Rng(4, 5)).col(0), raw = basis.in_input_units(w);
    const vec got = all_features(basis, rows) * w;
    vec direct(300);
    direct.fill(raw[0]);
    for (uword j = 1; j < basis.size(); ++j) {
      const Term& t = basis.terms()[j];
      for (uword i = 0; i < 300; ++i) {
        const double x = c.x(i, t.column), u = x - t.knot;
        direct[i] += raw[j] * (t.kind == Term::Kind::hinge   ? std::max(0.0, u)
                               : t.kind == Term::Kind::power ? std::pow(u, t.degree)
                                                             : x);
      }
    }
    CHECK(arma::abs(direct - got).max() <= 1e-9 * (1 + arma::abs(got).max()));
  }
}

TEST_CASE("a value that is not known counts as the average, and far ones stay finite") {
  Columns c = table(400, 5);
  for (uword i = 0; i < 400; i += 7) c.x(i, 0) = kNan;
  const Rows rows = to_rows(c);
  for (const std::string kind : {"poly:9", "additive"}) {
    CAPTURE(kind);
    const Basis basis = basis_of(kind, rows);
    const mat x = all_features(basis, rows);
    CHECK(x.is_finite());
    for (uword j = 1; j < basis.size(); ++j) {
      const Term& t = basis.terms()[j];
      CHECK(std::abs(arma::mean(x.col(j))) <= 1e-9);
      if (t.column == 0 && t.kind != Term::Kind::missing) CHECK(x(0, j) == 0);
    }
    BlockData block;
    block.rows = 2;
    block.numeric = {1e308, -1e308, -1e308, 1e308};
    mat far;
    basis.features(rows.schema, block.view(), far);
    CHECK(far.is_finite());
    CHECK((far * far.t()).is_finite());
  }
}

TEST_CASE("knots are inner values of the rows, each once") {
  Columns c = table(1000, 6);
  Rng rng(6, 3);
  for (uword i = 0; i < 1000; ++i) c.x(i, 1) = static_cast<double>(rng.below(4)) * 2;  // 0 2 4 6
  const Rows rows = to_rows(c);
  for (const std::uint32_t bins : {0u, 2u, 4u, 12u, 40u}) {
    CAPTURE(bins);
    const Basis basis = basis_of("additive", rows, bins);
    for (const std::uint32_t column : {0u, 1u}) {
      const vec values = arma::sort(c.x.col(column));
      std::vector<double> knots;
      for (const Term& t : basis.terms())
        if (t.kind == Term::Kind::hinge && t.column == column) knots.push_back(t.knot);
      REQUIRE(!knots.empty());
      CHECK(std::is_sorted(knots.begin(), knots.end()));
      CHECK(std::adjacent_find(knots.begin(), knots.end()) == knots.end());
      for (const double knot : knots) {
        CHECK(knot > values.front());
        CHECK(knot < values.back());
        CHECK(arma::any(values == knot));
      }
      if (column == 0 && bins > 0) CHECK(knots.size() == bins - 1);
      if (column == 1 && bins >= 4) CHECK(knots == std::vector<double>{2, 4});
    }
  }
  // Two values leave no inner one; powers of them are the linear term again.
  for (uword i = 0; i < 1000; ++i) c.x(i, 1) = static_cast<double>(i % 2);
  const Rows two = to_rows(c);
  const Basis curves = basis_of("additive", two);
  for (const Term& t : curves.terms()) CHECK_FALSE((t.kind == Term::Kind::hinge && t.column == 1));
}

TEST_CASE("additive: one expert recovers a curve that a line cannot") {
  const auto curve = [](double x) { return 2 * std::sin(1.3 * x); };
  const Rows rows = to_rows(curved(600, 7, 0.3, curve)), fresh = to_rows(curved(2000, 8, 0.3, curve));
  const Model line = fitted(rows, "linear"), bent = fitted(rows, "additive"), power = fitted(rows, "poly:7");
  CHECK(log_likelihood(bent, fresh.source) > log_likelihood(line, fresh.source) + 1000);
  CHECK(log_likelihood(power, fresh.source) > log_likelihood(line, fresh.source) + 1000);
  const mat x = curved(2000, 8, 0.3, curve).x;
  vec truth(2000);
  for (uword i = 0; i < 2000; ++i) truth[i] = curve(x(i, 0));
  const auto rmse = [&](const Model& m) {
    return std::sqrt(arma::mean(arma::square(predictions(m, fresh.source).col(0) - truth)));
  };
  CHECK(rmse(line) > 0.8);
  CHECK(rmse(bent) < 0.16);  // five pieces cannot do better by much
  CHECK(rmse(fitted(rows, "additive", 12)) < 0.12);
  CHECK(rmse(power) < 0.12);
}

TEST_CASE("additive: what is linear stays so, at little cost") {
  const auto line = [](double x) { return 1 + 0.8 * x; };
  for (const uword n : {150, 600}) {
    CAPTURE(n);
    const Rows rows = to_rows(curved(n, 9, 0.7, line)), fresh = to_rows(curved(4000, 10, 0.7, line));
    const double plain = log_likelihood(fitted(rows, "linear"), fresh.source) / 4000;
    CHECK(log_likelihood(fitted(rows, "additive"), fresh.source) / 4000 >= plain - 0.02);
    CHECK(log_likelihood(fitted(rows, "poly:3"), fresh.source) / 4000 >= plain - 0.02);
  }
}

TEST_CASE("a constant expert is the average of its region") {
  const Columns c = table(200, 11);
  const Rows rows = to_rows(c);
  const Model model = fitted(rows, "constant");
  CHECK(model.members.front().expert_basis.size() == 1);
  CHECK(arma::abs(predictions(model, rows.source) - arma::mean(c.y)).max() <= 1e-6);
}

TEST_CASE("a gate on curves: a band between two thresholds is one region") {
  Columns c = curved(900, 12, 0.2, [](double x) { return std::abs(x) < 1.2 ? 3.0 + x : -x; });
  const Rows rows = to_rows(c);
  FitOptions o = options(2, -1, 6);
  const Model plain = fit(rows.schema, rows.source, o);
  o.gate_basis = parse_basis("additive");
  const Model bent = fit(rows.schema, rows.source, o);
  CHECK(log_likelihood(bent, rows.source) > log_likelihood(plain, rows.source) + 100);
}

TEST_CASE("model files keep curved bases") {
  const Rows rows = to_rows(curved(300, 13, 0.4, [](double x) { return x * x; }));
  for (const std::string kind : {"additive", "poly:3"}) {
    FitOptions o = options(2, -1, 3);
    o.expert_basis = o.gate_basis = o.noise_basis = parse_basis(kind);
    const Model model = fit(rows.schema, rows.source, o);
    const Model again = parse_model(model_text(model), "test");
    CHECK(again.members.front().expert_basis == model.members.front().expert_basis);
    CHECK(again.members.front().gate_basis == model.members.front().gate_basis);
    CHECK(again.members.front().noise_basis == model.members.front().noise_basis);
    CHECK(log_likelihood(again, rows.source) == log_likelihood(model, rows.source));
    CHECK(model_text(again) == model_text(model));
  }
}
