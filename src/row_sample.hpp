#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "moekit/rng.hpp"

namespace moekit {

/// A bounded sample of rows that come one by one. Kept are those whose hashed number is small; when they are
/// too many the bound is halved. So which rows are in the sample depends on their numbers alone, and each row
/// is as likely as any other. Row has a member `key`.
template <class Row>
class RowSample {
 public:
  RowSample(std::uint64_t stream, std::size_t capacity) : stream_(stream), capacity_(capacity) {}

  std::uint64_t key(std::uint64_t number) const { return Rng(0, stream_, number).next(); }
  bool wants(std::uint64_t key) const { return key <= limit_; }
  void add(Row row) {
    rows_.push_back(std::move(row));
    while (rows_.size() > capacity_) {
      limit_ /= 2;
      std::erase_if(rows_, [&](const Row& kept) { return kept.key > limit_; });
    }
  }
  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::uint64_t stream_;
  std::size_t capacity_;
  std::uint64_t limit_ = std::numeric_limits<std::uint64_t>::max();
  std::vector<Row> rows_;
};

}  // namespace moekit
