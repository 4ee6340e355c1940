// The area under the ROC curve: exact for tables of usual length, and with a bound that holds beyond.
#include "curve_area.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "moekit/rng.hpp"

using namespace moekit;

namespace {

/// One row of many: a score on the logit, and its class drawn from it.
struct Row {
  double probability, weight;
  bool positive;
};

/// shift: classes are so much harder to tell apart; rough: few different probabilities, so ties.
Row row_at(std::uint64_t i, double scale, bool rough) {
  Rng rng(11, 3, i);
  double z = scale * rng.normal();
  if (rough) z = std::round(8 * z) / 8;
  const double p = 1 / (1 + std::exp(-z));
  return {p, 0.5 + rng.uniform(), rng.uniform() < p};
}

}  // namespace

TEST_CASE("beyond the exact rows the area is as near as its bound says, and memory stays") {
  for (const double scale : {0.01, 1.0, 30.0}) {
    for (const bool rough : {false, true}) {
      CAPTURE(scale);
      CAPTURE(rough);
      // As many rows again and again: their exact area is known from one round.
      constexpr std::uint64_t kRows = CurveArea::kExactRows / 2 + 1;
      CurveArea once, twice;
      for (std::uint64_t i = 0; i < kRows; ++i) {
        const Row row = row_at(i, scale, rough);
        once.add(row.probability, row.weight, row.positive);
        for (int times = 0; times < 2; ++times) twice.add(row.probability, row.weight, row.positive);
      }
      const auto exact = once.area(), near = twice.area();
      REQUIRE(exact);
      REQUIRE(near);
      CHECK(exact->error == 0);
      CHECK(near->error > 0);
      CHECK(std::abs(near->value - exact->value) <= near->error + 1e-12);
      if (scale == 1.0 && !rough) {
        CHECK(near->error < 1e-4);
        CHECK(std::abs(near->value - exact->value) < 1e-7);
      }
    }
  }
}

TEST_CASE("merged parts are the whole, before and after the rows are counted in bins") {
  for (const std::uint64_t rows : {std::uint64_t{5000}, CurveArea::kExactRows + 5000}) {
    CurveArea whole, merged, first, second;
    for (std::uint64_t i = 0; i < rows; ++i) {
      const Row row = row_at(i, 1, false);
      whole.add(row.probability, row.weight, row.positive);
      CurveArea& half = i < rows / 2 ? first : second;
      half.add(row.probability, row.weight, row.positive);
    }
    merged.merge(first);
    merged.merge(second);
    CHECK(merged.area()->value == whole.area()->value);
    CHECK(merged.area()->error == whole.area()->error);
    whole.merge(first);  // bins, or none, to the other kind
    CHECK(whole.area()->value == doctest::Approx(merged.area()->value).epsilon(1e-2));
  }
}

TEST_CASE("certain probabilities have a place; one class alone has no area") {
  CurveArea area;
  for (std::uint64_t i = 0; i <= CurveArea::kExactRows; ++i) area.add(i % 2 ? 1 : 0, 1, i % 2);
  CHECK(area.area()->value == 1);
  CurveArea alone;
  alone.add(0.5, 1, true);
  CHECK(!alone.area());
}
