#pragma once
#include "moekit/block.hpp"

namespace moekit {

/// Fills blocks of kBlockRows rows from pieces of any length.
class BlockPacker {
 public:
  /// Takes rows from `begin` on until the block is full; returns how many.
  uword add(const BlockData& from, uword begin);
  uword rows() const { return block_.rows; }
  bool full() const { return block_.rows == kBlockRows; }
  /// The block, and begins another.
  void take(BlockData& block);

 private:
  BlockData block_;  // columns have room for kBlockRows rows
};

}  // namespace moekit
