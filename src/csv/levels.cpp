#include "levels.hpp"

#include <algorithm>
#include <numeric>

#include "number.hpp"

namespace moekit::csv {

namespace {

bool all_numbers(const std::vector<std::string>& texts, char decimal, std::vector<double>& values) {
  values.resize(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (parse_number(texts[i], decimal, values[i]) != NumberStatus::number) return false;
  return true;
}

}  // namespace

LevelIndex::LevelIndex(const std::vector<std::string>& levels, char decimal)
    : size_(static_cast<std::uint32_t>(levels.size())), decimal_(decimal) {
  for (std::uint32_t i = 0; i < size_; ++i) codes_.emplace(levels[i], i);
  std::vector<double> values;
  if (all_numbers(levels, decimal, values))
    for (std::uint32_t i = 0; i < size_; ++i) numbers_.emplace(values[i], i);
}

std::uint32_t LevelIndex::find(std::string_view text) const {
  if (const auto it = codes_.find(text); it != codes_.end()) return it->second;
  double value;
  if (numbers_.empty() || parse_number(text, decimal_, value) != NumberStatus::number) return size_;
  const auto it = numbers_.find(value);
  return it == numbers_.end() ? size_ : it->second;
}

std::vector<std::uint32_t> order_levels(const std::vector<std::string>& texts, char decimal,
                                        std::vector<std::string>& sorted) {
  std::vector<double> values;
  const bool numeric = all_numbers(texts, decimal, values);
  std::vector<std::uint32_t> order(texts.size()), codes(texts.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return numeric ? values[a] < values[b] : texts[a] < texts[b];
  });
  sorted.clear();
  for (std::size_t i = 0; i < order.size(); ++i) {
    const bool again = numeric && i > 0 && values[order[i]] == values[order[i - 1]];
    if (!again) sorted.push_back(texts[order[i]]);
    codes[order[i]] = static_cast<std::uint32_t>(sorted.size() - 1);
  }
  return codes;
}

std::uint32_t LevelCounter::add(std::string_view text, std::uint64_t line) {
  if (const auto it = codes_.find(text); it != codes_.end()) {
    ++levels_[it->second].rows;
    return it->second;
  }
  if (levels_.size() >= limit_) return kNone;
  const auto code = static_cast<std::uint32_t>(levels_.size());
  levels_.push_back({std::string(text), 1, line});
  codes_.emplace(levels_.back().text, code);
  return code;
}

}  // namespace moekit::csv
