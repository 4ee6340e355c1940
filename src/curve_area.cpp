#include "curve_area.hpp"

#include <algorithm>
#include <cmath>

namespace moekit {

namespace {

/// Bins of equal width over these logits, 16 MB of them; what lies beyond goes to the outermost.
constexpr std::size_t kBins = std::size_t{1} << 20;
constexpr double kLargestLogit = 20;

/// Adds groups of rows by rising probability.
class Pairs {
 public:
  void add(double positive, double negative) {
    won_ += positive * (negative_ + 0.5 * negative);
    tied_ += positive * negative;
    positive_ += positive;
    negative_ += negative;
  }
  bool known() const { return positive_ > 0 && negative_ > 0; }
  double won() const { return won_ / positive_ / negative_; }
  double tied() const { return tied_ / positive_ / negative_; }

 private:
  double won_ = 0, tied_ = 0, positive_ = 0, negative_ = 0;
};

}  // namespace

std::size_t CurveArea::bin_of(double probability) {
  const double logit = std::log(probability) - std::log1p(-probability);
  const double at = (logit + kLargestLogit) / (2 * kLargestLogit) * static_cast<double>(kBins);
  return at > 0 ? std::min(kBins - 1, static_cast<std::size_t>(std::min(at, static_cast<double>(kBins)))) : 0;
}

void CurveArea::count(const Ranked& row) {
  Bin& bin = bins_[bin_of(row.probability)];
  (row.positive ? bin.positive : bin.negative) += row.weight;
}

void CurveArea::bound_memory() {
  if (bins_.empty() && rows_.size() <= kExactRows) return;
  bins_.resize(kBins);
  for (const Ranked& row : rows_) count(row);
  rows_ = {};
}

void CurveArea::add(double probability, double weight, bool positive) {
  rows_.push_back({probability, weight, positive});
  if (rows_.size() > kExactRows || !bins_.empty()) bound_memory();
}

void CurveArea::merge(const CurveArea& later) {
  rows_.insert(rows_.end(), later.rows_.begin(), later.rows_.end());
  if (!later.bins_.empty()) bins_.resize(kBins);
  bound_memory();
  for (std::size_t b = 0; b < later.bins_.size(); ++b) {
    bins_[b].positive += later.bins_[b].positive;
    bins_[b].negative += later.bins_[b].negative;
  }
}

std::optional<CurveArea::Area> CurveArea::area() const {
  Pairs pairs;
  for (const Bin& bin : bins_) pairs.add(bin.positive, bin.negative);
  std::vector<Ranked> rows = rows_;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Ranked& a, const Ranked& b) { return a.probability < b.probability; });
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    double positive = 0, negative = 0;
    for (end = begin; end < rows.size() && rows[end].probability == rows[begin].probability; ++end)
      (rows[end].positive ? positive : negative) += rows[end].weight;
    pairs.add(positive, negative);
  }
  if (!pairs.known()) return std::nullopt;
  return Area{pairs.won(), bins_.empty() ? 0 : 0.5 * pairs.tied()};
}

}  // namespace moekit
