#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace moekit::csv {

/// The bytes of a file or of standard input ("-"), unpacked when the content is gzip or zstd, that can be
/// read again from the start. What can't be wound back (a pipe) is copied, as packed as it comes, to an
/// unlinked temporary file while it is read, if `restartable`. Errors: Errc::no_input (can't be opened),
/// Errc::data (packed data damaged or cut), Errc::io.
class TextInput {
 public:
  TextInput(const std::string& path, bool restartable);
  ~TextInput();
  TextInput(const TextInput&) = delete;
  TextInput& operator=(const TextInput&) = delete;

  /// Fills `buffer` unless the end comes first; returns the number of bytes.
  std::size_t read(char* buffer, std::size_t size);
  /// Back to the first byte. Only if restartable.
  void restart();
  /// The path, or "standard input": how messages name this input.
  const std::string& name() const { return name_; }

 private:
  class Raw;
  class Unpacker;
  class Gzip;
  class Zstd;
  void begin();

  std::string name_;
  std::unique_ptr<Raw> raw_;
  std::unique_ptr<Unpacker> unpacker_;  // null: plain text
};

}  // namespace moekit::csv
