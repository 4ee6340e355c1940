// The CRPS of families without a closed form against slow sums of (F - 1[y <= t])^2.
#include "integrated_crps.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "helpers.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/predict.hpp"
#include "scores.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

/// location: of families behind a log link the logarithm of the mean. Units of the target.
struct Expert {
  double weight = 1, location = 0, scale = 1, shape = 1;
};

/// The same mixture whatever the inputs are.
Model mixture(const std::string& family, const std::vector<Expert>& experts, std::size_t members = 1) {
  Model model;
  const Task task = family_traits(family).task;
  model.schema = test_schema(1, false, task);
  model.schema.target.mean = 0, model.schema.target.sd = 1;
  model.family = family, model.gate_family = "softmax";
  const Term x{Term::Kind::numeric, 0, 0, 0, 1};
  const uword k = experts.size() / members;
  for (std::size_t m = 0; m < members; ++m) {
    Mixture member;
    member.gate_basis = member.expert_basis = Basis({Term{}});
    // Normal experts whose noise varies are integrated as other families are.
    member.noise_basis = family == "gaussian" ? Basis({Term{}, x}) : Basis({Term{}});
    member.gate = Value<GateFamily>(make_gate("softmax", {k, {0}}));
    member.experts = Value<ExpertFamily>(make_experts(family, {k, {0}, member.noise_basis.groups(), 0}));
    mat theta(1, k);
    for (uword j = 0; j < k; ++j) {
      const Expert& e = experts[m * k + j];
      theta[j] = std::log(e.weight);
      for (Field& f : member.experts->fields(j)) {
        if (f.name == "coefficients") f.values[0] = e.location;
        if (f.name == "log_scale") f.values[0] = std::log(e.scale);
        if (f.name == "shape") f.values[0] = e.shape;
      }
    }
    set_gate(*member.gate, theta);
    member.share.assign(k, 1.0 / static_cast<double>(k));
    model.members.push_back(std::move(member));
  }
  return model;
}

BlockData rows_of(std::size_t n) {
  BlockData rows;
  rows.rows = n;
  rows.numeric.assign(n, 0.0);
  return rows;
}

/// F at each of these numbers.
vec distribution(const Model& model, const vec& at) {
  return standard_cumulative(model, rows_of(at.n_elem).view(), at);
}

/// All at once: of the same mixture at several y.
vec fast(const Model& model, const vec& y) {
  const BlockData rows = rows_of(y.n_elem);
  return integrated_crps(model, rows.view(), components(model, rows.view()), y);
}

/// Simpson's rule between points that lie close together around every component and 0, and farther and
/// farther apart up to a million standard deviations.
double slow_integral(const Model& model, double y) {
  const BlockData row = rows_of(1);
  const Components c = components(model, row.view());
  std::vector<double> at{y};
  const auto around = [&](double centre, double unit) {
    for (const double side : {-1.0, 1.0}) {
      for (double z = 0; z < 10; z += 0.005) at.push_back(centre + side * unit * z);
      for (double z = 10; z < 1e6; z *= 1.002) at.push_back(centre + side * unit * z);
    }
  };
  for (uword k = 0; k < c.mean.n_elem; ++k) around(c.mean[k], c.sd[k]);
  for (double z = 1e-12; z < 1; z *= 1.005) at.push_back(z);
  around(y, arma::mean(arma::vectorise(c.sd)));
  std::sort(at.begin(), at.end());
  const vec ends(at), middles = 0.5 * (ends.head(at.size() - 1) + ends.tail(at.size() - 1));
  const vec f = distribution(model, ends), g = distribution(model, middles);
  double sum = 0;
  for (uword i = 0; i + 1 < ends.n_elem; ++i) {
    const double step = ends[i] >= y ? 1 : 0;
    const auto square = [&](double below) { return (below - step) * (below - step); };
    sum += (ends[i + 1] - ends[i]) / 6 * (square(f[i]) + 4 * square(g[i]) + square(f[i + 1]));
  }
  return sum;
}

