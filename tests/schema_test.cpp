#include "moekit/schema.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>

using namespace moekit;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Schema schema_of(std::size_t numeric, Task task = Task::regression) {
  Schema schema;
  for (std::size_t j = 0; j < numeric; ++j) {
    Column column;
    column.name = "x" + std::to_string(j);
    column.index = static_cast<std::uint32_t>(j);
    schema.inputs.push_back(column);
  }
  schema.target.name = "y";
  schema.target.task = task;
  return schema;
}

/// One numeric input, one target, perhaps weights.
MemorySource source_of(const std::vector<double>& x, const std::vector<double>& y,
                       const std::vector<double>& w = {}) {
  MemorySource source;
  for (std::size_t begin = 0; begin < x.size(); begin += kBlockRows) {
    const std::size_t end = std::min<std::size_t>(begin + kBlockRows, x.size());
    const auto part = [&](const std::vector<double>& v) {
      return v.empty() ? v
                       : std::vector<double>(v.begin() + static_cast<std::ptrdiff_t>(begin),
                                             v.begin() + static_cast<std::ptrdiff_t>(end));
    };
    BlockData block;
    block.rows = end - begin;
    const std::vector<double> inputs = part(x);
    block.numeric.assign(inputs.begin(), inputs.end());
    block.target = part(y);
    block.weight = part(w);
    source.push(std::move(block));
  }
  return source;
}

Target measured_target(const std::vector<double>& y) {
  Schema schema = schema_of(1);
  measure(schema, source_of(std::vector<double>(y.size(), 1.0), y));
  return schema.target;
}

}  // namespace

TEST_CASE("means and spreads hold at any offset and scale") {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  std::vector<double> z(5000), w(z.size());
  for (std::size_t i = 0; i < z.size(); ++i)
    z[i] = normal(random), w[i] = static_cast<double>(random() % 5 + 1) / 2;
  long double weight = 0, sum = 0, squares = 0;
  for (std::size_t i = 0; i < z.size(); ++i) weight += w[i], sum += static_cast<long double>(w[i]) * z[i];
  const auto mean = static_cast<double>(sum / weight);
  for (std::size_t i = 0; i < z.size(); ++i) squares += w[i] * (z[i] - sum / weight) * (z[i] - sum / weight);
  const auto sd = static_cast<double>(std::sqrt(squares / weight));
  for (const double scale : {1e-300, 1e-150, 1.0, 1e150, 1e300, 4e307})
    for (const double offset : {0.0, 3.0, 1e9}) {
      if (offset > 0 && scale != 1.0) continue;
      std::vector<double> x;
      for (const double v : z) x.push_back(offset + scale * v);
      Schema schema = schema_of(1);
      measure(schema, source_of(x, x, w));
      // Rounding x to the grid of doubles near the offset moves each value by up to 1e-16 of it.
      const double grid = 2e-16 * offset;
      CHECK(std::fabs(schema.inputs[0].mean - (offset + scale * mean)) <= 1e-13 * scale + 2 * grid);
      CHECK(std::fabs(schema.inputs[0].sd - scale * sd) <= 1e-12 * scale * sd + 2 * grid);
      CHECK(schema.target.sd == schema.inputs[0].sd);
      CHECK(schema.total_weight == doctest::Approx(static_cast<double>(weight)));
      CHECK(schema.rows == z.size());
    }
}

TEST_CASE("the ends of float64 do not overflow, constants have no spread") {
  const double top = std::numeric_limits<double>::max();
  Schema schema = schema_of(1);
  measure(schema, source_of({top, -top, top, -top}, {1, 1, 1, 1}));
  CHECK(schema.inputs[0].mean == 0);
  CHECK(schema.inputs[0].sd == top);
  CHECK(schema.inputs[0].min == -top);
  CHECK(schema.target.sd == 1);
  CHECK(schema.target.mean == 1);
  measure(schema, source_of({0.1, 0.1, kNaN, 0.1}, {1, 2, 3, 4}));
  CHECK(schema.inputs[0].mean == 0.1);
  CHECK(schema.inputs[0].sd == 0);
  CHECK(schema.inputs[0].missing == doctest::Approx(0.25));
  measure(schema, source_of({kNaN, kNaN}, {1, 2}));
  CHECK(schema.inputs[0].missing == 1);
  CHECK(schema.inputs[0].mean == 0);
}

