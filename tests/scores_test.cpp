// Every family's scores against central differences of its log density.
#include <doctest/doctest.h>

#include <cmath>

#include "moekit/model.hpp"
#include "moekit/rng.hpp"

using namespace moekit;

namespace {

constexpr uword kRows = 40, kFeatures = 3, kClasses = 3;

mat random_features(Rng& rng, uword columns) {
  mat x(kRows, columns, arma::fill::ones);
  for (uword j = 1; j < columns; ++j)
    for (uword i = 0; i < kRows; ++i) x(i, j) = rng.normal();
  return x;
}

/// Values away from bounds; penalties stay as made.
void randomise(const std::vector<Field>& fields, Rng& rng) {
  for (const Field& f : fields)
    for (double& v : f.values) {
      if (f.kind == Field::Kind::free) v = 0.5 * rng.normal();
      if (f.kind == Field::Kind::positive) v = f.least + std::exp(0.3 * rng.normal());
    }
}

vec random_target(const FamilyTraits& traits, Rng& rng) {
  vec y(kRows);
  for (double& v : y) {
    v = rng.normal();
    if (traits.task == Task::classification) v = static_cast<double>(rng.below(kClasses));
    if (traits.task == Task::count) v = static_cast<double>(rng.below(7));
    if (traits.task == Task::regression && traits.log_link) v = std::exp(v);
  }
  return y;
}

/// Column by column of `scores` against differences of value(), n x 1, by the fields that move.
template <class Value>
void check_scores(std::vector<Field> fields, const mat& scores, const Value& value, double step) {
  uword column = 0;
  for (const Field& f : fields) {
    if (f.kind == Field::Kind::fixed) continue;
    for (double& v : f.values) {
      const double before = v;
      const bool positive = f.kind == Field::Kind::positive;
      v = positive ? before * std::exp(step) : before + step;
      const vec above = value();
      v = positive ? before * std::exp(-step) : before - step;
      const vec below = value();
      v = before;
      REQUIRE(column < scores.n_cols);
      const vec slope = (above - below) / (2 * step);
      INFO(std::string(f.name));
      INFO("column ", column);
      CHECK(arma::abs(slope - scores.col(column)).max() <= 1e-6 * (1 + arma::abs(slope).max()));
      ++column;
    }
  }
  CHECK(column == scores.n_cols);
}

}  // namespace

TEST_CASE("scores of every expert family are the derivatives of its log density") {
  for (const std::string& family : expert_families())
    for (const uword noise : {uword{1}, uword{3}})
      for (const bool offset : {false, true}) {
        CAPTURE(family);
        CAPTURE(noise);
        const FamilyTraits traits = family_traits(family);
        if (noise > 1 && !traits.noise) continue;
        Rng rng(11, noise);
        Batch batch;
        batch.rows = kRows;
        batch.expert = random_features(rng, kFeatures);
        batch.gate = batch.expert;
        batch.noise = random_features(rng, noise);
        batch.target = random_target(traits, rng);
        const vec offsets(kRows, arma::fill::value(0.3));
        if (offset) batch.offset = offsets.memptr();
        std::vector<uword> groups(kFeatures, 1), noise_groups(noise, 1);
        groups[0] = noise_groups[0] = 0;
        const uword classes = traits.task == Task::classification ? kClasses : 0;
        const auto experts = make_experts(family, {2, groups, noise_groups, classes});
        for (uword k = 0; k < 2; ++k) randomise(experts->fields(k), rng);
        for (uword k = 0; k < 2; ++k) {
          mat scores, density;
          experts->scores(batch, k, scores);
          CHECK(scores.n_rows == kRows);
          // A density with a kink is differenced on its straight sides only.
          check_scores(
              experts->fields(k), scores,
              [&] {
                experts->log_density(batch, density);
                return vec(density.col(k));
              },
              traits.kink ? 1e-7 : 1e-5);
        }
      }
}

TEST_CASE("scores of every gate are the derivatives of its log probabilities") {
  for (const std::string& family : gate_families())
    for (const uword count : {uword{1}, uword{2}, uword{4}}) {
      CAPTURE(family);
      CAPTURE(count);
      Rng rng(12, count);
      Batch batch;
      batch.rows = kRows;
      batch.gate = random_features(rng, kFeatures);
      batch.expert = batch.gate;
      batch.noise.ones(kRows, 1);
      batch.target.zeros(kRows);
      const auto gate = make_gate(family, {count, {0, 1, 1}});
      randomise(gate->fields(), rng);
      mat scores, log_prob;
      for (uword k = 0; k < count; ++k) {
        gate->scores(batch, k, scores);
        CHECK(scores.n_rows == kRows);
        check_scores(
            gate->fields(), scores,
            [&] {
              gate->log_prob(batch, log_prob);
              vec input;
              vec value = log_prob.col(k);
              if (gate->log_input(batch, input)) value += input;
              return value;
            },
            1e-5);
      }
    }
}
