#pragma once
#include <memory>
#include <mutex>
#include <vector>

#include "block_rows.hpp"
#include "csv/row_filler.hpp"
#include "moekit/source.hpp"

namespace moekit::blocks {

/// The used rows of a table, read from its block file whenever they are asked for: the very blocks that a
/// MemorySource would hold. Any number of threads, any order.
class StreamSource final : public Source {
 public:
  /// `schema`: with levels and labels. `used_of_piece`: how many rows of each block of the file are used, as
  /// `options` say.
  StreamSource(std::unique_ptr<BlockRows> rows, const Schema& schema,
               const std::vector<std::uint32_t>& used_of_piece, const RowOptions& options = training_rows());
  /// Those with a target and a weight.
  static RowOptions training_rows();

  std::size_t blocks() const override {
    return static_cast<std::size_t>((rows() + kBlockRows - 1) / kBlockRows);
  }
  std::uint64_t rows() const override { return before_.back(); }
  BlockShape shape() const override { return shape_; }
  Block read(std::size_t i, BlockData& buffer) const override;

 private:
  struct Worker {
    std::unique_ptr<csv::RowParser> parser;
    BlockData piece;
  };
  std::unique_ptr<Worker> worker() const;
  void fill(Worker& worker, std::size_t piece, BlockData& block) const;

  std::unique_ptr<BlockRows> rows_;
  csv::RowFiller filler_;
  BlockShape shape_;
  std::vector<std::uint64_t> before_;  // used rows before each block of the file; at the end: all
  bool all_used_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Worker>> free_;
};

}  // namespace moekit::blocks
