#pragma once
#include <string>

#include "csv_writer.hpp"
#include "json_output.hpp"
#include "moekit/diagnose.hpp"
#include "scan.hpp"

namespace moekit::cli {

/// partition.csv, row by row: id (or row number), expert, gate_<k>, with a target responsibility_<k> and
/// log_density, then gate_entropy, boundary, and with a target outlier.
class PartitionRows {
 public:
  PartitionRows(const Model& model, std::vector<std::string> carried, bool has_target)
      : model_(model), carried_(std::move(carried)), has_target_(has_target) {}
  void header(CsvWriter& out) const;
  /// `first`: index of the first row among all rows.
  void rows(const Scored& scored, std::uint64_t first, CsvWriter& out) const;

 private:
  const Model& model_;
  std::vector<std::string> carried_;
  bool has_target_;
};

std::string experts_csv(const Model& model, const Diagnosis& diagnosis);
std::string coefficients_csv(const Diagnosis& diagnosis);
std::string regions_csv(const Diagnosis& diagnosis);
std::string rules_csv(const Diagnosis& diagnosis);
/// The boundary between each two regions of a softmax gate: where the sum of coefficient x term is 0; above
/// lies `region`. Empty but for the heading for other gates and for more than 64 regions.
std::string gate_csv(const Diagnosis& diagnosis);
Json summary_json(const Model& model, const Diagnosis& diagnosis);
/// One screen for people.
std::string diagnosis_text(const Model& model, const Diagnosis& diagnosis);

}  // namespace moekit::cli
