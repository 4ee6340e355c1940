#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "moekit/block.hpp"

namespace moekit {

/// Columns of the parts of a block.
struct BlockShape {
  uword numeric = 0, categorical = 0, targets = 1;
};

/// An array of blocks with random access. Const functions may be called from several threads at once.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::size_t blocks() const = 0;
  /// Rows in all blocks.
  virtual std::uint64_t rows() const = 0;
  virtual BlockShape shape() const = 0;
  /// Block i; `buffer` may hold its numbers and must live as long as the view.
  virtual Block read(std::size_t i, BlockData& buffer) const = 0;
};

/// Blocks in memory, without a second copy. Every block but the last holds kBlockRows rows.
class MemorySource : public Source {
 public:
  /// Appends a block. Errors: Errc::internal if an earlier block was not full.
  void push(BlockData&& block);
  std::size_t blocks() const override { return blocks_.size(); }
  std::uint64_t rows() const override { return rows_; }
  BlockShape shape() const override { return shape_; }
  Block read(std::size_t i, BlockData& buffer) const override;
  const BlockData& data(std::size_t i) const { return blocks_[i]; }
  BlockData& data(std::size_t i) { return blocks_[i]; }

 private:
  std::vector<BlockData> blocks_;
  std::uint64_t rows_ = 0;
  BlockShape shape_;
};

/// The chosen rows of a source as a new source in memory, in the given order (folds, samples).
/// `rows`: indices below source.rows(). Carried texts are not copied.
MemorySource take_rows(const Source& source, const std::vector<std::uint64_t>& rows);

}  // namespace moekit
