#pragma once
#include <string>

#include "json_output.hpp"
#include "moekit/csv.hpp"

namespace moekit::cli {

/// The columns with the kinds that were found, a line each: kind, missing, range or levels.
/// `most`: further inputs are counted only.
std::string types_text(const Schema& schema, std::size_t most);
/// "'a'", or "'a' and 'b'", for people.
std::string target_names(const Schema& schema);
/// What tells the columns of several targets apart: "_<name>", or nothing for a single one.
std::string target_suffix(const Schema& schema, uword j);
/// types_text for programs: a list of inputs and the target.
Json types_json(const Schema& schema);

}  // namespace moekit::cli
