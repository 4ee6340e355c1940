#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "harmless.hpp"

namespace moekit::cli {

/// Keys in the order in which they were added.
using Json = nlohmann::ordered_json;

/// JSON has no NaN and no infinity: null.
inline Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

/// Indented, with a line end. Texts of the user that are not UTF-8 get replacement characters; what a
/// terminal would obey is escaped.
inline std::string json_text(const Json& json) {
  return harmless_json(json.dump(2, ' ', false, Json::error_handler_t::replace)) + "\n";
}

}  // namespace moekit::cli
