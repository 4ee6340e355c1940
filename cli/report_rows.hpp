#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "scan.hpp"

namespace moekit::cli {

/// One data row as the report shows it.
struct ReportRow {
  std::uint64_t row = 0;  ///< from 0, in the order of the file
  std::string id;         ///< values of the id columns, or empty
  uword expert = 0;
  double gate = 0;     ///< its weight, the largest
  double entropy = 0;  ///< of the gate weights, nats
  bool boundary = false, outlier = false, known = false;
  double extrapolation = 0;              ///< NaN: not known
  double log_density = 0;                ///< NaN without a target
  double responsibility = 0;             ///< of `expert`; NaN without a target
  uword responsible = 0;                 ///< the most responsible expert
  std::vector<double> numeric;           ///< inputs by Column::index
  std::vector<std::uint32_t> levels;     ///< inputs by Column::index
  std::vector<double> target, mean, sd;  ///< each target; classes: code, predicted code, its probability
};

/// Row i of a scored block; `first`: index of the block's first row.
ReportRow report_row(const Model& model, const Scored& scored, uword i, std::uint64_t first);

/// A uniform sample of bounded size of rows that pass by: Vitter's algorithm R with random numbers keyed by
/// (seed, row), so that it depends on nothing but the seed and the order of the rows.
class RowSample {
 public:
  RowSample(const Model& model, std::uint64_t seed);
  void add(const Scored& scored, std::uint64_t first);
  /// In the order of the file.
  std::vector<ReportRow> rows() const;
  std::size_t capacity() const { return capacity_; }

 private:
  const Model& model_;
  std::uint64_t seed_;
  std::size_t capacity_;
  std::vector<ReportRow> rows_;
};

/// The rows with the highest scores of those that pass by, the earlier one where scores are equal.
class TopRows {
 public:
  explicit TopRows(std::size_t most) : most_(most) {}
  bool wants(double score) const { return rows_.size() < most_ || score > rows_.back().score; }
  void add(double score, ReportRow row);
  /// Highest score first.
  std::vector<ReportRow> rows() const;

 private:
  struct Entry {
    double score;
    ReportRow row;
  };
  std::size_t most_;
  std::vector<Entry> rows_;  // highest first
};

/// Rows that a person should look at, found while the rows pass by.
class RowsToLookAt {
 public:
  RowsToLookAt() : outliers(kMost), far(kMost), wrong(kMost), other_region(kMost) {}
  void add(const Model& model, const Scored& scored, std::uint64_t first);

  static constexpr std::size_t kMost = 12;
  /// Outliers, least probable first; far from every region; classes: wrong and sure; the gate sure of one
  /// region and the target of another.
  TopRows outliers, far, wrong, other_region;
};

}  // namespace moekit::cli
