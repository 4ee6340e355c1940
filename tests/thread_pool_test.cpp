#include "thread_pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <barrier>
#include <set>
#include <thread>
#include <vector>

#include "moekit/error.hpp"
#include "moekit/sum.hpp"

using namespace moekit;

TEST_CASE("every number is called once, all at the same time, whatever the number of threads before") {
  for (const int threads : {1, 3, 2, 8, 1, 5, 8}) {
    CAPTURE(threads);
    std::vector<int> calls(static_cast<std::size_t>(threads));
    std::barrier together(threads);  // nobody passes unless all are there
    run_on_threads(threads, [&](int t) {
      ++calls[static_cast<std::size_t>(t)];
      together.arrive_and_wait();
      together.arrive_and_wait();
    });
    CHECK(calls == std::vector<int>(static_cast<std::size_t>(threads), 1));
  }
}

TEST_CASE("threads are kept for the next call") {
  const auto others = [] {
    std::vector<std::thread::id> ids(3);
    run_on_threads(3, [&](int t) { ids[static_cast<std::size_t>(t)] = std::this_thread::get_id(); });
    CHECK(ids[0] == std::this_thread::get_id());
    return std::set<std::thread::id>(ids.begin() + 1, ids.end());
  };
  const auto first = others();
  CHECK(first.size() == 2);
  for (int i = 0; i < 20; ++i) CHECK(others() == first);
}

TEST_CASE("calls from within, and from several threads at once, are answered too") {
  std::atomic<int> calls{0};
  run_on_threads(3, [&](int) { run_on_threads(4, [&](int) { ++calls; }); });
  CHECK(calls == 12);
  calls = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) run_on_threads(3, [&](int) { ++calls; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(calls == 4 * 200 * 3);
}

TEST_CASE("what a task throws is thrown again, and the next call works") {
  Compute compute;
  compute.threads = 4;
  for (int i = 0; i < 3; ++i) {
    CHECK_THROWS_WITH_AS(parallel_for(100, compute,
                                      [](std::size_t task) {
                                        if (task == 57) throw Error(Errc::data, "57");
                                      }),
                         "57", Error);
    std::atomic<int> done{0};
    parallel_for(100, compute, [&](std::size_t) { ++done; });
    CHECK(done == 100);
  }
}
