#include "report_sums.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moekit/diagnose.hpp"
#include "report_json.hpp"
#include "report_rows.hpp"

namespace moekit::cli {

namespace {

constexpr std::array<double, 21> kLevels = {0.05, 0.1,  0.15, 0.2,  0.25, 0.3,  0.35, 0.4,  0.45, 0.5,  0.55,
                                            0.6,  0.65, 0.7,  0.75, 0.8,  0.85, 0.9,  0.95, 0.99, 0.999};
/// More regions than this have no table of which of them meet.
constexpr uword kMostMeeting = 1024;
constexpr std::size_t kPairsShown = 12;

std::size_t bin_of(double part, std::size_t bins) {
  const double at = part * static_cast<double>(bins);
  return at > 0 ? std::min(bins - 1, static_cast<std::size_t>(at)) : 0;
}

double share_of(double part, double whole) { return whole > 0 ? part / whole : 0; }

template <class Values>
Json shares(const Values& values, double whole) {
  Json out = Json::array();
  for (const double value : values) out.push_back(share_of(value, whole));
  return out;
}

/// Classes by falling share in training.
std::vector<std::size_t> by_share(const Target& target) {
  std::vector<std::size_t> order(target.labels.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return target.shares[a] > target.shares[b]; });
  return order;
}

}  // namespace

ReportSums::ReportSums(const Model& model) : model_(model), experts_(model.members.front().count()) {
  region_weight_.resize(experts_);
  region_entropy_.resize(experts_);
  region_boundary_.resize(experts_);
  for (const double level : kLevels)
    reach_.push_back(model.conformal.known() ? model.conformal.threshold(level) : level);
  if (model.conformal.known()) reach_90_ = model.conformal.threshold(0.9);
  const Target& target = model.schema.target;
  if (target.task != Task::classification) {
    targets_.resize(model.schema.targets());
    for (OfTarget& each : targets_) {
      each.covered_first.resize(kLevels.size());
      each.weight.resize(experts_);
      each.covered.resize(experts_);
    }
    return;
  }
  std::vector<std::size_t> shown = by_share(target);
  const bool all = shown.size() <= kMostClasses;
  if (!all) shown.resize(kMostClasses - 1);
  std::sort(shown.begin(), shown.end());
  place_.assign(target.labels.size(), shown.size());
  for (std::size_t j = 0; j < shown.size(); ++j) {
    place_[shown[j]] = j;
    classes_.push_back(short_name(target.labels[shown[j]]));
  }
  if (!all) classes_.push_back("(other classes)");
  const std::size_t matrices = 1 + std::min<std::size_t>(experts_, kMostRegions);
  confusion_.resize(matrices * classes_.size() * classes_.size());
  reliability_.resize((1 + experts_) * kTopBins);
}

void ReportSums::add_gate(const Scored& scored, const std::vector<double>& w) {
  const mat& gate = scored.prediction.gate;
  const std::vector<PartitionRow>& of = scored.partition;
  const std::size_t n = w.size();
  const double most = std::log(static_cast<double>(experts_));
  for (std::size_t i = 0; i < n; ++i)
    entropy_[most > 0 ? bin_of(of[i].gate_entropy / most, kBins) : 0] += w[i];
  // Column by column, as the weights lie in memory.
  std::vector<double> runner_up(n, -1);
  std::vector<uword> second(n);
  for (uword k = 0; k < experts_; ++k) {
    const double* g = gate.colptr(k);
    double weight = region_weight_[k], entropy = region_entropy_[k], boundary = region_boundary_[k];
    for (std::size_t i = 0; i < n; ++i) {
      const double inside = w[i] * g[i];
      weight += inside;
      entropy += inside * of[i].gate_entropy;
      boundary += of[i].boundary ? inside : 0;
      const bool runs_up = g[i] > runner_up[i] && scored.prediction.region(i) != k;
      runner_up[i] = runs_up ? g[i] : runner_up[i];
      second[i] = runs_up ? k : second[i];
    }
    region_weight_[k] = weight, region_entropy_[k] = entropy, region_boundary_[k] = boundary;
  }
  for (std::size_t i = 0; experts_ <= kMostMeeting && i < n; ++i) {
    if (!of[i].boundary) continue;
    const uword first = scored.prediction.region(i);
    meeting_[std::min(first, second[i]) * experts_ + std::max(first, second[i])] += w[i];
  }
}

