#pragma once
#include <optional>
#include <string>
#include <vector>

#include "csv_writer.hpp"
#include "scan.hpp"

namespace moekit::cli {

/// Which columns `predict` writes beside the prediction and its spread.
struct PredictColumns {
  std::vector<double> quantiles;
  std::optional<double> interval;
  bool regions = false, density = false, components = false;
};

/// The output of `predict`: ids, prediction, sd or p_<label>, lower, upper, q<level>, expert, gate_<k>,
/// mean_<k>, log_density.
class PredictionRows {
 public:
  /// Errors: Errc::usage for quantiles, intervals or components of a classification.
  PredictionRows(const Model& model, PredictColumns columns, std::vector<std::string> carried);
  void header(CsvWriter& out) const;
  void rows(const Scored& scored, CsvWriter& out) const;

 private:
  const Model& model_;
  PredictColumns columns_;
  std::vector<std::string> carried_;
  vec levels_;  ///< lower and upper first, when asked for, then the quantiles
  bool classes_;
};

}  // namespace moekit::cli
