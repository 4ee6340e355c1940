#include "linalg.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "fit_helpers.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();

mat positive_weights(uword n, uword k, std::uint64_t seed) {
  Rng rng(seed, 1);
  mat w(n, k);
  for (double& v : w) v = rng.uniform() < 0.2 ? 0.0 : rng.uniform();
  return w;
}

/// A well-conditioned positive definite matrix.
mat definite(uword p, std::uint64_t seed) {
  const mat x = normal_matrix(3 * p + 5, p, Rng(seed, 2));
  return x.t() * x;
}

}  // namespace

TEST_CASE("weighted Gram matrices equal plain loops and add to what is there") {
  for (const uword p : {1, 2, 5, 48, 60})
    for (const uword n : {1, 7, 84, 300}) {
      const uword k = 3;
      const mat x = normal_matrix(n, p, Rng(n, p)), w = positive_weights(n, k, n + p);
      mat got(packed_size(p), k);
      got.fill(2.5);
      add_weighted_grams(x, w, got.memptr());
      double worst = 0;
      for (uword e = 0; e < k; ++e)
        for (uword i = 0, c = 0; i < p; ++i)
          for (uword j = 0; j <= i; ++j, ++c) {
            double sum = 2.5, size = 2.5;
            for (uword r = 0; r < n; ++r) {
              sum += w(r, e) * x(r, i) * x(r, j);
              size += std::abs(w(r, e) * x(r, i) * x(r, j));
            }
            // Any order of n additions of terms rounded thrice stays within this.
            worst =
                std::max(worst, std::abs(got(c, e) - sum) / (size * kEps * static_cast<double>(2 * n + 6)));
          }
      CAPTURE(p);
      CAPTURE(n);
      CHECK(worst <= 1);
    }
}

TEST_CASE("no rows or no weights add nothing") {
  mat out(3, 1, arma::fill::ones);
  add_weighted_grams(mat(0, 2), mat(0, 1), out.memptr());
  add_weighted_grams(mat(4, 2, arma::fill::ones), mat(4, 0), out.memptr());
  add_weighted_grams(mat(4, 2, arma::fill::ones), mat(4, 1, arma::fill::zeros), out.memptr());
  CHECK(arma::all(arma::vectorise(out) == 1.0));
}

TEST_CASE("thin products equal Armadillo's") {
  const mat x = normal_matrix(150, 6, Rng(7, 1)), c = normal_matrix(6, 3, Rng(7, 2));
  const mat w = normal_matrix(150, 4, Rng(7, 3));
  mat out;
  predictors(x, c, out);
  CHECK(arma::approx_equal(out, mat(x * c), "absdiff", 1e-13));
  mat sums(6, 4, arma::fill::ones);
  add_products(x, w, sums.memptr());
  CHECK(arma::approx_equal(sums, mat(1 + x.t() * w), "absdiff", 1e-12));
}

TEST_CASE("unpack gives the full symmetric matrix") {
  const double packed[] = {1, 2, 3, 4, 5, 6};
  const mat expected = {{1, 2, 4}, {2, 3, 5}, {4, 5, 6}};
  CHECK(arma::approx_equal(unpack(packed, 3), expected, "absdiff", 0.0));
}

TEST_CASE("a definite matrix: solution, inverse and determinant") {
  for (const uword p : {1, 2, 6, 20}) {
    const mat a = definite(p, p);
    const vec truth = normal_matrix(p, 1, Rng(p, 3)).col(0);
    const SpdFactor factor(a);
    const double condition = arma::cond(a);
    const double loss = 100 * static_cast<double>(p) * kEps * condition;
    CHECK(factor.rank() == p);
    CHECK(arma::norm(factor.solve(a * truth) - truth) <= loss * arma::norm(truth));
    CHECK(arma::norm(factor.inverse() * a - arma::eye(p, p)) <= loss);
    double value = 0, sign = 0;
    arma::log_det(value, sign, a);
    CHECK(factor.log_determinant() == doctest::Approx(value).epsilon(1e-12 * condition));
  }
}

TEST_CASE("scaling rows and columns costs no digits") {
  const uword p = 4;
  const mat a = definite(p, 5);
  const vec truth = normal_matrix(p, 1, Rng(8, 3)).col(0);
  const vec scale = {1e-120, 1e60, 1.0, 1e-3};
  const mat scaled = arma::diagmat(scale) * a * arma::diagmat(scale);
  const SpdFactor factor(scaled);
  CHECK(factor.rank() == p);
  const vec solution = factor.solve(scale % (a * truth)) % scale;
  CHECK(arma::norm(solution - truth) <= 1e-12 * arma::cond(a) * arma::norm(truth));
  CHECK(factor.log_determinant() ==
        doctest::Approx(SpdFactor(a).log_determinant() + 2 * arma::accu(arma::log(scale))).epsilon(1e-12));
}

TEST_CASE("directions without information are left out of the solution") {
  SUBCASE("a feature twice: the solution still solves, and shares evenly") {
    mat x = normal_matrix(30, 3, Rng(1, 4));
    x.insert_cols(3, x.col(1));
    const mat a = x.t() * x;
    const vec b = x.t() * normal_matrix(30, 1, Rng(2, 4)).col(0);
    const SpdFactor factor(a);
    CHECK(factor.rank() == 3);
    const vec solution = factor.solve(b);
    CHECK(arma::norm(a * solution - b) <= 1e-9 * arma::norm(b));
    CHECK(solution[1] == doctest::Approx(solution[3]).epsilon(1e-9));
  }
  SUBCASE("an empty feature has the solution 0") {
    mat a = definite(3, 9);
    a.row(1).zeros();
    a.col(1).zeros();
    const SpdFactor factor(a);
    CHECK(factor.rank() == 2);
    const vec solution = factor.solve({1, 0, 2});
    CHECK(solution[1] == 0);
    CHECK(arma::norm(a * solution - vec{1, 0, 2}) <= 1e-10);
    CHECK(factor.inverse().is_finite());
  }
  SUBCASE("nothing at all") {
    const SpdFactor factor(mat(3, 3, arma::fill::zeros));
    CHECK(factor.rank() == 0);
    CHECK(arma::norm(factor.solve({1, 2, 3})) == 0);
    CHECK(factor.inverse().is_finite());
    CHECK(std::isfinite(factor.log_determinant()));
  }
  SUBCASE("fewer rows than features") {
    const mat x = normal_matrix(3, 8, Rng(3, 4));
    const mat a = x.t() * x;
    const SpdFactor factor(a);
    CHECK(factor.rank() == 3);
    const vec y = {1, -2, 0.5};
    CHECK(arma::norm(x * factor.solve(x.t() * y) - y) <= 1e-8);
  }
}