void ReportSums::add_values(const Prediction& p, const Prediction& whole, const double* y,
                            const std::vector<double>& w, OfTarget& to) const {
  const std::size_t n = w.size();
  std::vector<double> known(n), inside(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (std::isnan(whole.log_density[i])) continue;
    const double score = conformal_score(p, i, y[i]);
    to.known += known[i] = w[i];
    const auto level = std::lower_bound(reach_.begin(), reach_.end(), score);  // these rise
    if (level != reach_.end()) to.covered_first[static_cast<std::size_t>(level - reach_.begin())] += w[i];
    if (score <= reach_90_) inside[i] = w[i];
    add_pit(p, i, w[i], to);
  }
  for (uword k = 0; k < experts_; ++k) {
    const double* g = whole.gate.colptr(k);
    double weight = to.weight[k], covered = to.covered[k];
    for (std::size_t i = 0; i < n; ++i) {
      weight += known[i] * g[i];
      covered += inside[i] * g[i];
    }
    to.weight[k] = weight, to.covered[k] = covered;
  }
}

void ReportSums::add_pit(const Prediction& p, uword i, double w, OfTarget& to) const {
  // F of a count jumps at y: its weight is spread over the jump, so that a true model gives a flat histogram.
  const double upper = p.cumulative[i];
  if (!p.discrete) {
    to.pit[bin_of(upper, kBins)] += w;
    return;
  }
  const double lower = std::max(0.0, upper - std::exp(p.log_density[i]));
  if (!(upper > lower)) {
    to.pit[bin_of(upper, kBins)] += w;
    return;
  }
  const double bins = static_cast<double>(kBins);
  for (std::size_t b = bin_of(lower, kBins); b <= bin_of(upper, kBins); ++b) {
    const double begin = std::max(lower, static_cast<double>(b) / bins),
                 end = std::min(upper, static_cast<double>(b + 1) / bins);
    to.pit[b] += w * std::max(0.0, end - begin) / (upper - lower);
  }
}

void ReportSums::add_class(const Prediction& p, uword i, double y, double w) {
  const auto truth = static_cast<uword>(y);
  const uword label = p.label[i];
  const double top = p.probability(i, label), hit = label == truth ? 1 : 0;
  const std::size_t c = classes_.size(), cell = class_place(truth) * c + class_place(label);
  const std::size_t bin = bin_of(top, kTopBins), shown = std::min<std::size_t>(experts_, kMostRegions);
  confusion_[cell] += w;
  for (uword k = 0; k < shown; ++k) confusion_[(1 + k) * c * c + cell] += w * p.gate(i, k);
  const auto to_bin = [&](std::size_t which, double part) {
    Bin& b = reliability_[which * kTopBins + bin];
    b.weight += part;
    b.confidence += part * top;
    b.correct += part * hit;
  };
  to_bin(0, w);
  for (uword k = 0; k < experts_; ++k) to_bin(1 + k, w * p.gate(i, k));
}

void ReportSums::add(const Scored& scored) {
  const Prediction& p = scored.prediction;
  const Block block = scored.rows.view();
  std::vector<double> w(block.rows, 1.0);
  if (block.weight) w.assign(block.weight, block.weight + block.rows);
  for (const double each : w) weight_ += each;
  add_gate(scored, w);
  if (!p.has_target) return;
  for (std::size_t j = 0; j < targets_.size(); ++j)
    add_values(p.targets.empty() ? p : p.targets[j], p, block.target_column(j), w, targets_[j]);
  for (uword i = 0; targets_.empty() && i < block.rows; ++i)
    if (!std::isnan(p.log_density[i])) add_class(p, i, block.target[i], w[i]);
}

namespace {

void add_all(auto& to, const auto& from) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

}  // namespace

void ReportSums::merge(const ReportSums& later) {
  weight_ += later.weight_;
  add_all(entropy_, later.entropy_);
  add_all(region_weight_, later.region_weight_);
  add_all(region_entropy_, later.region_entropy_);
  add_all(region_boundary_, later.region_boundary_);
  add_all(confusion_, later.confusion_);
  for (const auto& [pair, weight] : later.meeting_) meeting_[pair] += weight;
  for (std::size_t j = 0; j < targets_.size(); ++j) {
    OfTarget& to = targets_[j];
    const OfTarget& from = later.targets_[j];
    to.known += from.known;
    add_all(to.pit, from.pit);
    add_all(to.covered_first, from.covered_first);
    add_all(to.weight, from.weight);
    add_all(to.covered, from.covered);
  }
  for (std::size_t b = 0; b < reliability_.size(); ++b) {
    reliability_[b].weight += later.reliability_[b].weight;
    reliability_[b].confidence += later.reliability_[b].confidence;
    reliability_[b].correct += later.reliability_[b].correct;
  }
}

