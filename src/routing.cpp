#include "moekit/routing.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moekit/error.hpp"

namespace moekit {

namespace {

void demand(bool holds, const char* what) {
  if (!holds) throw Error(Errc::internal, std::string("routing report: ") + what);
}

/// Squared coefficient of variation: variance / mean^2, 0 when the mean is.
template <class T>
double squared_variation(const std::vector<T>& values) {
  const double n = static_cast<double>(values.size());
  double mean = 0, variance = 0;
  for (const T v : values) mean += static_cast<double>(v) / n;
  if (mean == 0) return 0;
  for (const T v : values) {
    const double d = static_cast<double>(v) / mean - 1;
    variance += d * d / n;
  }
  return variance;
}

/// Entropy of counts as shares of their sum.
double entropy_of(std::span<const std::uint64_t> counts) {
  const double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  double entropy = 0;
  for (const std::uint64_t c : counts)
    if (c) entropy -= static_cast<double>(c) / total * std::log(static_cast<double>(c) / total);
  return entropy;
}

/// Fills in what the table of labels and experts says.
void add_information(RoutingReport& report) {
  const std::size_t groups = report.labels.size(), experts = report.experts;
  std::vector<std::uint64_t> by_label(groups), by_expert(experts);
  for (std::size_t l = 0; l < groups; ++l)
    for (std::size_t e = 0; e < experts; ++e) {
      by_label[l] += report.label_counts[l * experts + e];
      by_expert[e] += report.label_counts[l * experts + e];
    }
  const auto occur = [](const std::vector<std::uint64_t>& counts) {
    return static_cast<double>(counts.size()) -
           static_cast<double>(std::count(counts.begin(), counts.end(), std::uint64_t{0}));
  };
  const double slots =
      static_cast<double>(std::accumulate(by_label.begin(), by_label.end(), std::uint64_t{0}));
  if (slots == 0) return;
  report.label_entropy = entropy_of(by_label);
  // I = H(label) + H(expert) - H(label, expert); rounding must not make it negative.
  report.mutual_information =
      std::max(0.0, report.label_entropy + entropy_of(by_expert) - entropy_of(report.label_counts));
  report.mutual_information_by_chance = (occur(by_expert) - 1) * (occur(by_label) - 1) / (2 * slots);
}

}  // namespace

RoutingTally::RoutingTally(std::size_t experts, std::size_t picks, std::vector<std::string> labels)
    : experts_(experts),
      picks_(picks),
      labels_(std::move(labels)),
      counts_(experts),
      together_(experts <= kMostPairedExperts ? experts * experts : 0),
      label_counts_(labels_.size() * experts),
      weight_(experts),
      probability_(experts),
      picked_(experts) {}

void RoutingTally::add(const RoutedRow& row) {
  demand(row.pick.size() <= picks_, "a row with more picks than K");
  demand(row.weight.empty() || row.weight.size() == row.pick.size(), "weights do not match the picks");
  demand(row.dropped.empty() || row.dropped.size() == row.pick.size(), "drops do not match the picks");
  demand(row.probability.empty() || row.probability.size() == experts_, "probabilities do not match");
  demand(row.label == kNoLabel || row.label < labels_.size(), "an unknown label");
  for (const std::uint32_t e : row.pick) demand(e < experts_, "an unknown expert");
  ++rows_;
  slots_ += row.pick.size();
  for (std::size_t s = 0; s < row.pick.size(); ++s) {
    const std::size_t e = row.pick[s];
    if (!together_.empty())
      for (const std::uint32_t other : row.pick) ++together_[e * experts_ + other];
    if (!row.dropped.empty() && row.dropped[s]) {
      ++dropped_;
      continue;
    }
    ++counts_[e];
    weight_[e] += row.weight.empty() ? 1.0 / static_cast<double>(row.pick.size()) : row.weight[s];
    if (row.label != kNoLabel) ++label_counts_[row.label * experts_ + e];
  }
  if (!row.probability.empty()) add_probability(row);
  add_margin(row);
}

void RoutingTally::add_probability(const RoutedRow& row) {
  ++with_probability_;
  for (std::size_t e = 0; e < experts_; ++e) probability_[e] += row.probability[e];
  if (!std::isnan(row.entropy)) {
    entropy_ += row.entropy;
    return;
  }
  for (const double p : row.probability)
    if (p > 0) entropy_ -= p * std::log(p);
}

void RoutingTally::add_margin(const RoutedRow& row) {
  double margin = row.margin;
  if (std::isnan(margin)) {
    if (row.probability.empty() || row.pick.empty() || row.pick.size() == experts_) return;
    double least = INFINITY, most = -INFINITY;
    for (const std::uint32_t e : row.pick) {
      least = std::min(least, row.probability[e]);
      picked_[e] = 1;
    }
    for (std::size_t e = 0; e < experts_; ++e)
      if (!picked_[e]) most = std::max(most, row.probability[e]);
    for (const std::uint32_t e : row.pick) picked_[e] = 0;
    margin = least - most;
  }
  count_margin(margin);
}

void RoutingTally::count_margin(double margin) {
  const auto above = std::upper_bound(kMarginEdges.begin(), kMarginEdges.end(), margin);
  ++margins_[above == kMarginEdges.begin() ? 0 : static_cast<std::size_t>(above - kMarginEdges.begin()) - 1];
}

void RoutingTally::add_single(std::span<const uword> pick, std::span<const double> probability,
                              std::span<const double> entropy, std::span<const std::uint32_t> label) {
  const std::size_t rows = pick.size();
  demand(probability.size() == rows * experts_ && entropy.size() == rows, "lengths do not match");
  demand(label.empty() || label.size() == rows, "labels do not match");
  for (const auto e : pick) demand(e < experts_, "an unknown expert");
  for (const std::uint32_t l : label) demand(l == kNoLabel || l < labels_.size(), "an unknown label");
  rows_ += rows;
  slots_ += rows;
  with_probability_ += rows;
  for (std::size_t i = 0; i < rows; ++i) {
    const auto e = static_cast<std::size_t>(pick[i]);
    if (!together_.empty()) ++together_[e * experts_ + e];
    ++counts_[e];
    if (!label.empty() && label[i] != kNoLabel) ++label_counts_[label[i] * experts_ + e];
    weight_[e] += 1;
    entropy_ += entropy[i];
  }
  std::vector<double> own(rows), other(rows, -INFINITY);
  for (std::size_t e = 0; e < experts_; ++e) {
    const double* p = probability.data() + e * rows;
    double sum = probability_[e];
    for (std::size_t i = 0; i < rows; ++i) {
      sum += p[i];
      const bool picked = pick[i] == e;
      own[i] = picked ? p[i] : own[i];
      other[i] = !picked && p[i] > other[i] ? p[i] : other[i];
    }
    probability_[e] = sum;
  }
  for (std::size_t i = 0; experts_ > 1 && i < rows; ++i) count_margin(own[i] - other[i]);
}

void RoutingTally::merge(const RoutingTally& later) {
  demand(experts_ == later.experts_ && picks_ == later.picks_ && labels_ == later.labels_,
         "tallies of different routers");
  const auto add_all = [](auto& to, const auto& from) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
  };
  rows_ += later.rows_;
  slots_ += later.slots_;
  dropped_ += later.dropped_;
  with_probability_ += later.with_probability_;
  entropy_ += later.entropy_;
  add_all(counts_, later.counts_);
  add_all(together_, later.together_);
  add_all(label_counts_, later.label_counts_);
  add_all(weight_, later.weight_);
  add_all(probability_, later.probability_);
  add_all(margins_, later.margins_);
}

