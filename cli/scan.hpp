#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "moekit/csv.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/predict.hpp"
#include "moekit/sum.hpp"

namespace moekit::cli {

class ReportSums;

/// A block of new rows, its prediction, and what was made from the two.
struct Scored {
  BlockData rows;
  Prediction prediction;
  std::string text;
  vec extrapolation;  ///< n, or empty (flags.hpp)
  // Of a diagnosis, else empty.
  std::vector<PartitionRow> partition;
  Diagnoser::Part diagnosis;
  std::shared_ptr<const ReportSums> sums;
};

/// Reads all rows and predicts them, several blocks at once; `work` runs beside the prediction, from several
/// threads, `deliver` afterwards in the order of the file. Memory does not depend on the number of rows.
void scan_rows(RowReader& reader, const Model& model, const Compute& compute,
               const std::function<void(Scored&)>& work, const std::function<void(Scored&)>& deliver);

/// Fills what a diagnosis needs of a block, from any thread; label as in Diagnoser::add.
void describe(const Diagnoser& diagnoser, std::span<const std::uint32_t> label, Scored& scored);

}  // namespace moekit::cli