Json ReportSums::entropy() const {
  Json out;
  out["most"] = std::log(static_cast<double>(experts_));
  out["histogram"] = shares(entropy_, weight_);
  Json& regions = out["regions"] = Json::array();
  for (uword k = 0; k < experts_; ++k)
    regions.push_back({{"entropy", share_of(region_entropy_[k], region_weight_[k])},
                       {"boundary", share_of(region_boundary_[k], region_weight_[k])}});
  std::vector<std::size_t> order;
  for (const auto& [pair, weight] : meeting_)
    if (weight > 0) order.push_back(pair);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return meeting_.at(a) != meeting_.at(b) ? meeting_.at(a) > meeting_.at(b) : a < b;
  });
  Json& pairs = out["meeting"] = Json::array();
  for (std::size_t i = 0; i < std::min(kPairsShown, order.size()); ++i)
    pairs.push_back({{"regions", {order[i] / experts_ + 1, order[i] % experts_ + 1}},
                     {"share", share_of(meeting_.at(order[i]), weight_)}});
  return out;
}

Json ReportSums::calibration() const {
  Json out;
  Json& targets = out["targets"] = Json::array();
  for (std::size_t j = 0; j < targets_.size(); ++j) {
    const OfTarget& of = targets_[j];
    if (!(of.known > 0)) continue;
    Json each = {{"target", short_name(model_.schema.target_at(j).name)}, {"pit", shares(of.pit, of.known)}};
    each["levels"] = kLevels;
    std::vector<double> covered(of.covered_first.size());
    std::partial_sum(of.covered_first.begin(), of.covered_first.end(), covered.begin());
    each["coverage"] = shares(covered, of.known);
    Json& regions = each["regions"] = Json::array();
    for (uword k = 0; k < experts_; ++k)
      regions.push_back({{"coverage_90", json_number(of.covered[k] / of.weight[k])}});
    targets.push_back(std::move(each));
  }
  if (reliability_.empty()) return out;
  const auto figures = [&](std::size_t which, Json* bins) {
    Bin all;
    double gap = 0;
    for (std::size_t b = 0; b < kTopBins; ++b) {
      const Bin& bin = reliability_[which * kTopBins + b];
      all.weight += bin.weight;
      all.confidence += bin.confidence;
      all.correct += bin.correct;
      gap += std::abs(bin.correct - bin.confidence);
      if (bins && bin.weight > 0)
        bins->push_back({{"confidence", bin.confidence / bin.weight},
                         {"accuracy", bin.correct / bin.weight},
                         {"weight", bin.weight}});
    }
    return Json{{"accuracy", share_of(all.correct, all.weight)},
                {"confidence", share_of(all.confidence, all.weight)},
                {"ece", share_of(gap, all.weight)},
                {"known", all.weight > 0}};
  };
  Json bins = Json::array();
  Json classes = figures(0, &bins);
  if (!classes["known"].get<bool>()) return out;
  classes["bins"] = std::move(bins);
  classes["regions"] = Json::array();
  for (uword k = 0; k < experts_; ++k) classes["regions"].push_back(figures(1 + k, nullptr));
  out["classes"] = std::move(classes);
  return out;
}

Json ReportSums::confusion() const {
  const std::size_t c = classes_.size();
  if (c == 0 || !(std::accumulate(confusion_.begin(), confusion_.end(), 0.0) > 0)) return nullptr;
  Json out = {{"classes", classes_}};
  Json& matrices = out["matrices"] = Json::array();
  for (std::size_t m = 0; m < confusion_.size() / (c * c); ++m) {
    Json rows = Json::array();
    for (std::size_t truth = 0; truth < c; ++truth) {
      const auto from = confusion_.begin() + static_cast<std::ptrdiff_t>((m * c + truth) * c);
      rows.push_back(std::vector<double>(from, from + static_cast<std::ptrdiff_t>(c)));
    }
    matrices.push_back(std::move(rows));
  }
  return out;
}

}  // namespace moekit::cli
