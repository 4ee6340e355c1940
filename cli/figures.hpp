#pragma once
#include <string>
#include <vector>

#include "json_output.hpp"

namespace moekit::cli {

/// A picture for papers and README.
struct Figure {
  std::string name;  ///< "map", "curves", "shares", "calibration": of the file without ".svg"
  std::string svg;
};

/// The main plots of a report as static SVG: the regions over the two most telling inputs, or the curves of a
/// model of one input (curves_2 for the second target, and so on), shares of the regions, and with a target
/// calibration. `data`: of ReportData::json.
std::vector<Figure> figures(const Json& data);

}  // namespace moekit::cli
