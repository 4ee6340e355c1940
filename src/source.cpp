#include "moekit/source.hpp"

#include <algorithm>

#include "moekit/error.hpp"

namespace moekit {

void MemorySource::push(BlockData&& block) {
  if (!blocks_.empty() && blocks_.back().rows != kBlockRows)
    throw Error(Errc::internal, "a block was added after one that is not full");
  if (blocks_.empty() && block.rows)
    shape_ = {block.numeric.size() / block.rows, block.levels.size() / block.rows,
              block.target.size() / block.rows};
  block.first = rows_;
  rows_ += block.rows;
  blocks_.push_back(std::move(block));
}

Block MemorySource::read(std::size_t i, BlockData&) const { return blocks_[i].view(); }

namespace {

template <class Data>
void copy_columns(const typename Data::value_type* from, uword from_rows, uword from_row, Data& to,
                  uword to_rows, uword to_row) {
  const uword columns = to.size() / to_rows;
  for (uword j = 0; j < columns; ++j) to[j * to_rows + to_row] = from[j * from_rows + from_row];
}

}  // namespace

MemorySource take_rows(const Source& source, const std::vector<std::uint64_t>& rows) {
  BlockData buffer, probe_buffer;
  const Block probe = source.blocks() ? source.read(0, probe_buffer) : Block{};
  const BlockShape shape = source.shape();
  MemorySource taken;
  std::size_t held = static_cast<std::size_t>(-1);
  Block block;
  for (std::size_t begin = 0; begin < rows.size(); begin += kBlockRows) {
    const uword n = std::min<std::size_t>(kBlockRows, rows.size() - begin);
    BlockData out;
    out.rows = n;
    out.numeric.resize(n * shape.numeric);
    out.levels.resize(n * shape.categorical);
    if (probe.target) out.target.resize(n * shape.targets);
    if (probe.weight) out.weight.resize(n);
    if (probe.offset) out.offset.resize(n);
    for (uword i = 0; i < n; ++i) {
      const std::uint64_t row = rows[begin + i];
      const std::size_t wanted = row / kBlockRows;
      if (wanted != held) block = source.read(held = wanted, buffer);
      const uword r = row % kBlockRows;
      if (shape.numeric) copy_columns(block.numeric, block.rows, r, out.numeric, n, i);
      if (shape.categorical) copy_columns(block.levels, block.rows, r, out.levels, n, i);
      if (probe.target) copy_columns(block.target, block.rows, r, out.target, n, i);
      if (probe.weight) out.weight[i] = block.weight[r];
      if (probe.offset) out.offset[i] = block.offset[r];
    }
    taken.push(std::move(out));
  }
  return taken;
}

}  // namespace moekit
