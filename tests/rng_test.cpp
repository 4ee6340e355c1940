#include "moekit/rng.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using moekit::Rng;

TEST_CASE("the same key gives the same numbers, another key others") {
  for (int draw = 0; draw < 3; ++draw) CHECK(Rng(1, 2, 3).next() == Rng(1, 2, 3).next());
  CHECK(Rng(1, 2, 3).next() != Rng(2, 2, 3).next());
  CHECK(Rng(1, 2, 3).next() != Rng(1, 3, 3).next());
  CHECK(Rng(1, 2, 3).next() != Rng(1, 2, 4).next());
  CHECK(Rng(1, 2).next() != Rng(2, 1).next());
}

TEST_CASE("uniform numbers lie strictly inside (0, 1) and fill it evenly") {
  constexpr int kDraws = 100'000, kCells = 20;
  std::vector<int> count(kCells);
  Rng rng(0, 0);
  for (int i = 0; i < kDraws; ++i) {
    const double u = rng.uniform();
    REQUIRE(u > 0);
    REQUIRE(u < 1);
    ++count[static_cast<std::size_t>(u * kCells)];
  }
  double chi2 = 0;
  for (const int c : count) chi2 += std::pow(c - kDraws / kCells, 2) / (kDraws / kCells);
  CHECK(chi2 < 43.8);  // 99.9 % point of chi-square with 19 degrees of freedom
}

TEST_CASE("first numbers of neighbouring rows are independent of each other") {
  constexpr int kRows = 100'000;
  double products = 0;
  for (std::uint64_t i = 0; i < kRows; ++i)
    products += (Rng(0, 1, i).uniform() - 0.5) * (Rng(0, 1, i + 1).uniform() - 0.5);
  CHECK(std::abs(products * 12 / std::sqrt(kRows)) < 4);
}

TEST_CASE("below(n) reaches every value equally often and no other") {
  Rng rng(3, 4);
  std::vector<int> count(7);
  for (int i = 0; i < 70'000; ++i) {
    const std::uint64_t v = rng.below(7);
    REQUIRE(v < 7);
    ++count[v];
  }
  double chi2 = 0;
  for (const int c : count) chi2 += std::pow(c - 10'000, 2) / 10'000;
  CHECK(chi2 < 22.5);  // 99.9 % point, 6 degrees of freedom
  CHECK(rng.below(1) == 0);
  CHECK(rng.below(0) == 0);
  const std::uint64_t huge = (std::uint64_t{1} << 63) + 1;
  for (int i = 0; i < 100; ++i) CHECK(rng.below(huge) < huge);
}

TEST_CASE("normal numbers have the moments and tails of the normal distribution") {
  constexpr int kDraws = 200'000;
  Rng rng(5, 6);
  double sum = 0, squares = 0, fourth = 0;
  int beyond = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = rng.normal();
    sum += z, squares += z * z, fourth += z * z * z * z;
    beyond += std::abs(z) > 1.959963984540054;
  }
  const double root = std::sqrt(kDraws);
  CHECK(std::abs(sum / root) < 4);
  CHECK(std::abs((squares / kDraws - 1) * root / std::sqrt(2)) < 4);
  CHECK(std::abs((fourth / kDraws - 3) * root / std::sqrt(96)) < 4);
  CHECK(std::abs((beyond / static_cast<double>(kDraws) - 0.05) * root / std::sqrt(0.05 * 0.95)) < 4);
}
