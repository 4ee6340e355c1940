#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "layout.hpp"
#include "moekit/block_file.hpp"

namespace moekit::blocks {

/// An open block file. Nothing in it is trusted: the directory is checked before it is used, a block when it
/// is read first. For several threads.
class BlockFile {
 public:
  struct Column {
    StoredColumn found;
    std::vector<std::string> missing_texts, dictionary;
  };

  /// Errors: Errc::no_input, Errc::io, Errc::data.
  explicit BlockFile(const std::string& path);
  ~BlockFile();
  BlockFile(const BlockFile&) = delete;
  BlockFile& operator=(const BlockFile&) = delete;

  const std::string& name() const { return path_; }
  const CsvFormat& format() const { return format_; }
  const std::vector<Column>& columns() const { return columns_; }
  std::uint64_t rows() const { return rows_; }
  std::uint64_t bytes() const { return size_; }
  std::size_t blocks() const { return places_.size(); }
  std::uint32_t rows_of(std::size_t block) const;
  /// The bytes of a block into `buffer`, which grows as needed; returns how many.
  std::size_t read(std::size_t block, std::vector<char>& buffer) const;
  [[noreturn]] void damaged(const std::string& what) const;

 private:
  void read_at(std::uint64_t offset, void* to, std::size_t bytes) const;
  void read_ahead(std::size_t block) const;
  void read_directory(const Trailer& trailer);

  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0, rows_ = 0;
  CsvFormat format_;
  std::vector<Column> columns_;
  std::vector<BlockPlace> places_;
  mutable std::vector<std::atomic<bool>> checked_;
};

}  // namespace moekit::blocks
