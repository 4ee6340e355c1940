#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "moekit/schema.hpp"

namespace moekit {

/// How to read a training table: what each column is for. Names are those of the header.
struct ReadOptions {
  CsvFormat format;
  std::string target;                             ///< empty: no target (then every column is an input)
  std::vector<std::string> further_targets;       ///< numbers that are predicted together with the target
  std::optional<Task> task;                       ///< none: found from the target
  std::vector<std::string> categorical, numeric;  ///< kinds that the user insists on
  std::vector<std::string> drop;                  ///< never read
  std::vector<std::string> id;                    ///< carried as text, never inputs
  /// Carried as text too (groups, folds, starting regions), but not in Schema::id.
  std::vector<std::string> carry;
  std::string weights, offset;
  std::uint64_t memory = 0;  ///< most bytes for the rows of the table; 0: any
};

/// A table, in memory or, of a block file (block_file.hpp) that ReadOptions::memory cannot hold, on its file.
/// MemorySource::data(i).carried holds the texts of `carried`, in that order.
struct Table {
  Schema schema;
  MemorySource source;
  std::shared_ptr<const Source> on_file;  ///< then `source` is empty, and nothing is carried
  const Source& rows() const { return on_file ? *on_file : source; }
  std::vector<std::string> carried;       ///< names: ReadOptions::id, then ReadOptions::carry
  std::uint64_t rows_read = 0;            ///< data rows in the file
  std::uint64_t rows_without_target = 0;  ///< left out
  std::uint64_t rows_without_weight = 0;  ///< weight 0: left out, of levels too
  std::vector<std::string> notes;         ///< one line each, for the user
};

/// Reads a whole CSV or TSV table for training ("-": standard input; plain, gzip or zstd by content), or a
/// block file, with the same result. Types are found as docs/cli.md says. Errors: Errc::no_input, Errc::data
/// (with line and column), Errc::io, Errc::usage where `memory` is too little.
/// Measures the schema (schema.hpp) before it returns.
Table read_table(const std::string& path, const ReadOptions& options, const Compute& compute = {});

/// What a reader of new rows does with columns.
struct RowOptions {
  bool allow_missing_columns = false;  ///< a lacking input column counts as missing values
  bool need_target = false;            ///< evaluate: a lacking target column is an error
  bool skip_rows_without_target = false;
  bool skip_rows_without_weight = false;  ///< rows of weight 0, as in training
  bool positive_target = false;           ///< a target of 0 or less is an error, as gamma experts want it
  std::optional<CsvFormat> format;        ///< none: the model's (its separator only if the header agrees)
  std::vector<std::string> id;            ///< carried columns instead of the model's, if not empty
  std::vector<std::string> carry;         ///< further carried columns, after the ids
};

/// Reads new rows block by block, in bounded memory, in the file's order. Columns are found by name.
class RowReader {
 public:
  /// Opens the file and matches its header with the schema. Errors as read_table.
  RowReader(const std::string& path, const Schema& schema, const RowOptions& options = {});
  ~RowReader();
  RowReader(RowReader&&) noexcept;
  /// Fills the next block (1 to kBlockRows rows; `first` counts the rows of the file); false at the end. A
  /// class label that the model does not know is Errc::data if the target is needed, else a missing target,
  /// with a note at the end. A header without rows is Errc::data.
  bool next(BlockData& block);
  /// All blocks that are left, read and worked on by several threads: `work` is called on any of them, and
  /// what it returns on one after another, in the order of the file. Errors come in that order too.
  void for_each(const Compute& compute, const std::function<std::function<void()>(BlockData&&)>& work);
  bool has_target() const;
  bool has_weights() const;
  std::uint64_t rows_without_target() const;        ///< skipped so far
  const std::vector<std::string>& carried() const;  ///< names of BlockData::carried
  const std::vector<std::string>& notes() const;    ///< extra columns, columns taken as missing, ...

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moekit
