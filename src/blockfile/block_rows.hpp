#pragma once
#include <memory>
#include <string>
#include <vector>

#include "block_file.hpp"
#include "csv/row_input.hpp"

namespace moekit::blocks {

/// The rows of a block file: what TextRows gives for the table that was imported.
class BlockRows final : public csv::RowInput {
 public:
  /// `further_missing`: tokens beside those of the import.
  BlockRows(std::shared_ptr<const BlockFile> stored, const std::vector<std::string>& further_missing);

  bool take(csv::RawRows& raw) override;
  void restart() override { next_ = 0; }
  std::unique_ptr<csv::RowParser> parser(const std::vector<csv::CellUse>& uses) const override;
  std::vector<bool> seem_numbers() override;

  const std::shared_ptr<const BlockFile>& stored() const { return stored_; }
  /// Numbers of each column's dictionary; NaN for what is missing or none.
  const std::vector<std::vector<double>>& dictionary_numbers() const { return numbers_; }
  /// Whether a number of the file may be one of the further tokens.
  bool numbers_may_be_missing() const { return further_ && missing_.has_numbers(); }

 private:
  std::shared_ptr<const BlockFile> stored_;
  std::vector<std::vector<double>> numbers_;
  bool further_ = false;
  std::size_t next_ = 0;
};

/// The block file as the rows of a table, or null when `path` is none. `asked`: the user's format, if any;
/// `further_missing`: more tokens. Errors: Errc::usage for another separator or decimal mark than the
/// import's.
std::unique_ptr<BlockRows> open_block_rows(const std::string& path, const CsvFormat* asked,
                                           const std::vector<std::string>& further_missing);

}  // namespace moekit::blocks
