// Ensembles: members, bits, and what the average of densities is worth.
#include <doctest/doctest.h>

#include <cmath>

#include "fit_helpers.hpp"
#include "moekit/model_io.hpp"
#include "moekit/predict.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

FitOptions ensemble(int members, uword experts = 2) {
  FitOptions o = options(experts, -1, 4);
  o.ensemble = members;
  o.seed = 3;
  return o;
}

/// ln density of each row, standardised target: rows x members.
mat member_densities(const Model& model, const Source& source) {
  mat out(source.rows(), model.members.size());
  BlockData buffer;
  Posterior work;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    const Block block = source.read(b, buffer);
    for (uword m = 0; m < out.n_cols; ++m) {
      posterior(model.members[m], model.schema, block, work);
      out.submat(block.first, m, block.first + block.rows - 1, m) = work.log_likelihood;
    }
  }
  return out;
}

vec mean_density(const mat& log_densities) { return arma::log(arma::mean(arma::exp(log_densities), 1)); }

/// One member of the model as a model of its own.
Model alone(Model model, std::size_t member) {
  model.members = {model.members[member]};
  return model;
}

}  // namespace

TEST_CASE("an ensemble has its members; the first is the single fit, the others are not") {
  for (const uword classes : {0, 2}) {
    CAPTURE(classes);
    const Rows rows = to_rows(piecewise(300, 2, 2, 1, classes));
    const Model single = fit(rows.schema, rows.source, ensemble(1)),
                three = fit(rows.schema, rows.source, ensemble(3));
    REQUIRE(single.members.size() == 1);
    REQUIRE(three.members.size() == 3);
    const std::vector<double> first = numbers(single.members[0]);
    CHECK(same_bits(numbers(three.members[0]), first));
    CHECK_FALSE(same_bits(numbers(three.members[1]), first));
    CHECK_FALSE(same_bits(numbers(three.members[1]), numbers(three.members[2])));
    CHECK(three.members[0].expert_basis == three.members[2].expert_basis);
    CHECK(three.provenance.log_likelihood == single.provenance.log_likelihood);
    CHECK(three.provenance.status == single.provenance.status);
    // More members: the same ones, and more.
    const Model four = fit(rows.schema, rows.source, ensemble(4));
    REQUIRE(four.members.size() == 4);
    for (std::size_t m = 0; m < 3; ++m) CHECK(same_bits(numbers(four.members[m]), numbers(three.members[m])));
    FitOptions other = ensemble(2);
    other.seed = 4;
    CHECK_FALSE(
        same_bits(numbers(fit(rows.schema, rows.source, other).members[1]), numbers(three.members[1])));
  }
}

TEST_CASE("an ensemble has the same bytes whatever the threads") {
  const Rows rows = to_rows(piecewise(1500, 3, 3, 2));
  const auto text = [&](int threads) {
    Compute compute;
    compute.threads = threads;
    return model_text(fit(rows.schema, rows.source, ensemble(3, 3), compute));
  };
  const std::string one = text(1);
  CHECK(text(2) == one);
  CHECK(text(3) == one);
}

TEST_CASE("the density of an ensemble is the average of its members'") {
  for (const uword classes : {0, 3}) {
    CAPTURE(classes);
    Columns c = piecewise(400, 2, 2, 3, classes);
    Rng rng(3, 3);
    c.weight.set_size(400);
    for (double& w : c.weight) w = rng.uniform();
    const Rows rows = to_rows(c);
    const Model model = fit(rows.schema, rows.source, ensemble(3));
    const vec whole = mean_density(member_densities(model, rows.source)) + log_unit(model.schema);
    CHECK(log_likelihood(model, rows.source) == doctest::Approx(arma::dot(c.weight, whole)).epsilon(1e-12));

    BlockData buffer;
    const Block block = rows.source.read(0, buffer);
    const Prediction all = predict(model, block);
    CHECK(arma::abs(all.log_density - whole).max() <= 1e-10 * (1 + arma::abs(whole).max()));
    vec mean(400, arma::fill::zeros), squares = mean;
    mat probability(400, classes, arma::fill::zeros);
    for (std::size_t m = 0; m < 3; ++m) {
      const Prediction own = predict(alone(model, m), block);
      if (classes > 0) {
        probability += own.probability / 3;
      } else {
        mean += own.mean / 3;
        squares += (arma::square(own.sd) + arma::square(own.mean)) / 3;
      }
      if (m == 0) CHECK(arma::approx_equal(own.gate, all.gate, "absdiff", 1e-14));
    }
    if (classes > 0) {
      CHECK(arma::abs(all.probability - probability).max() <= 1e-12);
      continue;
    }
    CHECK(arma::abs(all.mean - mean).max() <= 1e-9);
    CHECK(arma::abs(all.sd - arma::sqrt(squares - arma::square(mean))).max() <= 1e-7);
    // Quantiles are those of the average distribution.
    const mat q = quantiles(model, block, vec{0.1, 0.9});
    CHECK(arma::abs(cumulative(model, block, q.col(0)) - 0.1).max() <= 1e-6);
    CHECK(arma::abs(cumulative(model, block, q.col(1)) - 0.9).max() <= 1e-6);
  }
}

