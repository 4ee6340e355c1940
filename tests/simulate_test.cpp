#include "moekit/simulate.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "moekit/error.hpp"

using namespace moekit;

namespace {

struct Drawn {
  mat x;
  vec y;
  arma::uvec region;
};

Drawn draw(Simulation& simulation, std::uint64_t first, uword n) {
  Drawn d;
  simulation.rows(first, n, d.x, d.y, d.region);
  return d;
}

/// ln p(y | x) by loops, from the parameters that the simulation shows.
double naive_log_density(const Simulation& s, const rowvec& x, double y) {
  const auto predictor = [&](const mat& w, uword c) {
    double sum = w(0, c);
    for (uword j = 0; j < x.n_elem; ++j) sum += x[j] * w(1 + j, c);
    return sum;
  };
  double numerator = 0, denominator = 0;
  for (uword k = 0; k < s.options.experts; ++k) {
    const double g = std::exp(predictor(s.gate, k));
    double f = 0;
    if (s.options.task == Task::classification) {
      double total = 1;
      for (uword c = 0; c + 1 < s.options.classes; ++c) total += std::exp(predictor(s.experts[k], c));
      const auto label = static_cast<uword>(y);
      f = (label + 1 < s.options.classes ? std::exp(predictor(s.experts[k], label)) : 1) / total;
    } else if (s.options.task == Task::count) {
      const double mean = std::exp(predictor(s.experts[k], 0));
      f = std::exp(y * std::log(mean) - mean - std::lgamma(y + 1));
    } else {
      const double z = (y - predictor(s.experts[k], 0)) / s.options.noise;
      f = std::exp(-0.5 * z * z) / s.options.noise / std::sqrt(2 * M_PI);
    }
    numerator += g * f, denominator += g;
  }
  return std::log(numerator / denominator);
}

}  // namespace

TEST_CASE("a row does not depend on how the rows are cut, and a seed gives other rows") {
  for (const Task task : {Task::regression, Task::classification, Task::count}) {
    SimulateOptions options;
    options.task = task, options.inputs = 3, options.classes = 3;
    Simulation whole(options), cut(options);
    const Drawn all = draw(whole, 0, 100), head = draw(cut, 0, 37), tail = draw(cut, 37, 63);
    CHECK(arma::approx_equal(all.x, arma::join_cols(head.x, tail.x), "absdiff", 0));
    CHECK(arma::approx_equal(all.y, arma::join_cols(head.y, tail.y), "absdiff", 0));
    CHECK(arma::all(all.region == arma::join_cols(head.region, tail.region)));
    CHECK(whole.log_likelihood == doctest::Approx(cut.log_likelihood).epsilon(1e-12));
    options.seed = 1;
    Simulation other(options);
    CHECK(draw(other, 0, 100).x(0, 0) != all.x(0, 0));
    CHECK(arma::any(arma::vectorise(other.gate) != arma::vectorise(whole.gate)));
  }
}

TEST_CASE("log_likelihood is that of the parameters shown") {
  for (const Task task : {Task::regression, Task::classification, Task::count}) {
    SimulateOptions options;
    options.task = task, options.classes = 3, options.experts = 4;
    Simulation simulation(options);
    const Drawn d = draw(simulation, 0, 200);
    double expected = 0;
    for (uword i = 0; i < 200; ++i) expected += naive_log_density(simulation, d.x.row(i), d.y[i]);
    CHECK(simulation.log_likelihood == doctest::Approx(expected).epsilon(1e-9));
    CHECK(d.region.max() < 4);
    CHECK(arma::accu(arma::abs(simulation.gate.col(3))) == 0);
    CHECK(simulation.experts.size() == 4);
    CHECK(simulation.experts[0].n_cols == (task == Task::classification ? 2 : 1));
  }
}

TEST_CASE("targets follow their expert") {
  SimulateOptions options;
  options.noise = 0.1;
  Simulation simulation(options);
  const Drawn d = draw(simulation, 0, 20'000);
  double squares = 0;
  for (uword i = 0; i < d.y.n_elem; ++i) {
    const mat& w = simulation.experts[d.region[i]];
    const double mean = w(0, 0) + d.x(i, 0) * w(1, 0) + d.x(i, 1) * w(2, 0);
    squares += std::pow((d.y[i] - mean) / options.noise, 2);
  }
  const double n = static_cast<double>(d.y.n_elem);
  CHECK(std::abs(squares / n - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(arma::mean(d.x.col(0))) < 4 / std::sqrt(n));
}

TEST_CASE("counts are whole, not negative, and have the mean of their expert") {
  SimulateOptions options;
  options.task = Task::count, options.experts = 1;
  Simulation simulation(options);
  const Drawn d = draw(simulation, 0, 20'000);
  CHECK(d.y.min() >= 0);
  CHECK(arma::all(d.y == arma::floor(d.y)));
  double expected = 0, variance = 0;
  const mat& w = simulation.experts[0];
  for (uword i = 0; i < d.y.n_elem; ++i) {
    const double mean = std::exp(w(0, 0) + d.x(i, 0) * w(1, 0) + d.x(i, 1) * w(2, 0));
    expected += mean, variance += mean;
  }
  CHECK(std::abs(arma::accu(d.y) - expected) < 4 * std::sqrt(variance));
}

TEST_CASE("options that make no sense are refused together") {
  SimulateOptions options;
  options.inputs = 0, options.experts = 0, options.noise = 0;
  try {
    Simulation simulation(options);
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.code() == Errc::usage);
    const std::string message = e.what();
    CHECK(message.find("input") != std::string::npos);
    CHECK(message.find("expert") != std::string::npos);
    CHECK(message.find("noise") != std::string::npos);
  }
}
