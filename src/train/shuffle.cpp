#include "train/shuffle.hpp"

#include <algorithm>
#include <numeric>

#include "moekit/rng.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kBlockStream = 0x626c6f636b, kRowStream = 0x726f7773;
constexpr std::size_t kWindow = 64;  // blocks

template <class T>
void shuffle(std::vector<T>& list, Rng rng) {
  for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[rng.below(i)]);
}

}  // namespace

Shuffle::Shuffle(const Source& source, std::uint64_t seed, uword batch_size)
    : source_(source), seed_(seed), size_(batch_size), blocks_(source.blocks()) {}

std::uint64_t Shuffle::batches() const {
  // The last batch of every window may be short.
  const std::uint64_t in_window = kWindow * kBlockRows, whole = source_.rows() / in_window;
  const auto of = [&](std::uint64_t rows) { return (rows + size_ - 1) / size_; };
  return whole * of(in_window) + of(source_.rows() % in_window);
}

void Shuffle::begin_epoch(std::uint64_t epoch) {
  epoch_ = epoch;
  std::iota(blocks_.begin(), blocks_.end(), std::size_t{0});
  if (blocks_.size() > kWindow) shuffle(blocks_, Rng(seed_, kBlockStream, epoch));
  next_block_ = next_row_ = 0;
  order_.clear();
}

void Shuffle::fill_window() {
  const std::size_t end = std::min(blocks_.size(), next_block_ + kWindow);
  const bool kept = !window_.empty() && blocks_.size() <= kWindow;  // all rows are there already
  if (!kept) {
    window_.clear();
    BlockData buffer;
    for (std::size_t b = next_block_; b < end; ++b) {
      const Block from = source_.read(blocks_[b], buffer);
      const BlockShape shape = source_.shape();
      BlockData own;
      own.first = from.first;
      own.rows = from.rows;
      const auto copy = [&](const auto* data, uword columns, auto& to) {
        if (data) to.assign(data, data + columns * from.rows);
      };
      copy(from.numeric, shape.numeric, own.numeric);
      copy(from.levels, shape.categorical, own.levels);
      copy(from.target, shape.targets, own.target);
      copy(from.weight, 1, own.weight);
      copy(from.offset, 1, own.offset);
      window_.push_back(std::move(own));
    }
  }
  order_.clear();
  for (std::size_t b = 0; b < window_.size(); ++b)
    for (uword i = 0; i < window_[b].rows; ++i)
      order_.push_back(static_cast<std::uint32_t>(b * kBlockRows + i));
  shuffle(order_, Rng(seed_, kRowStream + next_block_, epoch_));
  next_block_ = end;
  next_row_ = 0;
}

void Shuffle::gather(const std::uint32_t* rows, uword count, BlockData& out) const {
  const BlockShape shape = source_.shape();
  out.first = 0;
  out.rows = count;
  const auto columns = [&](auto member, uword n) {
    auto& to = out.*member;
    to.resize(window_.empty() || (window_[0].*member).empty() ? 0 : n * count);
    for (uword i = 0; !to.empty() && i < count; ++i) {
      const BlockData& from = window_[rows[i] / kBlockRows];
      for (uword j = 0; j < n; ++j) to[j * count + i] = (from.*member)[j * from.rows + rows[i] % kBlockRows];
    }
  };
  columns(&BlockData::numeric, shape.numeric);
  columns(&BlockData::levels, shape.categorical);
  columns(&BlockData::target, shape.targets);
  columns(&BlockData::weight, 1);
  columns(&BlockData::offset, 1);
}

bool Shuffle::next(BlockData& batch) {
  if (next_row_ == order_.size()) {
    if (next_block_ == blocks_.size()) return false;
    fill_window();
  }
  const uword count = std::min<std::size_t>(size_, order_.size() - next_row_);
  gather(order_.data() + next_row_, count, batch);
  next_row_ += count;
  return true;
}

}  // namespace moekit::train
