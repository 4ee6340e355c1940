#pragma once
#include <string>

#include "json_output.hpp"
#include "moekit/evaluate.hpp"

namespace moekit::cli {

/// The keys of `evaluate --json`.
Json metrics_json(const Metrics& metrics);
/// The same for people, a line a metric with what it means.
std::string metrics_text(const Metrics& metrics);
/// One line: "held-out: 40 rows, nll 4.21, rmse 22.3".
std::string metrics_line(const Metrics& metrics);
/// What to say when calibration rows are too few for an interval of this level; empty when they are not.
std::string conformal_note(const Conformal& conformal, double level);

}  // namespace moekit::cli
