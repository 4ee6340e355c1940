#pragma once
#include <string>

#include "json_output.hpp"

namespace moekit::cli {

/// The report as one HTML file that needs no network: style, script and data are in it. `interactive`: with
/// the plots of the build, if it has them; without, plain pictures stand beside the tables.
std::string report_page(const Json& data, bool interactive = true);

}  // namespace moekit::cli
