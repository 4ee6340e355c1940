#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "moekit/matrix.hpp"
#include "moekit/page_allocator.hpp"

namespace moekit {

using arma::mat;
using arma::rowvec;
using arma::uword;
using arma::vec;

/// Most rows of a block: what a block computes then stays in the second-level cache.
inline constexpr uword kBlockRows = 1024;

/// A view of consecutive rows. Rows of the file are rows of every matrix, so each column is contiguous over
/// the n rows of the block. The Schema says what the columns mean. A pointer is null when there is no such
/// column. The view is valid as long as what it was made from.
struct Block {
  std::uint64_t first = 0;                ///< index of the first row among the used rows of the source
  uword rows = 0;                         ///< n
  const double* numeric = nullptr;        ///< n x numeric inputs; NaN = missing
  const std::uint32_t* levels = nullptr;  ///< n x categorical inputs; code = number of levels: missing or new
  /// n x targets: the values, or n codes of the class; NaN = missing
  const double* target = nullptr;
  const double* weight = nullptr;  ///< n: >= 0; null: all 1
  const double* offset = nullptr;  ///< n: added to the linear predictor; null: all 0

  const double* numeric_column(uword j) const { return numeric + j * rows; }
  const std::uint32_t* level_column(uword j) const { return levels + j * rows; }
  const double* target_column(uword j) const { return target + j * rows; }
};

/// Storage for one block, filled by a reader.
struct BlockData {
  std::uint64_t first = 0;
  uword rows = 0;
  PagedNumbers numeric;                           ///< rows x numeric inputs, column by column
  std::vector<std::uint32_t> levels;              ///< rows x categorical inputs, column by column
  std::vector<double> target;                     ///< rows x targets, column by column, or empty
  std::vector<double> weight;                     ///< rows, or empty
  std::vector<double> offset;                     ///< rows, or empty
  std::vector<std::uint64_t> line;                ///< line of the file where each row begins, or empty
  std::vector<std::vector<std::string>> carried;  ///< one vector of `rows` texts for each carried column

  Block view() const {
    const auto data = [](const auto& v) { return v.empty() ? nullptr : v.data(); };
    return {first, rows, data(numeric), data(levels), data(target), data(weight), data(offset)};
  }
};

}  // namespace moekit
