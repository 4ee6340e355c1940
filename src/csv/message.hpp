#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "moekit/error.hpp"

namespace moekit::csv {

/// A text of the file as messages show it: one line, of bounded length, without control characters.
std::string shown(std::string_view text);

/// Names as a list, the first few of many.
std::string list_names(const std::vector<std::string>& names, std::size_t most = 20);

/// A name as an argument on a command line: quoted when a shell would take it apart.
std::string argument(std::string_view text);

/// "FILE:LINE: what".
[[noreturn]] void refuse(const std::string& file, std::uint64_t line, const std::string& what);

/// "FILE:LINE: column 'NAME': what".
[[noreturn]] void refuse_cell(const std::string& file, std::uint64_t line, std::string_view column,
                              const std::string& what);

/// "; did you mean 'X'?" or the list of the names that there are.
std::string suggestion(std::string_view name, const std::vector<std::string>& known);

/// Whether the bytes are valid UTF-8 (no surrogates, no overlong forms).
bool valid_utf8(std::string_view text);

}  // namespace moekit::csv
