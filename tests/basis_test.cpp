#include "moekit/basis.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "fit_helpers.hpp"
#include "moekit/error.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

/// Two numeric inputs (the second with holes), a category with a level that no row has, weights.
Columns mixed(uword n, bool weights, bool holes) {
  Columns c{normal_matrix(n, 2, Rng(1, 1)), normal_matrix(n, 1, Rng(1, 2)).col(0), {}};
  c.x.col(0) = 40 + 3 * c.x.col(0);
  c.levels.set_size(n, 1);
  c.level_count = {4};
  Rng rng(1, 3);
  for (uword i = 0; i < n; ++i) {
    const std::uint64_t code = rng.below(6);
    c.levels(i, 0) = code < 3 ? 1 : (code == 3 ? 0 : (code == 4 || !holes ? 2 : 4));
    if (holes && rng.uniform() < 0.2) c.x(i, 1) = kNan;
  }
  if (weights) {
    c.weight.set_size(n);
    for (double& w : c.weight) w = static_cast<double>(rng.below(4)) * 0.5;
  }
  return c;
}

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

std::vector<std::string> names(const Basis& basis, const Schema& schema) {
  std::vector<std::string> out;
  for (uword j = 0; j < basis.size(); ++j) out.push_back(basis.name(schema, j));
  return out;
}

}  // namespace

TEST_CASE("names and order: intercept, values, what is missing, levels") {
  const Rows rows = to_rows(mixed(300, false, true));
  using Names = std::vector<std::string>;
  CHECK(names(linear_basis(rows.schema, {}, true), rows.schema) ==
        Names{"intercept", "x1", "x2", "x2 is missing", "c1 = level0", "c1 = level1", "c1 = level2",
              "c1 is missing"});
  // Without all levels the most frequent one has no feature.
  CHECK(names(linear_basis(rows.schema, {}, false), rows.schema) ==
        Names{"intercept", "x1", "x2", "x2 is missing", "c1 = level0", "c1 = level2", "c1 is missing"});
  CHECK(names(linear_basis(rows.schema, {"x2"}, true), rows.schema) ==
        Names{"intercept", "x2", "x2 is missing"});
}

TEST_CASE("every feature but the intercept has weighted mean 0; values have variance 1") {
  for (const bool weights : {false, true})
    for (const bool holes : {false, true}) {
      const Columns c = mixed(2500, weights, holes);
      const Rows rows = to_rows(c);
      const mat x = all_features(linear_basis(rows.schema, {}, true), rows);
      const vec w = weights ? c.weight : vec(c.y.n_elem, arma::fill::ones);
      const vec mean = x.t() * w / arma::accu(w);
      CHECK(mean[0] == doctest::Approx(1).epsilon(1e-14));
      CHECK(arma::abs(mean.tail(x.n_cols - 1)).max() <= 1e-13);
      CHECK(arma::dot(w, arma::square(x.col(1))) / arma::accu(w) == doctest::Approx(1).epsilon(1e-12));
    }
}

TEST_CASE("a value that is not known adds nothing; its indicator says so") {
  const Columns c = mixed(300, false, true);
  const Rows rows = to_rows(c);
  const Basis basis = linear_basis(rows.schema, {}, true);
  const mat x = all_features(basis, rows);
  const Column& x2 = rows.schema.inputs[1];
  for (uword i = 0; i < x.n_rows; ++i) {
    const bool missing = std::isnan(c.x(i, 1));
    CHECK(x(i, 2) == (missing ? 0.0 : (c.x(i, 1) - x2.mean) * (1 / x2.sd)));
    CHECK(x(i, 3) == (missing ? 1.0 : 0.0) - x2.missing);
  }
}

TEST_CASE("a level that training never saw counts as the average row; a missing one has its own effect") {
  for (const bool holes : {false, true}) {
    const Rows rows = to_rows(mixed(300, false, holes));
    const Basis basis = linear_basis(rows.schema, {"c1"}, true);
    BlockData block;
    block.rows = 1;
    block.numeric = {0, 0};
    block.levels = {4};  // missing or new
    mat x;
    basis.features(rows.schema, block.view(), x);
    if (holes) {
      CHECK(x(0, basis.size() - 1) == 1 - rows.schema.inputs[2].missing);
    } else {
      CHECK(arma::abs(x.tail_cols(basis.size() - 1)).max() == 0);
    }
  }
}

TEST_CASE("inputs without spread are left out") {
  Columns c{mat(50, 5), normal_matrix(50, 1, Rng(4, 2)).col(0), {}};
  c.x.col(0).fill(3.7);
  c.x.col(1) = 1e9 + arma::regspace(1, 50);                      // spread beside a large offset
  c.x.col(2).fill(kNan);                                         // never there
  c.x.col(3) = normal_matrix(50, 1, Rng(4, 3)).col(0) * 1e-300;  // spread at a tiny scale
  c.x.col(4) = normal_matrix(50, 1, Rng(4, 4)).col(0) * 1e300;   // and at a large one
  c.levels.ones(50, 1);
  c.level_count = {3};
  const Rows rows = to_rows(c);
  CHECK(names(linear_basis(rows.schema, {}, true), rows.schema) ==
        std::vector<std::string>{"intercept", "x2", "x4", "x5"});
  const mat x = all_features(linear_basis(rows.schema, {}, true), rows);
  CHECK(x.is_finite());
  for (uword j = 1; j < 4; ++j)
    CHECK(arma::mean(arma::square(x.col(j))) == doctest::Approx(1).epsilon(1e-10));
}

TEST_CASE("rows far outside the training range stay finite") {
  const Rows rows = to_rows(mixed(100, false, false));
  const Basis basis = linear_basis(rows.schema, {"x1"}, true);
  BlockData block;
  block.rows = 3;
  block.numeric = {1e308, -1e308, 40, 0, 0, 0};
  block.levels = {0, 0, 0};
  mat x;
  basis.features(rows.schema, block.view(), x);
  CHECK(x.is_finite());
  CHECK((x * x.t()).is_finite());
  CHECK(x(0, 1) > 1e50);
  CHECK(x(1, 1) < -1e50);
}

TEST_CASE("coefficients in the units of the inputs give the same predictions") {
  const Columns c = mixed(200, false, false);
  const Rows rows = to_rows(c);
  const Basis basis = linear_basis(rows.schema, {"x1", "x2"}, true);
  const vec w = {0.3, -1.2, 2.5};
  const vec raw = basis.in_input_units(w);
  const vec direct = raw[0] + c.x * raw.tail(2);
  CHECK(arma::abs(direct - all_features(basis, rows) * w).max() <= 1e-12 * arma::abs(raw).max() * 60);
  CHECK(arma::abs(on_features(basis, raw) - w).max() <= 1e-13);
}

TEST_CASE("a column that does not exist is refused with the nearest name") {
  const Rows rows = to_rows(mixed(50, false, false));
  try {
    linear_basis(rows.schema, {"x1", "xx2"}, true);
    FAIL("an unknown column was taken");
  } catch (const Error& e) {
    CHECK(e.code() == Errc::usage);
    CHECK(std::string(e.what()).find("'xx2'") != std::string::npos);
    CHECK(std::string(e.what()).find("did you mean") != std::string::npos);
  }
}
