#pragma once
#include <string>
#include <vector>

#include "json_output.hpp"

namespace moekit::cli {

/// A name of the user as the report carries it: at most 120 characters, "..." where something went.
std::string short_name(const std::string& name);
/// A number for a plot: six significant digits, null where it is not finite. Figures are never rounded.
Json plotted(double value);
Json plotted(const std::vector<double>& values);
/// JSON as the content of a <script> element: no '<', '>', '&' and no line separators of JavaScript, so that
/// nothing in the data can end the element or begin another. Bytes that are not UTF-8 are replaced.
std::string embedded(const Json& json);
/// Text as the content or a quoted attribute of an XML or HTML element.
std::string escaped(const std::string& text);

}  // namespace moekit::cli
