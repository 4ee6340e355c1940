#include "folds.hpp"

#include <algorithm>
#include <numeric>

#include "moekit/rng.hpp"

namespace moekit::cli {

namespace {

constexpr std::uint64_t kFoldStream = 0x666f6c6473;

/// 0 .. n - 1 in an order drawn from the seed.
std::vector<std::uint64_t> shuffled(std::uint64_t n, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> keys(n);
  for (std::uint64_t i = 0; i < n; ++i) keys[i] = {moekit::Rng(seed, kFoldStream, i).next(), i};
  std::sort(keys.begin(), keys.end());
  std::vector<std::uint64_t> order(n);
  std::transform(keys.begin(), keys.end(), order.begin(), [](const auto& key) { return key.second; });
  return order;
}

}  // namespace

std::vector<std::uint64_t> Folds::rows_in(std::uint32_t fold) const {
  std::vector<std::uint64_t> rows;
  for (std::uint64_t i = 0; i < of_row.size(); ++i)
    if (of_row[i] == fold) rows.push_back(i);
  return rows;
}

std::vector<std::uint64_t> Folds::rows_outside(std::uint32_t fold) const {
  std::vector<std::uint64_t> rows;
  for (std::uint64_t i = 0; i < of_row.size(); ++i)
    if (of_row[i] != fold) rows.push_back(i);
  return rows;
}

Folds deal_groups(const std::vector<std::uint32_t>& group_of_row, std::uint32_t groups, std::uint32_t count,
                  std::uint64_t seed) {
  Folds folds;
  folds.count = std::min(count, groups);
  std::vector<std::uint64_t> group_rows(groups, 0);
  for (const std::uint32_t group : group_of_row) ++group_rows[group];
  // Large groups first, so that the folds come out even; the drawn order decides among equals.
  std::vector<std::uint64_t> order = shuffled(groups, seed);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint64_t a, std::uint64_t b) { return group_rows[a] > group_rows[b]; });
  std::vector<std::uint64_t> fold_rows(folds.count, 0);
  std::vector<std::uint32_t> fold_of_group(groups, 0);
  for (const std::uint64_t group : order) {
    const auto least = std::min_element(fold_rows.begin(), fold_rows.end());
    fold_of_group[group] = static_cast<std::uint32_t>(least - fold_rows.begin());
    *least += group_rows[group];
  }
  for (const std::uint32_t group : group_of_row) folds.of_row.push_back(fold_of_group[group]);
  return folds;
}

Folds deal_rows(const std::vector<std::uint32_t>& stratum_of_row, std::uint32_t count, std::uint64_t seed) {
  Folds folds;
  const std::uint64_t rows = stratum_of_row.size();
  folds.count = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, rows));
  std::vector<std::uint64_t> order = shuffled(rows, seed);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint64_t a, std::uint64_t b) { return stratum_of_row[a] < stratum_of_row[b]; });
  folds.of_row.resize(rows);
  for (std::uint64_t i = 0; i < rows; ++i)
    folds.of_row[order[i]] = static_cast<std::uint32_t>(i % folds.count);
  return folds;
}

}  // namespace moekit::cli
