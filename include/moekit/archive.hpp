#pragma once
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "moekit/block.hpp"

namespace moekit {

/// The exact bytes of numbers, one after the other, for checkpoints: one function names the parts of a state,
/// and the archive writes them or reads them back. Bytes that are read are not trusted: sizes are checked
/// before anything is allocated. The bytes are those of this kind of machine.
class Archive {
 public:
  Archive() = default;  ///< writes
  /// Reads. `bytes` must live as long as the archive.
  explicit Archive(std::string_view bytes) : from_(bytes), reading_(true) {}

  bool reading() const { return reading_; }
  std::string_view left() const { return from_; }  ///< what was not read yet
  const std::string& bytes() const { return to_; }
  std::string take() { return std::move(to_); }

  template <class... Parts>
  void operator()(Parts&... parts) {
    (part(parts), ...);
  }
  /// Numbers whose count is known: reading another one fails.
  template <class T>
  void fixed(std::span<T> values) {
    std::uint64_t size = values.size();
    part(size);
    require(size == values.size());
    raw(values.data(), values.size() * sizeof(T));
  }
  /// Fails unless what was read can be used. Errors: Errc::model_format.
  static void require(bool usable);

 private:
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void part(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      std::uint8_t byte = value ? 1 : 0;
      raw(&byte, 1);
      require(byte <= 1);
      value = byte != 0;
    } else {
      raw(&value, sizeof value);
    }
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void part(std::vector<T>& values) {
    values.resize(counted(values.size(), sizeof(T)));
    raw(values.data(), values.size() * sizeof(T));
  }
  void part(std::string& text);
  void part(std::vector<std::string>& texts);
  void part(vec& values);
  void part(mat& values);
  std::size_t counted(std::size_t size, std::size_t each);
  void raw(void* data, std::size_t size);

  std::string_view from_;
  std::string to_;
  bool reading_ = false;
};

/// Mixes bytes into a hash.
std::uint64_t hash_bytes(std::uint64_t hash, std::string_view bytes);

}  // namespace moekit
