// Several ranks: the same bits on any number of them, and what they send.
#include <doctest/doctest.h>

#include <atomic>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "moekit/standard_errors.hpp"
#include "thread_ranks.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using moekit::testing::on_ranks;

namespace {

/// Blocks of one row whose values do not add up without rounding. Counts who read what.
class Uneven : public Source {
 public:
  explicit Uneven(std::size_t blocks) : blocks_(blocks), reads_(blocks) {}
  std::size_t blocks() const override { return blocks_; }
  std::uint64_t rows() const override { return blocks_; }
  BlockShape shape() const override { return {1, 0, 0}; }
  Block read(std::size_t i, BlockData& buffer) const override {
    ++reads_[i];
    buffer.first = i;
    buffer.rows = 1;
    buffer.numeric = {1.0 / (1.0 + static_cast<double>(i * i % 97)) * (i % 3 == 0 ? -1e6 : 1)};
    return buffer.view();
  }
  int most_reads() const { return *std::max_element(reads_.begin(), reads_.end()); }
  int least_reads() const { return *std::min_element(reads_.begin(), reads_.end()); }

 private:
  std::size_t blocks_;
  mutable std::vector<std::atomic<int>> reads_;
};

Adder add_squares() {
  return [](const Block& block, std::span<double> sums) {
    sums[0] += block.numeric[0];
    sums[1] += block.numeric[0] * block.numeric[0];
  };
}

std::vector<double> summed(const Source& source, const Compute& compute) {
  std::vector<double> total = {0.5, -2};  // what stands there already counts once
  sum_over(source, compute, total, [] { return add_squares(); });
  return total;
}

}  // namespace

TEST_CASE("a sum has the same bits on any number of ranks and threads, and each block is read once") {
  for (const std::size_t blocks : {0, 1, 2, 5, 63, 64, 65, 200, 8192, 20000}) {
    CAPTURE(blocks);
    const std::vector<double> alone = summed(Uneven(blocks), {1, &one_rank()});
    for (const int threads : {2, 5}) CHECK(same_bits(summed(Uneven(blocks), {threads, &one_rank()}), alone));
    for (const int size : {1, 2, 3, 5, 8, 13, 70}) {
      CAPTURE(size);
      const Uneven source(blocks);
      std::vector<std::vector<double>> of_rank(static_cast<std::size_t>(size));
      on_ranks(size, [&](const Communicator& comm) {
        of_rank[static_cast<std::size_t>(comm.rank())] = summed(source, {comm.rank() % 3 + 1, &comm});
      });
      for (const auto& total : of_rank) CHECK(same_bits(total, alone));
      if (blocks > 0) CHECK(source.most_reads() == 1);
      if (blocks > 0) CHECK(source.least_reads() == 1);
    }
  }
}

TEST_CASE("lanes: 64 at least, and 64 blocks each where there are more") {
  CHECK(lanes_of(0) == 0);
  CHECK(lanes_of(7) == 7);
  CHECK(lanes_of(64) == 64);
  CHECK(lanes_of(8191) == 64);
  CHECK(lanes_of(8192) == 128);
  CHECK(lanes_of(976563) == 8192);
  CHECK(lanes_of(std::size_t{1} << 40) == kMostLanes);
}

TEST_CASE("what ranks send grows with the sums and the ranks, not with the rows") {
  const auto bytes = [](std::size_t blocks, int size) {
    const Uneven source(blocks);
    return on_ranks(size, [&](const Communicator& comm) { summed(source, {1, &comm}); });
  };
  // Two numbers: up the tree once for each rank but the first, and back.
  for (const int size : {2, 4, 8, 16}) CHECK(bytes(128, size) == 2 * 2 * 8 * static_cast<unsigned>(size - 1));
  CHECK(bytes(128, 8) == bytes(5000, 8));
  CHECK(bytes(128, 3) <= 2 * 2 * 8 * 2 * 7);  // uneven parts are a few nodes each
}

TEST_CASE("models have the same bits on any number of ranks") {
  const auto model = [](const Rows& rows, const FitOptions& o, const Compute& compute) {
    Model m = fit(rows.schema, rows.source, o, compute);
    m.standard_errors = standard_errors(m, rows.source, parse_error_choice("information"), o, compute).errors;
    return model_text(m);
  };
  const Rows rows = to_rows(piecewise(2500, 2, 3, 1)), large = to_rows(piecewise(18000, 2, 2, 1));
  struct Case {
    const char* name;
    const Rows* rows;
    FitOptions options;
  };
  std::vector<Case> cases;
  for (const char* name : {"softmax", "tree", "auto", "lbfgs", "ensemble", "committee", "sampled"}) {
    FitOptions o = options(3, -1, 2);
    o.max_iterations = 20;
    const std::string kind = name;
    if (kind == "tree") o.gate = "tree";
    if (kind == "auto") o.grow = true;
    if (kind == "lbfgs") o.method = Method::lbfgs;
    if (kind == "ensemble" || kind == "committee") o.ensemble = 2;
    if (kind == "committee") {
      o.method = Method::adam;
      o.gradient.epochs = 3;
    }
    cases.push_back({name, kind == "sampled" ? &large : &rows, o});
  }
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const std::string alone = model(*c.rows, c.options, {2, &one_rank()});
    for (const int size : {2, 3, 8}) {
      CAPTURE(size);
      std::vector<std::string> of_rank(static_cast<std::size_t>(size));
      on_ranks(size, [&](const Communicator& comm) {
        of_rank[static_cast<std::size_t>(comm.rank())] = model(*c.rows, c.options, {1, &comm});
      });
      for (const std::string& text : of_rank) CHECK(text == alone);
    }
  }
}

TEST_CASE("ranks go on from a checkpoint that the first of them wrote") {
  const moekit::testing::Workshop shop;
  const Rows rows = to_rows(piecewise(2500, 2, 3, 1));
  FitOptions o = options(3, -1, 2);
  const std::string alone = model_text(fit(rows.schema, rows.source, o, {2, &one_rank()}));
  const auto fitted = [&](const Communicator& comm, int stop_after) {
    FitOptions own = o;
    FitCheckpoint checkpoint(shop.file("c"), {0, 3}, comm);
    checkpoint.load();
    own.checkpoint = &checkpoint;
    int calls = 0;
    return model_text(fit(rows.schema, rows.source, own, {1, &comm}, [&](const Iteration&) {
      return ++calls == stop_after ? Next::stop : Next::proceed;
    }));
  };
  CHECK_THROWS_AS(on_ranks(3, [&](const Communicator& comm) { fitted(comm, 40); }), Halted);
  REQUIRE(shop.exists("c"));
  on_ranks(2, [&](const Communicator& comm) { CHECK(fitted(comm, 0) == alone); });
}

TEST_CASE("a failure of one rank is the failure of all") {
  const Uneven source(100);
  CHECK_THROWS_WITH_AS(on_ranks(4,
                                [&](const Communicator& comm) {
                                  if (comm.rank() == 2) throw Error(Errc::io, "rank 2 cannot read");
                                  summed(source, {1, &comm});
                                }),
                       "rank 2 cannot read", Error);
}
