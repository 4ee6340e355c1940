#include "stream_source.hpp"

#include <algorithm>

#include "block_packer.hpp"

namespace moekit::blocks {

namespace {

/// Identifiers are of no use to a fit.
Schema without_id(Schema schema) {
  schema.id.clear();
  return schema;
}

}  // namespace

RowOptions StreamSource::training_rows() {
  RowOptions options;
  options.need_target = true;
  options.skip_rows_without_target = true;
  options.skip_rows_without_weight = true;
  return options;
}

StreamSource::StreamSource(std::unique_ptr<BlockRows> rows, const Schema& schema,
                           const std::vector<std::uint32_t>& used_of_piece, const RowOptions& options)
    : rows_(std::move(rows)),
      filler_(*rows_, without_id(schema), options),
      shape_{schema.numeric_inputs(), schema.categorical_inputs(),
             schema.target.name.empty() ? 0 : schema.targets()} {
  std::uint64_t sum = 0;
  for (const std::uint32_t used : used_of_piece) {
    before_.push_back(sum);
    sum += used;
  }
  before_.push_back(sum);
  all_used_ = sum == rows_->stored()->rows();
}

std::unique_ptr<StreamSource::Worker> StreamSource::worker() const {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Worker> one = std::move(free_.back());
      free_.pop_back();
      return one;
    }
  }
  auto fresh = std::make_unique<Worker>();
  fresh->parser = rows_->parser(filler_.uses());
  return fresh;
}

void StreamSource::fill(Worker& worker, std::size_t piece, BlockData& block) const {
  csv::RawRows raw;
  raw.block = piece;
  filler_.fill(worker.parser->parse(raw), block);
}

Block StreamSource::read(std::size_t i, BlockData& buffer) const {
  std::unique_ptr<Worker> own = worker();
  const std::uint64_t first = std::uint64_t{i} * kBlockRows;
  if (all_used_) {
    fill(*own, i, buffer);
  } else {
    const std::uint64_t end = std::min<std::uint64_t>(first + kBlockRows, rows());
    auto piece = static_cast<std::size_t>(std::upper_bound(before_.begin(), before_.end(), first) -
                                          before_.begin() - 1);
    BlockPacker packer;
    for (std::uint64_t at = first; at < end; ++piece) {
      if (before_[piece + 1] == before_[piece]) continue;
      fill(*own, piece, own->piece);
      at += packer.add(own->piece, static_cast<uword>(at - before_[piece]));
    }
    packer.take(buffer);
  }
  buffer.first = first;
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(own));
  return buffer.view();
}

}  // namespace moekit::blocks
