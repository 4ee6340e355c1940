#include "block_packer.hpp"

#include <algorithm>

namespace moekit {

uword BlockPacker::add(const BlockData& from, uword begin) {
  const uword to = block_.rows, count = std::min(kBlockRows - to, from.rows - begin);
  if (count == 0) return 0;
  const auto columns = [&](const auto& source, auto& out) {
    const uword n = source.size() / from.rows;
    if (to == 0) out.resize(n * kBlockRows);
    for (uword j = 0; j < n; ++j)
      std::copy_n(source.data() + j * from.rows + begin, count, out.data() + j * kBlockRows + to);
  };
  columns(from.numeric, block_.numeric);
  columns(from.levels, block_.levels);
  columns(from.target, block_.target);
  columns(from.weight, block_.weight);
  columns(from.offset, block_.offset);
  columns(from.line, block_.line);
  if (to == 0) {
    block_.first = from.first;
    block_.carried.resize(from.carried.size());
  }
  for (std::size_t k = 0; k < from.carried.size(); ++k) {
    const auto first = from.carried[k].begin() + static_cast<std::ptrdiff_t>(begin);
    block_.carried[k].insert(block_.carried[k].end(), first, first + static_cast<std::ptrdiff_t>(count));
  }
  block_.rows += count;
  return count;
}

void BlockPacker::take(BlockData& block) {
  const uword n = block_.rows;
  const auto close_gaps = [&](auto& data) {
    const uword columns = data.size() / kBlockRows;
    for (uword j = 1; j < columns && n < kBlockRows; ++j)
      std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(j * kBlockRows), n,
                  data.begin() + static_cast<std::ptrdiff_t>(j * n));
    data.resize(columns * n);
  };
  close_gaps(block_.numeric);
  close_gaps(block_.levels);
  close_gaps(block_.target);
  close_gaps(block_.weight);
  close_gaps(block_.offset);
  close_gaps(block_.line);
  std::swap(block, block_);
  block_.carried.clear();
  block_.rows = 0;
}

}  // namespace moekit
