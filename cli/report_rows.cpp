#include "report_rows.hpp"

#include <algorithm>
#include <cmath>

#include "moekit/diagnose.hpp"
#include "moekit/rng.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kMostSampled = 5000;
/// Cells that a sample may hold: 32 MB, whatever the number of columns.
constexpr std::size_t kMostCells = 4'000'000;
constexpr std::size_t kIdWidth = 60;
constexpr std::uint64_t kSampleStream = 0x7265706f7274;  // "report"

/// "wrong and sure": the gate gave so much, the responsibility is that little.
constexpr double kSure = 0.9, kDenied = 0.1;

}  // namespace

ReportRow report_row(const Model& model, const Scored& scored, uword i, std::uint64_t first) {
  const Prediction& p = scored.prediction;
  const BlockData& rows = scored.rows;
  const PartitionRow& of = scored.partition[i];
  ReportRow out;
  out.row = first + i;
  for (const std::vector<std::string>& column : rows.carried)
    out.id += (out.id.empty() ? "" : ", ") + shorten(column[i], kIdWidth);
  out.expert = p.region(i);
  out.gate = p.gate(i, out.expert);
  out.entropy = of.gate_entropy;
  out.boundary = of.boundary;
  out.outlier = of.outlier;
  out.extrapolation = scored.extrapolation.is_empty() ? std::nan("") : scored.extrapolation[i];
  out.known = p.has_target && !std::isnan(p.log_density[i]);
  out.log_density = out.known ? p.log_density[i] : std::nan("");
  out.responsibility = out.known ? p.responsibility(i, out.expert) : std::nan("");
  out.responsible = out.known ? p.responsibility.row(i).index_max() : out.expert;
  for (std::size_t j = 0; j < rows.numeric.size(); j += rows.rows) out.numeric.push_back(rows.numeric[j + i]);
  for (std::size_t j = 0; j < rows.levels.size(); j += rows.rows) out.levels.push_back(rows.levels[j + i]);
  const Block block = rows.view();
  for (uword j = 0; j < model.schema.targets(); ++j) {
    const Prediction& each = p.targets.empty() ? p : p.targets[j];
    const bool classes = !each.probability.is_empty();
    out.target.push_back(block.target ? block.target_column(j)[i] : std::nan(""));
    out.mean.push_back(classes ? static_cast<double>(each.label[i]) : each.mean[i]);
    out.sd.push_back(classes ? each.probability(i, each.label[i]) : each.sd[i]);
  }
  return out;
}

RowSample::RowSample(const Model& model, std::uint64_t seed)
    : model_(model),
      seed_(seed),
      capacity_(std::clamp(kMostCells / (model.schema.inputs.size() + 16), std::size_t{200}, kMostSampled)) {}

void RowSample::add(const Scored& scored, std::uint64_t first) {
  for (uword i = 0; i < scored.rows.rows; ++i) {
    const std::uint64_t row = first + i;
    if (rows_.size() < capacity_) {
      rows_.push_back(report_row(model_, scored, i, first));
      continue;
    }
    const std::uint64_t place = Rng(seed_, kSampleStream, row).below(row + 1);
    if (place < capacity_) rows_[place] = report_row(model_, scored, i, first);
  }
}

std::vector<ReportRow> RowSample::rows() const {
  std::vector<ReportRow> out = rows_;
  std::sort(out.begin(), out.end(), [](const ReportRow& a, const ReportRow& b) { return a.row < b.row; });
  return out;
}

void TopRows::add(double score, ReportRow row) {
  const auto place = std::upper_bound(rows_.begin(), rows_.end(), score,
                                      [](double value, const Entry& entry) { return value > entry.score; });
  rows_.insert(place, {score, std::move(row)});
  if (rows_.size() > most_) rows_.pop_back();
}

std::vector<ReportRow> TopRows::rows() const {
  std::vector<ReportRow> out;
  for (const Entry& entry : rows_) out.push_back(entry.row);
  return out;
}

void RowsToLookAt::add(const Model& model, const Scored& scored, std::uint64_t first) {
  const Prediction& p = scored.prediction;
  const bool classes = model.schema.target.task == Task::classification;
  const auto offer = [&](TopRows& to, double score, uword i) {
    if (to.wants(score)) to.add(score, report_row(model, scored, i, first));
  };
  for (uword i = 0; i < scored.rows.rows; ++i) {
    if (!scored.extrapolation.is_empty() && scored.extrapolation[i] > 1)
      offer(far, scored.extrapolation[i], i);
    if (!p.has_target || std::isnan(p.log_density[i])) continue;
    const uword chosen = p.region(i);
    const double gate = p.gate(i, chosen), responsibility = p.responsibility(i, chosen);
    if (gate > kSure && responsibility < kDenied) offer(other_region, gate - responsibility, i);
    if (classes && p.label[i] != static_cast<uword>(scored.rows.target[i]))
      offer(wrong, p.probability(i, p.label[i]), i);
    if (outliers.wants(-p.log_density[i]) && scored.partition[i].outlier)
      offer(outliers, -p.log_density[i], i);
  }
}

}  // namespace moekit::cli
