#pragma once
#include <cstdint>
#include <vector>

#include "moekit/source.hpp"

namespace moekit::train {

/// Rows of a source in a random order that the seed and the epoch determine, batch by batch. A window of
/// blocks is held in memory at a time: blocks are drawn for it, then rows within it, so tables of at most
/// that size are shuffled as a whole and larger ones stream.
class Shuffle {
 public:
  Shuffle(const Source& source, std::uint64_t seed, uword batch_size);
  void begin_epoch(std::uint64_t epoch);
  /// The next rows, at most the batch's size; false at the end of the epoch.
  bool next(BlockData& batch);
  /// Batches of an epoch.
  std::uint64_t batches() const;

 private:
  void fill_window();
  void gather(const std::uint32_t* rows, uword count, BlockData& out) const;

  const Source& source_;
  std::uint64_t seed_, epoch_ = 0;
  uword size_;
  std::vector<std::size_t> blocks_;  // of the epoch, in turn
  std::size_t next_block_ = 0;
  std::vector<BlockData> window_;
  std::vector<std::uint32_t> order_;  // of the window's rows
  std::size_t next_row_ = 0;
};

}  // namespace moekit::train
