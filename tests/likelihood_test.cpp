#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "fit_helpers.hpp"
#include "moekit/csv.hpp"
#include "reference/naive_mixture.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

struct Case {
  const char* key;  ///< in best_params.json, before "_K"
  const char* file;
  const char* target;
  std::vector<std::string> inputs;  ///< empty: all
};

const Case kCases[] = {
    {"mcycle", "mcycle.csv", "accel", {"times"}},
    {"tone", "tonedata.csv", "tuned", {"stretchratio"}},
    {"faithful", "faithful.csv", "waiting", {"eruptions"}},
    {"npreg", "npreg.csv", "yn", {"x"}},
    {"boston_lstat", "boston.csv", "medv", {"lstat"}},
    {"boston13", "boston.csv", "medv", {}},
};

mat matrix_of(const nlohmann::json& rows) {
  mat m(rows.size(), rows[0].size());
  for (uword i = 0; i < m.n_rows; ++i)
    for (uword j = 0; j < m.n_cols; ++j) m(i, j) = rows[i][j].get<double>();
  return m;
}

}  // namespace

TEST_CASE("the log-likelihood of every reference solution is reproduced to 1e-6") {
  std::ifstream file(MOEKIT_TEST_DATA "/reference/best_params.json");
  const nlohmann::json all = nlohmann::json::parse(file);
  int seen = 0;
  for (const Case& c : kCases) {
    ReadOptions options;
    options.target = c.target;
    options.task = Task::regression;
    const Table table = read_table(std::string(MOEKIT_DATA "/") + c.file, options);
    const Basis basis = linear_basis(table.schema, c.inputs, false);
    for (const int k : {2, 3, 4}) {
      const auto solution = all.find(std::string(c.key) + "_K" + std::to_string(k));
      if (solution == all.end()) continue;
      CAPTURE(solution.key());
      const vec sigma(solution->at("sigma").get<std::vector<double>>());
      const Model model =
          place(table.schema, basis, matrix_of(solution->at("W")), sigma, matrix_of(solution->at("V")));
      const double expected = solution->at("ll").get<double>();
      CHECK(std::abs(log_likelihood(model, table.source) - expected) <= 1e-6);
      CHECK(std::abs(log_likelihood(model, table.source, {1}) - expected) <= 1e-6);
      ++seen;
    }
  }
  CHECK(seen == 18);
}

TEST_CASE("log-likelihood: weights, units of the target and the naive sum agree") {
  Columns c = piecewise(2500, 2, 2, 5);
  c.y = 1000 + 250 * c.y;
  Rng rng(5, 5);
  c.weight.set_size(c.y.n_elem);
  for (double& w : c.weight) w = static_cast<double>(rng.below(5)) / 2;
  const Rows rows = to_rows(c);
  const mat w = {{900, 1100}, {300, -200}, {10, 50}}, v = {{0.5, 0}, {2, 0}, {-1, 0}};
  const vec sigma = {150, 300};
  const Model model = place(rows.schema, linear_basis(rows.schema, {}, true), w, sigma, v);
  naive::Parameters p{v, {w.col(0), w.col(1)}, sigma};
  const mat x = arma::join_rows(vec(c.y.n_elem, arma::fill::ones), c.x);
  const double right = naive::log_likelihood(p, {x, x, c.y, c.weight});
  CHECK(log_likelihood(model, rows.source) == doctest::Approx(right).epsilon(1e-12));
  for (const int threads : {1, 2, 5})
    CHECK(log_likelihood(model, rows.source, {threads}) == log_likelihood(model, rows.source, {1}));
}

TEST_CASE("log-likelihood: rows far from every expert keep a finite log density") {
  const Rows rows = to_rows(piecewise(200, 1, 2, 6));
  const Model model = place(rows.schema, linear_basis(rows.schema, {}, true), {{0, 1}, {1, -1}}, {1e-3, 1e-3},
                            {{0, 0}, {500, 0}});
  Columns far = piecewise(200, 1, 2, 6);
  far.y += 1e6;
  const double value = log_likelihood(model, to_source(far));
  CHECK(std::isfinite(value));
  CHECK(value < -1e15);
}
