#pragma once
#include <string_view>

namespace moekit::cli {

// Made from cli/report/ when moekit is built (cli/report/assets.cmake).
extern const std::string_view kReportStyle, kReportScript;
/// Observable Plot; empty in a build without npm: the page then has plain pictures and tables.
extern const std::string_view kReportPlots;

}  // namespace moekit::cli