TEST_CASE("the target's step is the greatest of which all values are multiples") {
  CHECK(measured_target({1.5, 2.25, -0.75}).step == 0.75);
  CHECK(measured_target({5, 5, 5}).step == 0);
  CHECK(measured_target({0.1, 0.3, 0.7}).step == doctest::Approx(0.1));
  CHECK(measured_target({3, 6, 9, 0}).step == 3);
  CHECK(measured_target({100, 300, -500}).step == 100);
  CHECK(measured_target({std::sqrt(2.0), std::exp(1.0)}).step == 0);
  CHECK(measured_target({1.0 / 3, 2.0 / 3, 7.0 / 3}).step == doctest::Approx(1.0 / 3).epsilon(1e-9));
  CHECK(measured_target({0.123456789, 0.2}).step == doctest::Approx(1e-9));
  CHECK(measured_target({0, 0}).step == 0);
  std::vector<double> many;
  for (int i = 0; i < 2000; ++i) many.push_back(i);
  CHECK(measured_target(many).step == 0);
  CHECK(measured_target(many).distinct == 1000);
  CHECK(measured_target({2, 1, 2, kNaN}).distinct == 2);
}

TEST_CASE("shares of levels, of missing values and of labels are weighted") {
  Schema schema = schema_of(0, Task::classification);
  Column column;
  column.name = "c";
  column.kind = ColumnKind::categorical;
  column.levels = {"a", "b"};
  schema.inputs.push_back(column);
  schema.target.labels = {"no", "yes"};
  BlockData block;
  block.rows = 4;
  block.levels = {0, 1, 2, 0};
  block.target = {0, 1, 1, 1};
  block.weight = {1, 2, 1, 4};
  MemorySource source;
  source.push(std::move(block));
  measure(schema, source);
  CHECK(schema.inputs[0].shares == std::vector<double>{5.0 / 8, 2.0 / 8, 1.0 / 8});
  CHECK(schema.inputs[0].missing == 1.0 / 8);
  CHECK(schema.target.shares == std::vector<double>{1.0 / 8, 7.0 / 8});
  CHECK(schema.find("c") == &schema.inputs[0]);
  CHECK(schema.find("d") == nullptr);
}

TEST_CASE("measures and fingerprints do not depend on threads; fingerprints tell rows apart") {
  std::mt19937_64 random(3);
  std::vector<double> x(20000), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<double>(random()), y[i] = static_cast<double>(random() % 9);
  Schema one = schema_of(1), three = one;
  const MemorySource source = source_of(x, y);
  Compute single, triple;
  single.threads = 1;
  triple.threads = 3;
  measure(one, source, single);
  measure(three, source, triple);
  CHECK(one.inputs[0].mean == three.inputs[0].mean);
  CHECK(one.inputs[0].sd == three.inputs[0].sd);
  const std::uint64_t print = fingerprint(one, source, single);
  CHECK(print == fingerprint(one, source, triple));
  std::swap(x[5], x[15000]);
  std::swap(y[5], y[15000]);
  CHECK(print != fingerprint(one, source_of(x, y)));
  std::swap(x[5], x[15000]);
  std::swap(y[5], y[15000]);
  CHECK(print == fingerprint(one, source_of(x, y)));
  x[7] = std::nextafter(x[7], 0);
  CHECK(print != fingerprint(one, source_of(x, y)));
  one.target.name = "z";
  CHECK(print != fingerprint(one, source));
}