/// The sum over whole numbers up to `last`, one by one.
double slow_sum(const Model& model, double y, double last) {
  const vec at = arma::regspace(0, last), f = distribution(model, at);
  double sum = 0;
  for (uword i = 0; i < at.n_elem; ++i) {
    const double gap = f[i] - (at[i] >= y ? 1 : 0);
    sum += gap * gap;
  }
  return sum;
}

/// Relative to the score.
void check_integral(const Model& model, const vec& y) {
  const vec found = fast(model, y);
  for (uword i = 0; i < y.n_elem; ++i) {
    CAPTURE(y[i]);
    CHECK(std::abs(found[i] / slow_integral(model, y[i]) - 1) <= 1e-6);
  }
}

void check_sum(const Model& model, const vec& y, double last) {
  const vec found = fast(model, y);
  for (uword i = 0; i < y.n_elem; ++i) {
    CAPTURE(y[i]);
    CHECK(std::abs(found[i] / slow_sum(model, y[i], last) - 1) <= 1e-6);
  }
}

}  // namespace

TEST_CASE("the CRPS by integration is the closed form of normal mixtures, wide and narrow, near and far") {
  const std::vector<std::vector<Expert>> cases{{{1, 0.3, 0.7}},
                                               {{0.5, 0, 1}, {0.5, 0.1, 1.1}},
                                               {{0.999, 0, 1}, {0.001, 40, 0.01}},
                                               {{0.3, -50, 1e-4}, {0.3, 0.001, 1e-6}, {0.4, 90, 30}},
                                               {{1 - 1e-9, 0, 0.1}, {1e-9, 1e6, 10}}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Model model = mixture("gaussian", cases[i]);
    const Components c = components(model, rows_of(1).view());
    const vec y{0, 0.0011, -0.4, 1, 12, 90, -3000};
    const vec found = fast(model, y);
    for (uword j = 0; j < y.n_elem; ++j) {
      CAPTURE(i);
      CAPTURE(y[j]);
      CHECK(std::abs(found[j] / crps_gaussian_mixture(y[j], c.weight, c.mean, c.sd) - 1) <= 1e-6);
    }
  }
}

TEST_CASE("the CRPS of student-t, laplace and gamma mixtures is the integral of (F - 1)^2 to 1e-6") {
  for (const double freedom : {2.1, 3.0, 30.0}) {
    CAPTURE(freedom);
    check_integral(mixture("student-t", {{1, 0.2, 0.5, freedom}}), {0.2, 0, 0.9, -40});
    check_integral(mixture("student-t", {{0.2, 0.2, 0.5, freedom}, {0.7, 3, 0.01, 5}, {0.1, -30, 8, 2.1}}),
                   {0.2, 3, 3.003, 2.9, -15, 500});
  }
  check_integral(mixture("laplace", {{1, 0.2, 0.5}}), {0.2, 0, 0.9, -40});
  check_integral(mixture("laplace", {{0.2, 0.2, 0.5}, {0.7, 3, 0.001}, {0.1, -30, 8}}),
                 {0.2, 3, 3.003, 2.9, -15, 500});
  for (const double scale : {0.01, 0.3, 1.0, 2.5}) {
    CAPTURE(scale);
    check_integral(mixture("gamma", {{1, 0.2, scale}}), {1e-3, 0.9, 2, 30});
    check_integral(mixture("gamma", {{0.2, 0.2, scale}, {0.7, 3, 0.01}, {0.1, 6, 0.5}}),
                   {1e-3, 0.9, 2, 20, 20.1, 5000});
  }
}

