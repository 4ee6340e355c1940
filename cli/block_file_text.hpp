#pragma once
#include <string>

#include "json_output.hpp"
#include "moekit/block_file.hpp"

namespace moekit::cli {

/// The columns of a block file, a line each; `most`: further ones are counted only.
std::string block_file_text(const BlockFileInfo& info, std::size_t most);
/// The same for programs.
Json block_file_json(const BlockFileInfo& info);

}  // namespace moekit::cli
