#pragma once
#include <span>
#include <string>
#include <string_view>

namespace moekit {

/// Numbers as base64 (RFC 4648) of their little-endian float32: large arrays of a model file.
/// Errors: Errc::internal, naming `what`, if one is not finite.
std::string float_text(std::span<const float> values, std::string_view what);
/// Fills `values`; false if the text does not hold exactly so many finite numbers.
bool parse_float_text(std::string_view text, std::span<float> values);

}  // namespace moekit