TEST_CASE("the CRPS of counts is the plain sum over whole numbers to 1e-6, whatever their size") {
  for (const double mean : {1e-3, 0.7, 9.0, 150.0, 4000.0, 5e4}) {
    CAPTURE(mean);
    const double location = std::log(mean), s = std::sqrt(mean);
    check_sum(mixture("poisson", {{1, location}}),
              {0, 1, std::round(mean), std::round(mean + 2 * s), std::round(mean + 20 * s)}, 100 + 4 * mean);
    check_sum(mixture("poisson", {{0.3, location}, {0.6, location + 0.5}, {0.1, std::log(3)}}),
              {0, 4, std::round(1.5 * mean)}, 100 + 4 * mean);
  }
  for (const double mean : {0.7, 50.0, 900.0})
    for (const double scale : {0.01, 0.5, 3.0}) {
      CAPTURE(mean);
      CAPTURE(scale);
      const double location = std::log(mean);
      check_sum(mixture("negative-binomial", {{1, location, scale}}),
                {0, 1, std::round(mean), std::round(5 * mean)}, 300 + 200 * mean);
      check_sum(mixture("negative-binomial", {{0.3, location, scale}, {0.7, 2, 0.1}}),
                {0, 7, std::round(mean), std::round(40 * mean)}, 300 + 200 * mean);
    }
}

TEST_CASE("the CRPS of very large counts is that of the normal distribution they come near to") {
  for (const double mean : {1e7, 1e9}) {
    const Model model = mixture("poisson", {{0.5, std::log(mean)}, {0.5, std::log(2 * mean)}});
    const Components c = components(model, rows_of(1).view());
    for (const double y : {mean, 2 * mean + std::sqrt(mean), 5 * mean})
      CHECK(fast(model, {y})[0] / crps_gaussian_mixture(y, c.weight, c.mean, c.sd) ==
            doctest::Approx(1).epsilon(1e-4));
  }
}

TEST_CASE("an ensemble's CRPS is that of all its components") {
  std::vector<Expert> experts;
  Rng rng(5, 0);
  for (int k = 0; k < 8; ++k)
    experts.push_back({0.25, rng.normal(), std::exp(0.5 * rng.normal() - 1), 2.1 + 8 * rng.uniform()});
  // Gate weights are in proportion, within a mixture and within each of two members alike.
  const vec one = fast(mixture("student-t", experts), {0.7}),
            two = fast(mixture("student-t", experts, 2), {0.7});
  CHECK(two[0] == doctest::Approx(one[0]).epsilon(1e-12));
  check_integral(mixture("student-t", experts, 2), {0.7});
}

TEST_CASE("every family for numbers and counts has a CRPS; it is NaN where a component is not finite") {
  for (const std::string& family : expert_families()) {
    CAPTURE(family);
    if (family_traits(family).task == Task::classification) continue;
    const Model model = mixture(family, {{0.5, 0.2, 0.5, 4}, {0.5, 1, 0.1, 4}});
    BlockData row = rows_of(1);
    row.target = {2};
    const double crps = row_scores(model, row.view()).crps[0];
    CHECK(crps > 0);
    CHECK(crps < 2);
    Components broken = components(model, row.view());
    broken.mean[1] = std::numeric_limits<double>::infinity();
    CHECK(std::isnan(integrated_crps(model, row.view(), broken, {2})[0]));
    broken.weight = {{1.0, 0.0}};  // without weight it does not count
    CHECK(std::isfinite(integrated_crps(model, row.view(), broken, {2})[0]));
    broken.weight.fill(arma::datum::nan);
    CHECK(std::isnan(integrated_crps(model, row.view(), broken, {2})[0]));
  }
}

TEST_CASE("the CRPS comes to an end where means are too large, or spreads too small, for whole numbers") {
  for (const double location : {45.0, 80.0, 200.0})
    for (const char* family : {"poisson", "negative-binomial"}) {
      CAPTURE(location);
      const double mean = std::exp(std::min(location, 100.0));
      CHECK(fast(mixture(family, {{1, location, 0.1}}), {0})[0] / mean == doctest::Approx(1).epsilon(0.1));
      CHECK(std::isfinite(fast(mixture(family, {{1, location, 0.1}}), {std::round(mean)})[0]));
    }
  for (const double at : {1.0, 1e9, 1e18})
    CHECK(fast(mixture("laplace", {{1, at, 1e-8}}), {2 * at})[0] / at == doctest::Approx(1).epsilon(1e-6));
}
