#include "moekit/page_allocator.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>

#include "moekit/rng.hpp"

using namespace moekit;

namespace {

/// Takes and gives back room of all kinds of sizes, and looks whether each keeps what was written to it.
/// Returns how many pieces were spoilt.
int churn(std::uint64_t stream) {
  Rng rng(11, stream);
  std::vector<std::pair<PagedNumbers, double>> held;
  int spoilt = 0;
  const auto look = [&](const auto& each) {
    spoilt += !std::all_of(each.first.begin(), each.first.end(), [&](double v) { return v == each.second; });
  };
  for (int i = 0; i < 400; ++i) {
    if (held.size() > 20) {
      const std::size_t place = rng.below(held.size());
      look(held[place]);
      std::swap(held[place], held.back());
      held.pop_back();
    }
    const std::size_t size = rng.below(3) ? 1 + rng.below(20000) : rng.below(200000);  // 8 bytes to 1.6 MB
    const double value = rng.normal();
    held.emplace_back(PagedNumbers(size, value), value);
  }
  for (const auto& each : held) look(each);
  return spoilt;
}

}  // namespace

TEST_CASE("room from slabs is nobody else's, on any thread") {
  int spoilt[3] = {-1, -1, -1};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t) threads.emplace_back([&, t] { spoilt[t] = churn(t); });
  for (std::thread& thread : threads) thread.join();
  for (const int each : spoilt) CHECK(each == 0);
}

TEST_CASE("numbers move and are copied as those of any vector") {
  PagedNumbers a(5000);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i);
  const PagedNumbers copy = a;
  const double* const place = a.data();
  PagedNumbers b = std::move(a);
  CHECK(b.data() == place);
  CHECK(b == copy);
  b.resize(10);  // a size that would not come from a slab: the room stays the old one
  b.shrink_to_fit();
  CHECK(std::equal(b.begin(), b.end(), copy.begin()));
}
