#pragma once
#include <functional>
#include <string>

#include "moekit/csv.hpp"
#include "moekit/predict.hpp"
#include "moekit/sum.hpp"

namespace moekit::cli {

/// A block of new rows, its prediction, and what was made from the two.
struct Scored {
  BlockData rows;
  Prediction prediction;
  std::string text;
  vec extrapolation;  ///< n, or empty (flags.hpp)
};

/// Reads all rows and predicts them, several blocks at once; `work` runs beside the prediction, from several
/// threads, `deliver` afterwards in the order of the file. Memory does not depend on the number of rows.
void scan_rows(RowReader& reader, const Model& model, const Compute& compute,
               const std::function<void(Scored&)>& work, const std::function<void(Scored&)>& deliver);

}  // namespace moekit::cli
