#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moekit/schema.hpp"

namespace moekit {

/// What a column of a block file holds.
struct StoredColumn {
  std::string name;
  std::uint64_t present = 0;  ///< cells that are not missing
  std::uint64_t numbers = 0;  ///< of them: numbers
  double mean = 0, sd = 0;    ///< of the numbers; divisor = their count
  double min = 0, max = 0;    ///< 0 where there are none
  std::uint64_t texts = 0;    ///< different texts in the column's dictionary
  bool spelling_kept = true;  ///< false: of some numbers only the value is there
};

/// What is known of a block file without reading its rows.
struct BlockFileInfo {
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;  ///< of the file
  CsvFormat format;         ///< of the table that was imported
  std::vector<StoredColumn> columns;
};

/// How a table is imported.
struct ConvertOptions {
  CsvFormat format;
  std::vector<std::string> drop;  ///< columns that are left out
  /// Columns whose spelling has to be kept even where they hold long or oddly written numbers: identifiers,
  /// codes with leading zeros.
  std::vector<std::string> text;
  /// Called after each block, and before the file gets its name, with the rows so far. What it throws ends
  /// the import and removes the file.
  std::function<void(std::uint64_t)> on_rows;
};

/// Whether a file is a block file, by its first bytes. False for what cannot be read, pipes included.
bool is_block_file(const std::string& path);

/// Imports a table (as for read_table; "-": standard input) into a block file, in bounded memory and one
/// pass; the file is written whole or not at all. Cells are kept as they are read: numbers as float64, texts
/// as texts, so that what columns are for can be said later, as for a CSV. Errors: as read_table;
/// Errc::cannot_create.
BlockFileInfo convert_table(const std::string& path, const std::string& output, const ConvertOptions& options,
                            const Compute& compute = {});

/// Errors: Errc::no_input; Errc::data for what is no block file, or a damaged one.
BlockFileInfo block_file_info(const std::string& path);

}  // namespace moekit
