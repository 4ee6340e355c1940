#include "moekit/source.hpp"

#include <doctest/doctest.h>

#include "fit_helpers.hpp"
#include "moekit/error.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

/// Row i holds i, i + 0.5 and codes and weights that follow from i.
BlockData counted(std::uint64_t first, uword n) {
  BlockData b;
  b.rows = n;
  for (uword i = 0; i < n; ++i) b.numeric.push_back(static_cast<double>(first + i));
  for (uword i = 0; i < n; ++i) b.numeric.push_back(static_cast<double>(first + i) + 0.5);
  for (uword i = 0; i < n; ++i) {
    b.levels.push_back(static_cast<std::uint32_t>((first + i) % 7));
    b.target.push_back(-static_cast<double>(first + i));
    b.weight.push_back(static_cast<double>((first + i) % 3));
    b.offset.push_back(static_cast<double>((first + i) % 5));
  }
  return b;
}

MemorySource counted_source(uword rows) {
  MemorySource source;
  for (uword first = 0; first < rows; first += kBlockRows)
    source.push(counted(first, std::min<uword>(kBlockRows, rows - first)));
  return source;
}

}  // namespace

TEST_CASE("blocks in memory come back as they were pushed") {
  const MemorySource source = counted_source(2 * kBlockRows + 100);
  CHECK(source.blocks() == 3);
  CHECK(source.rows() == 2 * kBlockRows + 100);
  CHECK(source.shape().numeric == 2);
  CHECK(source.shape().categorical == 1);
  BlockData buffer;
  for (std::size_t b = 0; b < 3; ++b) {
    const Block block = source.read(b, buffer);
    CHECK(block.first == b * kBlockRows);
    CHECK(block.rows == (b < 2 ? kBlockRows : 100));
    for (const uword i : {uword(0), block.rows - 1}) {
      CHECK(block.numeric_column(0)[i] == static_cast<double>(block.first + i));
      CHECK(block.numeric_column(1)[i] == static_cast<double>(block.first + i) + 0.5);
      CHECK(block.level_column(0)[i] == (block.first + i) % 7);
    }
  }
  const MemorySource copy = source;
  CHECK(copy.read(1, buffer).numeric != source.read(1, buffer).numeric);
}

TEST_CASE("only the last block may be short") {
  MemorySource source;
  source.push(counted(0, 10));
  try {
    source.push(counted(10, 10));
    FAIL("a block after a short one was taken");
  } catch (const Error& e) {
    CHECK(e.code() == Errc::internal);
  }
}

TEST_CASE("columns that are not there are null") {
  MemorySource source;
  BlockData bare;
  bare.rows = 2;
  bare.numeric = {1, 2};
  source.push(std::move(bare));
  BlockData buffer;
  const Block block = source.read(0, buffer);
  CHECK(block.levels == nullptr);
  CHECK(block.target == nullptr);
  CHECK(block.weight == nullptr);
  CHECK(block.offset == nullptr);
  const MemorySource taken = take_rows(source, {1, 1, 0});
  const Block some = taken.read(0, buffer);
  CHECK(some.rows == 3);
  CHECK(some.numeric[0] == 2);
  CHECK(some.numeric[2] == 1);
  CHECK(some.target == nullptr);
  CHECK(some.weight == nullptr);
}

TEST_CASE("take_rows keeps order, repeats rows and crosses blocks") {
  const uword n = 2 * kBlockRows + 37;
  const MemorySource source = counted_source(n);
  const std::vector<std::vector<std::uint64_t>> choices = [&] {
    std::vector<std::vector<std::uint64_t>> c{{0}, {n - 1, 0, kBlockRows, kBlockRows - 1, 5, 5, 5}};
    std::vector<std::uint64_t> backwards, random;
    Rng rng(1, 2);
    for (uword i = 0; i < n; ++i) backwards.push_back(n - 1 - i);
    for (uword i = 0; i < 3 * kBlockRows; ++i) random.push_back(rng.below(n));
    c.push_back(backwards);
    c.push_back(random);
    return c;
  }();
  for (const auto& rows : choices) {
    const MemorySource taken = take_rows(source, rows);
    REQUIRE(taken.rows() == rows.size());
    BlockData buffer;
    bool right = true;
    for (std::size_t b = 0; b < taken.blocks(); ++b) {
      const Block block = taken.read(b, buffer);
      for (uword i = 0; i < block.rows; ++i) {
        const std::uint64_t row = rows[block.first + i];
        right = right && block.numeric_column(0)[i] == static_cast<double>(row) &&
                block.numeric_column(1)[i] == static_cast<double>(row) + 0.5 &&
                block.level_column(0)[i] == row % 7 && block.target[i] == -static_cast<double>(row) &&
                block.weight[i] == static_cast<double>(row % 3) &&
                block.offset[i] == static_cast<double>(row % 5);
      }
    }
    CHECK(right);
  }
  CHECK(take_rows(source, {}).rows() == 0);
  CHECK(take_rows(MemorySource{}, {}).blocks() == 0);
}
