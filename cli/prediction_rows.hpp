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
  bool regions = false, density = false, components = false, flags = false;
};

/// gate_1 .. gate_K; of more than 256 routed experts, and of neurons, the picks: expert_1, weight_1, ..
void gate_header(const Model& model, CsvWriter& out);
void gate_cells(const Model& model, const Prediction& prediction, uword row, CsvWriter& out);

/// The output of `predict`: ids, prediction, sd or p_<label>, lower, upper, q<level>, expert, gate_<k>,
/// mean_<k>, multimodal, out_of_region, log_density. Of several targets what is said of one of them comes
/// target by target, with "_<target>" behind the name of the column.
class PredictionRows {
 public:
  /// Errors: Errc::usage for quantiles, intervals or components of a classification, and for flags of a model
  /// that does not know its regions.
  PredictionRows(const Model& model, PredictColumns columns, std::vector<std::string> carried);
  void header(CsvWriter& out) const;
  void rows(const Scored& scored, CsvWriter& out) const;

 private:
  /// What is computed beside the prediction, for one target.
  struct Extra {
    mat interval, quantile;
    arma::uvec peaks;
  };
  /// The model of target j alone.
  const Model& model_of(uword j) const { return marginals_.empty() ? model_ : marginals_[j]; }
  uword targets() const { return model_.schema.targets(); }

  const Model& model_;
  std::vector<Model> marginals_;  ///< of several targets
  PredictColumns columns_;
  std::vector<std::string> carried_;
  vec levels_;  ///< of the quantiles
  bool classes_;
};

}  // namespace moekit::cli
