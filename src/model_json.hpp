#pragma once
#include <string>

#include "moekit/model.hpp"

namespace moekit {

/// The model as JSON text that a person can read; numbers round-trip exactly. Errors: Errc::internal for a
/// number that is not finite where there has to be one.
std::string model_to_json(const Model& model);
/// Checks everything before it is used. `name` stands in messages. Errors: Errc::model_format.
Model model_from_json(const std::string& text, const std::string& name);

/// Text from a file made fit for a message: one line, not too long.
std::string printable(const std::string& text);

}  // namespace moekit
