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
  /// Lets go of the pages of a range: they are read again from the file when somebody looks.
  void release(std::size_t begin, std::size_t end) const;

 private:
  const unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace moekit::layer
