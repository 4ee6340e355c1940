#pragma once
#include <functional>
#include <ostream>
#include <string>

#include "moekit/model.hpp"

namespace moekit {

/// Writes the model to a file, whole or not at all. Errors: Errc::cannot_create, Errc::io.
void save_model(const Model& model, const std::string& path);
/// Text of a model file: a header line with version, length and checksum, then JSON.
std::string model_text(const Model& model);
/// Errors: Errc::no_input, Errc::model_format for a file that is cut, changed, from another version, or with
/// anything that the code could not use safely (sizes, indices, names; at most 10,000 experts), Errc::io.
Model load_model(const std::string& path);
/// `name` stands in messages.
Model parse_model(const std::string& text, const std::string& name);

/// Calls write(stream), on a temporary beside `path`; then flushes it to disk and renames it, so that a
/// failure leaves the old file. Errors: Errc::cannot_create, Errc::io.
void write_whole(const std::string& path, const std::function<void(std::ostream&)>& write);

}  // namespace moekit
