#include "region_columns.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "simd/vector_math.hpp"

namespace moekit {

namespace {

/// Rows of the sample, and the numbers it may hold: memory stays bounded for wide tables too.
constexpr std::size_t kMostRows = 20'000, kMostNumbers = 8'000'000, kLeastRows = 1'000;
constexpr std::uint64_t kSampleStream = 0x5a3b1e;

/// Values are shifted and scaled as in training, so that no square overflows or loses its digits.
struct Scale {
  explicit Scale(const Column& c) : centre(c.mean), spread(c.sd) {
    if (!(spread > 0)) spread = std::max({std::abs(c.mean), std::abs(c.min), std::abs(c.max)});
    if (!(spread > 0)) spread = 1;
  }
  double centre, spread;
};

/// The same quantity over several regions together.
RunningMoments pooled(const std::vector<RunningMoments>& parts, std::size_t without) {
  RunningMoments all;
  for (std::size_t k = 0; k < parts.size(); ++k)
    if (k != without) all.merge(parts[k]);
  return all;
}
constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

/// Weighted mean and squared deviations of n numbers in two passes.
RunningMoments moments_of(const double* z, const double* w, uword n) {
  RunningMoments m;
  simd::weighted_moments(z, w, n, m.weight, m.mean, m.squares);
  return m.weight > 0 ? m : RunningMoments{};
}

}  // namespace

RegionColumns::RegionColumns(const Schema& schema, uword regions)
    : regions_(regions),
      numeric_(schema.numeric_inputs()),
      sums_(schema.inputs.size(), std::vector<Sums>(regions)),
      weight_(regions, 0.0),
      sample_(kSampleStream,
              std::clamp<std::size_t>(kMostNumbers / (numeric_ + regions), kLeastRows, kMostRows)) {
  for (std::size_t j = 0; j < sums_.size(); ++j)
    for (Sums& s : sums_[j]) s.levels.assign(schema.inputs[j].levels.size() + 1, 0.0);
}

void RegionColumns::add(const Schema& schema, const Block& block, const mat& gate) {
  mat inside = gate;
  if (block.weight) inside.each_col() %= vec(const_cast<double*>(block.weight), block.rows, false, true);
  for (uword k = 0; k < regions_; ++k) weight_[k] += arma::accu(inside.col(k));
  for (uword j = 0; j < schema.inputs.size(); ++j) {
    if (schema.inputs[j].kind == ColumnKind::numeric)
      add_numeric(schema.inputs[j], j, block, inside);
    else
      add_levels(j, schema.inputs[j], block, inside);
  }
}

std::size_t RegionColumns::cells() const {
  std::size_t count = 0;
  for (const std::vector<Sums>& of : sums_)
    if (!of.empty()) count += of.size() * (sizeof(Sums) / sizeof(double) + of[0].levels.size());
  return count;
}

void RegionColumns::merge(const RegionColumns& later) {
  for (uword k = 0; k < regions_; ++k) weight_[k] += later.weight_[k];
  for (std::size_t j = 0; j < sums_.size(); ++j)
    for (uword k = 0; k < regions_; ++k) {
      Sums& to = sums_[j][k];
      const Sums& from = later.sums_[j][k];
      to.present.merge(from.present);
      to.missing += from.missing;
      for (std::size_t l = 0; l < to.levels.size(); ++l) to.levels[l] += from.levels[l];
    }
}

void RegionColumns::add_numeric(const Column& column, uword j, const Block& block, const mat& inside) {
  const Scale scale(column);
  const double* x = block.numeric_column(column.index);
  std::vector<double> z, w;
  std::vector<uword> present, missing;
  for (uword i = 0; i < block.rows; ++i) {
    (std::isnan(x[i]) ? missing : present).push_back(i);
    if (!std::isnan(x[i])) z.push_back((x[i] - scale.centre) / scale.spread);
  }
  for (uword k = 0; k < regions_; ++k) {
    Sums& to = sums_[j][k];
    const double* weight = inside.colptr(k);
    for (const uword i : missing) to.missing += weight[i];
    if (!missing.empty()) {
      w.clear();
      for (const uword i : present) w.push_back(weight[i]);
      weight = w.data();
    }
    to.present.merge(moments_of(z.data(), weight, z.size()));
  }
}

void RegionColumns::add_levels(uword j, const Column& column, const Block& block, const mat& inside) {
  const std::uint32_t* code = block.level_column(column.index);
  const auto levels = static_cast<std::uint32_t>(column.levels.size());
  for (uword k = 0; k < regions_; ++k)
    for (uword i = 0; i < block.rows; ++i) sums_[j][k].levels[std::min(code[i], levels)] += inside(i, k);
}

void RegionColumns::sample(const Block& block, const mat& gate, std::uint64_t first) {
  if (numeric_ == 0) return;
  for (uword i = 0; i < block.rows; ++i) {
    const std::uint64_t key = sample_.key(first + i);
    if (!sample_.wants(key)) continue;
    Sampled row{key, std::vector<double>(numeric_), std::vector<double>(regions_)};
    for (uword j = 0; j < numeric_; ++j) row.numeric[j] = block.numeric_column(j)[i];
    const double w = block.weight ? block.weight[i] : 1.0;
    for (uword k = 0; k < regions_; ++k) row.weight[k] = w * gate(i, k);
    sample_.add(std::move(row));
  }
}

namespace {

/// Quantiles of weighted values in rising order: linear between the middles of the weights (for equal weights
/// Hazen's rule). Rows of the same value share their weight evenly, so that their order means nothing.
void weighted_quantiles(const std::vector<double>& value, const std::vector<double>& weight, double total,
                        RegionColumn& out) {
  const double levels[] = {0.05, 0.25, 0.5, 0.75, 0.95};
  double* const to[] = {&out.q05, &out.q25, &out.q50, &out.q75, &out.q95};
  double before = 0, last_middle = 0, last_value = 0;
  bool any = false;
  std::size_t l = 0;
  for (std::size_t i = 0; i < value.size();) {
    const double here = value[i];
    double of_value = 0, rows = 0;
    for (; i < value.size() && value[i] == here; ++i)
      if (weight[i] > 0) of_value += weight[i], ++rows;
    if (!(rows > 0)) continue;
    const double half = 0.5 * of_value / rows, middle = before + half;
    for (; l < 5 && levels[l] * total <= middle; ++l) {
      const double part = (levels[l] * total - last_middle) / (middle - last_middle);
      *to[l] = any ? std::lerp(last_value, here, part) : here;
    }
    before += of_value, last_middle = before - half, last_value = here;
    for (; l < 5 && levels[l] * total <= last_middle; ++l) *to[l] = here;
    any = true;
  }
  for (; l < 5; ++l) *to[l] = last_value;
}

}  // namespace

void RegionColumns::fill_quantiles(const Column& column, std::vector<RegionColumn>& out) const {
  const std::vector<Sampled>& rows = sample_.rows();
  struct Place {
    double value;
    std::uint64_t key;  // rows of the same value: a fixed order
    std::size_t row;
    bool operator<(const Place& other) const {
      return value != other.value ? value < other.value : key < other.key;
    }
  };
  std::vector<Place> order;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (const double x = rows[i].numeric[column.index]; !std::isnan(x)) order.push_back({x, rows[i].key, i});
  std::sort(order.begin(), order.end());
  std::vector<double> value, weight(order.size());
  for (const Place& place : order) value.push_back(place.value);
  for (uword k = 0; k < regions_; ++k) {
    for (std::size_t i = 0; i < order.size(); ++i) weight[i] = rows[order[i].row].weight[k];
    const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
    if (total > 0) weighted_quantiles(value, weight, total, out[k]);
  }
}

std::vector<RegionColumn> RegionColumns::numeric_columns(const Column& column, uword j) const {
  const Scale scale(column);
  std::vector<RunningMoments> parts;
  for (const Sums& s : sums_[j]) parts.push_back(s.present);
  const double overall = pooled(parts, kNone).sd();
  std::vector<RegionColumn> out(regions_);
  for (uword k = 0; k < regions_; ++k) {
    const RunningMoments rest = pooled(parts, k);
    out[k].column = column.name;
    if (parts[k].weight > 0) out[k].mean = scale.centre + scale.spread * parts[k].mean;
    out[k].sd = scale.spread * parts[k].sd();
    if (overall > 0 && rest.weight > 0 && parts[k].weight > 0)
      out[k].difference = (parts[k].mean - rest.mean) / overall;
    if (weight_[k] > 0) out[k].missing = sums_[j][k].missing / weight_[k];
  }
  fill_quantiles(column, out);
  return out;
}

void RegionColumns::level_columns(const Column& column, uword j,
                                  std::vector<std::vector<RegionColumn>>& out) const {
  const double everything = std::accumulate(weight_.begin(), weight_.end(), 0.0);
  const std::size_t levels = column.levels.size();
  for (std::size_t l = 0; l < levels; ++l) {
    double with_level = 0;
    for (const Sums& s : sums_[j]) with_level += s.levels[l];
    const double share = everything > 0 ? with_level / everything : 0;
    const double overall = std::sqrt(share * (1 - share));
    for (uword k = 0; k < regions_; ++k) {
      RegionColumn entry;
      entry.column = column.name;
      entry.level = column.levels[l];
      const double rest = everything - weight_[k], inside = sums_[j][k].levels[l];
      if (weight_[k] > 0) {
        entry.mean = inside / weight_[k];
        entry.sd = std::sqrt(std::max(0.0, entry.mean * (1 - entry.mean)));
        entry.missing = sums_[j][k].levels[levels] / weight_[k];
        // What rounding leaves of the rest is no region.
        if (overall > 0 && rest > 1e-12 * everything)
          entry.difference = (entry.mean - (with_level - inside) / rest) / overall;
      }
      out[k].push_back(std::move(entry));
    }
  }
}

std::vector<std::vector<RegionColumn>> RegionColumns::columns(const Schema& schema) const {
  std::vector<std::vector<RegionColumn>> out(regions_);
  for (uword j = 0; j < schema.inputs.size(); ++j) {
    if (schema.inputs[j].kind == ColumnKind::categorical) {
      level_columns(schema.inputs[j], j, out);
      continue;
    }
    std::vector<RegionColumn> entries = numeric_columns(schema.inputs[j], j);
    for (uword k = 0; k < regions_; ++k) out[k].push_back(std::move(entries[k]));
  }
  return out;
}

}  // namespace moekit
