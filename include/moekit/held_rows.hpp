#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "moekit/schema.hpp"
#include "moekit/source.hpp"

namespace moekit {

/// Rows of a file of their own by which a fit is judged.
struct HeldRows {
  std::unique_ptr<const Source> rows;
  std::vector<std::string> notes;  ///< of the reader, one line each, for the user
};

/// Reads the rows with a target, as RowReader does (csv.hpp): into memory or, of a block file
/// (block_file.hpp) that `memory` cannot hold, the very same blocks on their file, which is checked here and
/// read again in every pass. `memory`: most bytes for the rows; 0: any. `positive_target`: as RowOptions
/// (csv.hpp). Errors: as RowReader; Errc::usage for a text table that needs more.
HeldRows read_held_rows(const std::string& path, const Schema& schema, std::uint64_t memory = 0,
                        const Compute& compute = {}, bool positive_target = false);

/// What the numbers of a table take, as ReadOptions::memory (csv.hpp) counts them.
std::uint64_t bytes_of(const MemorySource& source);

}  // namespace moekit
