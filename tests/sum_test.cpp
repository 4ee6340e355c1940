#include "moekit/sum.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <stdexcept>

#include "fit_helpers.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

/// `blocks` blocks of three rows: few rows fill many lanes. Reads of block `bad` fail.
class ManyBlocks : public Source {
 public:
  explicit ManyBlocks(std::size_t blocks, std::size_t bad = static_cast<std::size_t>(-1))
      : blocks_(blocks), bad_(bad) {}
  std::size_t blocks() const override { return blocks_; }
  std::uint64_t rows() const override { return 3 * blocks_; }
  BlockShape shape() const override { return {1, 0}; }
  Block read(std::size_t i, BlockData& buffer) const override {
    if (i == bad_) throw std::out_of_range("block " + std::to_string(i));
    Rng rng(i, 1);
    buffer.first = 3 * i;
    buffer.rows = 3;
    buffer.numeric.resize(3);
    for (double& v : buffer.numeric) v = rng.normal() * 1e6;
    return buffer.view();
  }

 private:
  std::size_t blocks_, bad_;
};

Adder add_values() {
  return [](const Block& block, std::span<double> sums) {
    for (uword i = 0; i < block.rows; ++i) {
      sums[0] += block.numeric[i];
      sums[1] += block.numeric[i] * block.numeric[i];
    }
  };
}

}  // namespace

TEST_CASE("every block is added once, and to what is there") {
  for (const std::size_t blocks : {0, 1, 2, 63, 64, 65, 128, 200, 1000}) {
    const ManyBlocks source(blocks);
    for (const int threads : {1, 3}) {
      std::vector<double> count(blocks + 1, 0.0);
      count[blocks] = 10;
      sum_over(source, {threads}, count, [&]() -> Adder {
        return [&](const Block& block, std::span<double> sums) {
          sums[block.first / 3] += 1;
          sums[sums.size() - 1] += static_cast<double>(block.rows);
        };
      });
      for (std::size_t i = 0; i < blocks; ++i) CHECK(count[i] == 1);
      CHECK(count[blocks] == 10 + 3 * static_cast<double>(blocks));
    }
  }
}

TEST_CASE("the same bits with any number of threads") {
  for (const std::size_t blocks : {5, 64, 200, 777}) {
    const ManyBlocks source(blocks);
    std::vector<double> first(2, 0.0);
    sum_over(source, {1}, first, add_values);
    double plain = 0, size = 0;
    BlockData buffer;
    for (std::size_t b = 0; b < blocks; ++b) {
      const Block block = source.read(b, buffer);
      for (uword i = 0; i < 3; ++i) {
        plain += block.numeric[i];
        size += std::abs(block.numeric[i]);
      }
    }
    CHECK(std::abs(first[0] - plain) <= 1e-16 * 3 * static_cast<double>(blocks) * size);
    for (const int threads : {0, 2, 3, 5, 64, 100})
      for (int repeat = 0; repeat < 3; ++repeat) {
        std::vector<double> sums(2, 0.0);
        sum_over(source, {threads}, sums, add_values);
        CHECK(same_bits(sums, first));
      }
  }
}

TEST_CASE("an adder belongs to one worker") {
  const ManyBlocks source(300);
  std::atomic<int> made{0}, overlaps{0};
  double total[1] = {0};
  sum_over(source, {4}, total, [&]() -> Adder {
    ++made;
    return [&, busy = std::make_shared<std::atomic<bool>>(false)](const Block&, std::span<double> sums) {
      if (busy->exchange(true)) ++overlaps;
      sums[0] += 1;
      busy->store(false);
    };
  });
  CHECK(total[0] == 300);
  CHECK(made <= 4);
  CHECK(overlaps == 0);
}

TEST_CASE("an exception of the adder or of the source reaches the caller after all workers have stopped") {
  for (const int threads : {1, 2, 5}) {
    std::atomic<int> inside{0};
    double total[1] = {0};
    const auto failing = [&]() -> Adder {
      return [&](const Block& block, std::span<double>) {
        ++inside;
        const bool bad = block.first / 3 == 10;
        --inside;
        if (bad) throw std::domain_error("block 10");
      };
    };
    CHECK_THROWS_AS(sum_over(ManyBlocks(100), {threads}, total, failing), std::domain_error);
    CHECK(inside == 0);
    std::vector<double> sums(2, 0.0);
    CHECK_THROWS_WITH_AS(sum_over(ManyBlocks(100, 10), {threads}, sums, add_values), "block 10",
                         std::out_of_range);
    CHECK_THROWS_AS(
        sum_over(ManyBlocks(100), {threads}, sums, []() -> Adder { throw std::length_error("maker"); }),
        std::length_error);
  }
}

TEST_CASE("parallel_for does every task once and passes exceptions on") {
  for (const int threads : {0, 1, 3, 50}) {
    std::vector<std::atomic<int>> done(101);
    parallel_for(done.size(), {threads}, [&](std::size_t i) { ++done[i]; });
    for (const auto& d : done) CHECK(d == 1);
    CHECK_THROWS_AS(parallel_for(20, {threads},
                                 [](std::size_t i) {
                                   if (i == 7) throw std::domain_error("task 7");
                                 }),
                    std::domain_error);
    parallel_for(0, {threads}, [](std::size_t) { FAIL("there is no task"); });
  }
  CHECK(available_cores() >= 1);
}
