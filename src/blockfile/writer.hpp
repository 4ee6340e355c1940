#pragma once
#include <ostream>
#include <string>
#include <unordered_map>
#include <vector>

#include "csv/row_input.hpp"
#include "layout.hpp"
#include "moekit/block_file.hpp"

namespace moekit::blocks {

/// The cells of a column in one block, before it is known how they are stored.
struct ColumnCells {
  std::vector<std::string_view> texts;  ///< as they stand in the file
  std::vector<double> numbers;          ///< NaN: missing or no number
  std::vector<std::uint8_t> missing;    ///< 1: missing
  bool all_numbers = true;              ///< but for missing ones
  bool all_plain = true;
};

/// Writes a block file front to back: blocks, then the directory.
class Writer {
 public:
  /// `columns`: of the table that are kept, by number; `as_text` of each: its spelling has to be kept.
  Writer(std::ostream& out, const csv::RowInput& input, std::vector<std::size_t> columns,
         std::vector<bool> as_text);

  /// What can be done beside other blocks. For several threads.
  std::vector<ColumnCells> prepare(const csv::RawRows& raw, const csv::ParsedRows& rows) const;
  /// Writes a block; in order.
  void add(const csv::ParsedRows& rows, const std::vector<ColumnCells>& cells);
  BlockFileInfo finish();

 private:
  struct State {
    bool as_text = false;
    bool closed = false;  // to the spelling of numbers: they are too many
    std::unordered_map<std::string, std::uint32_t> codes;
    std::vector<std::string> dictionary;
    std::vector<std::string> missing_texts = {""};
    double square = 0;  // sum of squares around the mean
    StoredColumn found;
  };

  bool number_of(std::string_view cell, const csv::RawRows& raw, double& value) const;
  void encode(State& state, const ColumnCells& cells);
  bool encode_codes(State& state, const ColumnCells& cells, std::size_t most);
  bool encode_numbers(State& state, const ColumnCells& cells);
  void encode_texts(const ColumnCells& cells);
  void measure(State& state, const ColumnCells& cells) const;
  void put_chunk(Encoding encoding, const void* data, std::size_t bytes);
  void write(const std::string& bytes);

  std::ostream& out_;
  const csv::RowInput& input_;
  std::vector<std::size_t> columns_;
  std::vector<State> states_;
  std::vector<BlockPlace> places_;
  std::vector<ChunkHead> chunks_;
  std::string body_;
  std::uint64_t at_ = 0, rows_ = 0;
};

}  // namespace moekit::blocks
