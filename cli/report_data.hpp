#pragma once
#include <string>
#include <vector>

#include "moekit/diagnose.hpp"
#include "report_rows.hpp"
#include "report_sums.hpp"

namespace moekit::cli {

/// Everything that a report shows, gathered in one pass over the rows in bounded memory (docs/formats.md has
/// the keys). Sums are over all rows; plots of rows show a sample.
class ReportData {
 public:
  /// carried: names of the columns that name a row.
  ReportData(const Model& model, std::vector<std::string> carried, std::uint64_t seed);
  /// What costs time for a block; from any thread, after scored.partition is known.
  void measure(Scored& scored) const;
  /// In the order of the file; after measure().
  void add(const Scored& scored);
  /// diagnosis: of the same rows.
  Json json(const Diagnosis& diagnosis, const Compute& compute = {}) const;

 private:
  const Model& model_;
  std::vector<std::string> carried_;
  ReportSums blank_, sums_;
  RowSample sample_;
  RowsToLookAt look_;
  std::uint64_t rows_ = 0;
};

}  // namespace moekit::cli
