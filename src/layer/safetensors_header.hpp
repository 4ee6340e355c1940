#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "moekit/safetensors.hpp"

namespace moekit::layer {

/// The JSON header as entries, each with the fields it must have and nothing else. `path` stands in messages.
/// Reads event by event, so that memory follows the number of tensors, however the text is nested.
/// Errors: Errc::model_format.
std::vector<TensorInfo> parse_header(std::string_view text, const std::string& path);

}  // namespace moekit::layer
