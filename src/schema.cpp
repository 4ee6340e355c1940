#include "moekit/schema.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>

#include "number_range.hpp"
#include "simd/statistics.hpp"

namespace moekit {

std::size_t occurring(const std::vector<double>& shares) {
  return static_cast<std::size_t>(
      std::count_if(shares.begin(), shares.end(), [](double s) { return s > 0; }));
}

double Schema::most_mean() const {
  constexpr double kTimes = 2;
  double most = 0;
  for (uword j = 0; j < targets(); ++j) {
    const Target& t = target_at(j);
    most = std::max(most, t.max / (t.task == Task::regression ? t.sd : 1));
  }
  return offset.empty() && most > 0 ? kTimes * most : std::numeric_limits<double>::infinity();
}

std::string_view task_name(Task task) {
  switch (task) {
    case Task::regression:
      return "regression";
    case Task::classification:
      return "classification";
    case Task::count:
      return "count";
  }
  return "";
}

uword Schema::numeric_inputs() const {
  return static_cast<uword>(std::count_if(inputs.begin(), inputs.end(),
                                          [](const Column& c) { return c.kind == ColumnKind::numeric; }));
}

uword Schema::categorical_inputs() const { return inputs.size() - numeric_inputs(); }

const Column* Schema::find(std::string_view name) const {
  const auto it = std::find_if(inputs.begin(), inputs.end(), [&](const Column& c) { return c.name == name; });
  return it == inputs.end() ? nullptr : &*it;
}

namespace {

constexpr std::size_t kMostDistinct = 1000;
constexpr std::size_t kFewDistinct = 100;  // under this a common step of the target is looked for
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double weight_of(const Block& block, uword i) { return block.weight ? block.weight[i] : 1.0; }

/// Columns of doubles that are measured alike: the numeric inputs, then numeric targets.
struct Numbers {
  uword inputs = 0, targets = 0;
  uword count() const { return inputs + targets; }
  const double* of(const Block& block, uword j) const {
    return j < inputs ? block.numeric_column(j) : block.target_column(j - inputs);
  }
};

/// Least and greatest present value of each column.
std::vector<NumberRange> ranges(const Source& source, const Numbers& numbers, const Compute& compute) {
  const std::size_t lanes = std::min(kLanes, source.blocks());
  const uword columns = numbers.count();
  std::vector<std::vector<NumberRange>> of_lane(lanes);
  parallel_for(lanes, compute, [&](std::size_t lane) {
    std::vector<NumberRange> found(columns);
    BlockData buffer;
    for (std::size_t i = lane * source.blocks() / lanes; i < (lane + 1) * source.blocks() / lanes; ++i) {
      const Block block = source.read(i, buffer);
      for (uword j = 0; j < columns; ++j)
        simd::extremes(numbers.of(block, j), block.rows, found[j].min, found[j].max);
    }
    of_lane[lane] = std::move(found);
  });
  std::vector<NumberRange> result(columns);
  for (uword j = 0; j < columns; ++j)
    for (const auto& found : of_lane) {
      result[j].min = std::min(result[j].min, found[j].min);
      result[j].max = std::max(result[j].max, found[j].max);
    }
  return result;
}

struct Moments {
  double weight = 0, mean = 0, sd = 0;
};

/// Weighted moments. With z = (x - centre) / half in [-1, 1] neither an offset of 1e9 nor a scale of 1e300 or
/// 1e-300 costs digits. Where the mean of z is many standard deviations from zero, a second pass sums squares
/// around it.
std::vector<Moments> moments(const Source& source, const Numbers& numbers,
                             const std::vector<NumberRange>& range, const Compute& compute) {
  const uword columns = numbers.count();
  const auto pass = [&](const std::vector<double>& mean) {
    std::vector<double> total(3 * columns, 0.0);
    sum_over(source, compute, total, [&] {
      return [&](const Block& block, std::span<double> sums) {
        for (uword j = 0; j < columns; ++j) {
          if (range[j].empty()) continue;
          const double half = range[j].half() > 0 ? range[j].half() : 1;
          const simd::ScaledSums own = simd::scaled_sums(numbers.of(block, j), block.weight, block.rows,
                                                         range[j].centre(), half, mean[j]);
          sums[3 * j] += own.weight;
          sums[3 * j + 1] += own.first;
          sums[3 * j + 2] += own.second;
        }
      };
    });
    return total;
  };
  std::vector<double> mean(columns, 0.0);
  constexpr double kFar = 4;
  std::vector<double> sums = pass(mean);
  bool far = false;
  for (uword j = 0; j < columns; ++j) {
    const double weight = sums[3 * j];
    if (weight <= 0) continue;
    const double m = sums[3 * j + 1] / weight, variance = sums[3 * j + 2] / weight - m * m;
    if (m * m <= kFar * kFar * variance) continue;
    mean[j] = m;
    far = far || m != 0;
  }
  if (far) sums = pass(mean);
  std::vector<Moments> result(columns);
  for (uword j = 0; j < columns; ++j) {
    const double weight = sums[3 * j];
    result[j].weight = weight;
    if (weight <= 0) continue;
    const double rest = sums[3 * j + 1] / weight;
    const double half = range[j].half();
    result[j].mean = std::clamp(range[j].centre() + half * (mean[j] + rest), range[j].min, range[j].max);
    result[j].sd = half > 0 ? half * std::sqrt(std::max(0.0, sums[3 * j + 2] / weight - rest * rest)) : 0;
  }
  return result;
}

/// Weight of every level of every categorical input (missing last), then of every label, then of all rows,
/// and the number of rows.
std::vector<double> level_weights(const Schema& schema, const Source& source, const Compute& compute) {
  std::vector<std::size_t> start(schema.categorical_inputs());
  std::size_t size = 0;
  for (const Column& column : schema.inputs)
    if (column.kind == ColumnKind::categorical) start[column.index] = size, size += column.levels.size() + 1;
  const std::size_t labels = size;
  const bool classes = schema.target.task == Task::classification && !schema.target.name.empty();
  size += schema.target.labels.size() + 2;
  std::vector<double> total(size, 0.0);
  sum_over(source, compute, total, [&] {
    return [&, size](const Block& block, std::span<double> sums) {
      for (uword j = 0; j < start.size(); ++j) {
        const std::uint32_t* code = block.level_column(j);
        for (uword n = 0; n < block.rows; ++n) sums[start[j] + code[n]] += weight_of(block, n);
      }
      for (uword n = 0; n < block.rows; ++n) {
        sums[size - 2] += weight_of(block, n);
        if (classes && !std::isnan(block.target[n]))
          sums[labels + static_cast<std::size_t>(block.target[n])] += weight_of(block, n);
      }
      sums[size - 1] += static_cast<double>(block.rows);
    };
  });
  return total;
}

/// Different values of a target among some blocks; at most kMostDistinct.
std::unordered_set<double> distinct_in(const Source& source, uword target, std::size_t begin,
                                       std::size_t end) {
  std::unordered_set<double> seen;
  BlockData buffer;
  for (std::size_t i = begin; i < end && seen.size() < kMostDistinct; ++i) {
    const Block block = source.read(i, buffer);
    const double* y = block.target_column(target);
    for (uword n = 0; n < block.rows && seen.size() < kMostDistinct; ++n)
      if (!std::isnan(y[n])) seen.insert(y[n] + 0.0);  // -0 is 0
  }
  return seen;
}

/// Different values of a target in rising order; at most kMostDistinct.
std::vector<double> distinct_targets(const Source& source, uword target, const Compute& compute) {
  const std::size_t lanes = std::min(kLanes, source.blocks());
  std::vector<std::vector<double>> of_lane(lanes);
  const auto look = [&](std::size_t lane) {
    const auto seen =
        distinct_in(source, target, lane * source.blocks() / lanes, (lane + 1) * source.blocks() / lanes);
    of_lane[lane].assign(seen.begin(), seen.end());
  };
  if (lanes > 0) look(0);
  // Most targets show in the first rows that they have many values.
  if (lanes > 1 && of_lane[0].size() < kMostDistinct)
    parallel_for(lanes - 1, compute, [&](std::size_t lane) { look(lane + 1); });
  std::vector<double> values;
  for (const auto& own : of_lane) values.insert(values.end(), own.begin(), own.end());
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.size() > kMostDistinct) values.resize(kMostDistinct);
  return values;
}

/// The greatest h of which all values are multiples, found among decimal fractions with up to 9 digits; 0:
/// none.
double decimal_step(const std::vector<double>& values) {
  double scale = 1;
  for (int digits = 0; digits <= 9; ++digits, scale *= 10) {
    std::uint64_t divisor = 0;
    const bool whole = std::all_of(values.begin(), values.end(), [&](double v) {
      const double scaled = std::fabs(v) * scale, nearest = std::round(scaled);
      // v is the double next to a decimal number, and the product is rounded once more.
      if (nearest > 9007199254740992.0 || std::fabs(scaled - nearest) > 4e-16 * scaled) return false;
      divisor = std::gcd(divisor, static_cast<std::uint64_t>(nearest));
      return true;
    });
    if (whole) return static_cast<double>(divisor) / scale;
  }
  return 0;
}

/// The same for steps such as a third: Euclid's algorithm on the values, with their rounding as tolerance.
double real_step(const std::vector<double>& values) {
  double most = 0, step = 0;
  for (const double v : values) most = std::max(most, std::fabs(v));
  const double tolerance = 1e-9 * most;
  for (const double v : values) {
    double a = step, b = std::fabs(v);
    while (b > tolerance) {
      const double rest = std::fmod(a, b);
      a = std::exchange(b, b - rest < tolerance ? 0.0 : rest);
    }
    step = a;
  }
  if (!(step > 1e-5 * most)) return 0;
  const bool whole = std::all_of(values.begin(), values.end(), [&](double v) {
    const double multiple = std::round(v / step);
    return std::fabs(v / step - multiple) < 1e-6 && (multiple != 0 || v == 0);
  });
  return whole ? step : 0;
}

double common_step(const std::vector<double>& values) {
  const double step = decimal_step(values);
  return step > 0 ? step : real_step(values);
}

std::uint64_t mix(std::uint64_t x) {  // the finaliser of splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

std::uint64_t bits_of(double value) {
  return std::isnan(value) ? 0x7FF8000000000000u : std::bit_cast<std::uint64_t>(value);
}

/// Sum over the rows of a block of a hash of the row's index and values.
std::uint64_t block_hash(const Block& block, const BlockShape& shape, std::vector<std::uint64_t>& hash) {
  hash.resize(block.rows);
  for (uword n = 0; n < block.rows; ++n) hash[n] = mix(block.first + n + 0x9E3779B97F4A7C15u);
  const auto stir = [&](std::uint64_t& h, std::uint64_t value) {
    h = mix(h + 0x9E3779B97F4A7C15u) ^ mix(value + h);
  };
  for (uword j = 0; j < shape.numeric; ++j)
    for (uword n = 0; n < block.rows; ++n) stir(hash[n], bits_of(block.numeric_column(j)[n]));
  for (uword j = 0; j < shape.categorical; ++j)
    for (uword n = 0; n < block.rows; ++n) stir(hash[n], block.level_column(j)[n]);
  for (const double* column : {block.target, block.weight, block.offset})
    for (uword n = 0; column && n < block.rows; ++n) stir(hash[n], bits_of(column[n]));
  for (uword j = 1; block.target && j < shape.targets; ++j)
    for (uword n = 0; n < block.rows; ++n) stir(hash[n], bits_of(block.target_column(j)[n]));
  return std::accumulate(hash.begin(), hash.end(), std::uint64_t{0});
}

std::uint64_t text_hash(std::uint64_t h, std::string_view text) {
  for (const char c : text) h = mix(h + static_cast<unsigned char>(c) + 1);
  return mix(h + 0x9E3779B97F4A7C15u);
}

Numbers numbers_of(const Schema& schema) {
  const bool numeric = !schema.target.name.empty() && schema.target.task != Task::classification;
  return {schema.numeric_inputs(), numeric ? schema.targets() : 0};
}

void measure_numbers(Schema& schema, const Source& source, const Compute& compute,
                     const std::vector<NumberRange>& range) {
  const Numbers numbers = numbers_of(schema);
  const std::vector<Moments> moment = moments(source, numbers, range, compute);
  for (Column& column : schema.inputs) {
    if (column.kind != ColumnKind::numeric) continue;
    const uword j = column.index;
    const bool empty = range[j].empty();
    column.min = empty ? 0 : range[j].min;
    column.max = empty ? 0 : range[j].max;
    column.mean = moment[j].mean;
    column.sd = moment[j].sd;
    column.missing = schema.total_weight > 0 ? std::max(0.0, 1 - moment[j].weight / schema.total_weight) : 0;
  }
  for (uword j = 0; j < numbers.targets; ++j) {
    Target& target = schema.target_at(j);
    const uword t = numbers.inputs + j;
    target.min = range[t].empty() ? 0 : range[t].min;
    target.max = range[t].empty() ? 0 : range[t].max;
    target.mean = moment[t].mean;
    target.sd = moment[t].sd > 0 ? moment[t].sd : 1;
  }
}

}  // namespace

void measure(Schema& schema, const Source& source, const Compute& compute) {
  measure(schema, source, compute, ranges(source, numbers_of(schema), compute));
}

void measure(Schema& schema, const Source& source, const Compute& compute,
             const std::vector<NumberRange>& range) {
  const std::vector<double> weights = level_weights(schema, source, compute);
  schema.rows = static_cast<std::uint64_t>(weights.back());
  schema.total_weight = weights[weights.size() - 2];
  const double all = schema.total_weight > 0 ? schema.total_weight : 1;
  std::size_t at = 0;
  const auto shares = [&](std::size_t count) {
    std::vector<double> share(count);
    for (double& s : share) s = weights[at++] / all;
    return share;
  };
  // level_weights lays the columns out in the order of the inputs.
  for (Column& column : schema.inputs)
    if (column.kind == ColumnKind::categorical) {
      column.shares = shares(column.levels.size() + 1);
      column.missing = column.shares.back();
    }
  schema.target.shares = shares(schema.target.labels.size());
  measure_numbers(schema, source, compute, range);
  for (uword j = 0; j < schema.targets(); ++j) {
    Target& target = schema.target_at(j);
    target.distinct = 0;
    target.step = 0;
    if (target.name.empty()) continue;
    const std::vector<double> values = distinct_targets(source, j, compute);
    target.distinct = values.size();
    // One value says nothing of what the others would be multiples of.
    if (target.task != Task::classification && values.size() > 1 && values.size() < kFewDistinct)
      target.step = common_step(values);
  }
}

std::uint64_t fingerprint(const Schema& schema, const Source& source, const Compute& compute) {
  const BlockShape shape = source.shape();
  // Sixteen bits at a time sums of hashes are exact in doubles.
  double part[4] = {0, 0, 0, 0};
  sum_over(source, compute, part, [&]() -> Adder {
    return [&, work = std::make_shared<std::vector<std::uint64_t>>()](const Block& block,
                                                                      std::span<double> sums) {
      const std::uint64_t hash = block_hash(block, shape, *work);
      for (std::size_t k = 0; k < 4; ++k) sums[k] += static_cast<double>(hash >> (16 * k) & 0xFFFF);
    };
  });
  std::uint64_t rows = 0;
  for (std::size_t k = 0; k < 4; ++k) rows += static_cast<std::uint64_t>(part[k]) << (16 * k);
  std::uint64_t texts = 0;
  for (const Column& column : schema.inputs) {
    texts = text_hash(texts, column.name);
    for (const std::string& level : column.levels) texts = text_hash(texts, level);
  }
  texts = text_hash(texts, schema.target.name);
  for (const Target& target : schema.further_targets) texts = text_hash(texts, target.name);
  for (const std::string& label : schema.target.labels) texts = text_hash(texts, label);
  return mix(rows ^ mix(texts));
}

}  // namespace moekit
