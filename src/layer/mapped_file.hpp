#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace moekit::layer {

/// A file mapped for reading. Errors: Errc::no_input when it can't be opened or is no regular file, Errc::io
/// when it can't be mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const unsigned char> bytes() const { return {data_, size_}; }
  /// Errors: Errc::io when the file has become shorter since it was opened: what is gone can't be looked at.
  /// Between this and the look it can still become so, which raises SIGBUS (moekit/mapped.hpp).
  void check() const;
  /// Lets go of the pages of a range: they are read again from the file when somebody looks.
  void release(std::size_t begin, std::size_t end) const;

 private:
  std::string path_, shown_;
  int file_ = -1;
  const unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t place_ = 0;  ///< in the list of mappings
};

}  // namespace moekit::layer