RoutingReport RoutingTally::report() const {
  RoutingReport out;
  out.rows = rows_;
  out.experts = experts_;
  out.picks = picks_;
  out.slots = slots_;
  out.counts = counts_;
  out.margins = margins_;
  out.together = together_;
  out.labels = labels_;
  out.label_counts = label_counts_;
  out.utilisation.assign(experts_, 0.0);
  out.importance.assign(experts_, 0.0);
  if (slots_ == 0) {
    out.mean_probability.assign(experts_, 0.0);
    return out;
  }
  const double experts = static_cast<double>(experts_), slots = static_cast<double>(slots_);
  out.dropped = static_cast<double>(dropped_) / slots;
  for (std::size_t e = 0; e < experts_; ++e) {
    out.utilisation[e] = experts * static_cast<double>(counts_[e]) / slots;
    out.importance[e] = weight_[e] / static_cast<double>(rows_);
    if (out.utilisation[e] < 0.01) out.dead.push_back(static_cast<std::uint32_t>(e));
  }
  out.load_cv2 = squared_variation(counts_);
  out.importance_cv2 = squared_variation(weight_);
  out.load_entropy = entropy_of(counts_);
  const double total = static_cast<double>(std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0}));
  if (total > 0)
    out.max_over_mean =
        experts * static_cast<double>(*std::max_element(counts_.begin(), counts_.end())) / total;
  out.switch_balance = out.gate_entropy = std::numeric_limits<double>::quiet_NaN();
  if (with_probability_) {
    const double n = static_cast<double>(with_probability_);
    out.gate_entropy = entropy_ / n;
    out.switch_balance = 0;
    for (std::size_t e = 0; e < experts_; ++e) {
      out.mean_probability.push_back(probability_[e] / n);
      out.switch_balance += out.utilisation[e] * out.mean_probability[e];
    }
  }
  add_information(out);
  return out;
}

}  // namespace moekit