TEST_CASE("on rows held out an ensemble is not worse than its first member by more than noise") {
  // A smooth surface, of which a few planes are no more than a picture.
  for (const std::uint64_t seed : {4, 5, 6}) {
    CAPTURE(seed);
    Columns all = piecewise(1400, 3, 3, seed);
    Rng rng(seed, 11);
    for (uword i = 0; i < 1400; ++i)
      all.y[i] = 2 * std::sin(1.5 * all.x(i, 0)) + all.x(i, 1) * all.x(i, 2) + 0.4 * rng.normal();
    const arma::uvec order = arma::regspace<arma::uvec>(0, 1, 1399);
    const Rows rows = to_rows(pick(all, order.head(200)));
    const MemorySource fresh = to_source(pick(all, order.tail(1200)));
    const Model model = fit(rows.schema, rows.source, ensemble(6, 4));
    const mat densities = member_densities(model, fresh);
    const vec gain = mean_density(densities) - densities.col(0);
    CHECK(arma::mean(gain) >= -2 * arma::stddev(gain) / std::sqrt(1200.0));
  }
}

TEST_CASE("where planes are the truth, bootstrap members cost an ensemble little") {
  for (const std::uint64_t seed : {4, 5, 6}) {
    CAPTURE(seed);
    const Columns all = piecewise(1400, 3, 3, seed);
    const arma::uvec order = arma::regspace<arma::uvec>(0, 1, 1399);
    const Rows rows = to_rows(pick(all, order.head(200)));
    const MemorySource fresh = to_source(pick(all, order.tail(1200)));
    const mat densities = member_densities(fit(rows.schema, rows.source, ensemble(6, 3)), fresh);
    CHECK(arma::mean(mean_density(densities) - densities.col(0)) >= -0.05);
    // Averaging gains on the average member (Jensen).
    CHECK(arma::mean(mean_density(densities)) >= arma::accu(densities) / 6 / 1200);
  }
}

TEST_CASE("model files keep every member") {
  const Rows rows = to_rows(piecewise(300, 2, 2, 7));
  const Model model = fit(rows.schema, rows.source, ensemble(3));
  const Model again = parse_model(model_text(model), "test");
  REQUIRE(again.members.size() == 3);
  for (std::size_t m = 0; m < 3; ++m) CHECK(same_bits(numbers(again.members[m]), numbers(model.members[m])));
  CHECK(log_likelihood(again, rows.source) == log_likelihood(model, rows.source));
}

TEST_CASE("an ensemble of given regions starts from them; counts have ensembles too") {
  const Columns c = piecewise(300, 2, 2, 8);
  const Rows rows = to_rows(c);
  FitOptions o = ensemble(3);
  o.initial_region = slices(c, 2);
  CHECK(fit(rows.schema, rows.source, o).members.size() == 3);

  Columns counts = c;
  Rng rng(8, 1);
  for (uword i = 0; i < 300; ++i) counts.y[i] = static_cast<double>(rng.below(3 + (c.x(i, 0) > 0 ? 9 : 0)));
  Rows table = to_rows(counts);
  table.schema.target.task = Task::count;
  const Model model = fit(table.schema, table.source, ensemble(3));
  REQUIRE(model.members.size() == 3);
  CHECK(log_likelihood(model, table.source) ==
        doctest::Approx(arma::accu(mean_density(member_densities(model, table.source)))).epsilon(1e-12));
}

TEST_CASE("a fit that is stopped still is a model") {
  const Rows rows = to_rows(piecewise(300, 2, 2, 9));
  int calls = 0;
  const Model model = fit(rows.schema, rows.source, ensemble(5), {},
                          [&](const Iteration&) { return ++calls > 30 ? Next::stop : Next::proceed; });
  CHECK(model.provenance.status == "stopped");
  REQUIRE(!model.members.empty());
  CHECK(model.members.size() <= 5);
  CHECK(std::isfinite(log_likelihood(model, rows.source)));
}

TEST_CASE("less than one member is refused") {
  const Rows rows = to_rows(piecewise(50, 2, 2, 10));
  CHECK_THROWS_WITH(fit(rows.schema, rows.source, ensemble(0)), doctest::Contains("--ensemble"));
}
