#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moekit {

/// One tensor of a safetensors file: an entry of its header.
struct TensorInfo {
  std::string name;
  std::string dtype;  ///< F32, BF16, ... as the file spells it
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes, counted from the end of the header
};

/// A safetensors file, mapped: 8 bytes of header length (little-endian), a JSON header
/// {name: {dtype, shape, data_offsets: [begin, end]}}, and the tensors, row by row (github.com/huggingface/
/// safetensors). The header is not trusted: before any data are touched its length is checked against the
/// file's, and every tensor's type, shape and offsets; tensors must fill the file without overlap or hole.
class Safetensors {
 public:
  /// Errors: Errc::no_input; Errc::model_format for anything above, in one line that names the tensor.
  explicit Safetensors(const std::string& path);

  const std::string& path() const { return path_; }
  /// By name.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// Null when there is no such tensor.
  const TensorInfo* find(std::string_view name) const;

  /// `count` values from number `first` on as float32, exactly (F64: rounded). Errors: Errc::model_format for
  /// types other than F32, BF16, F16 and F64, Errc::internal for values beyond the tensor.
  void read(const TensorInfo& tensor, std::uint64_t first, std::uint64_t count, float* out) const;
  /// Lets the mapped pages of these values go.
  void release(const TensorInfo& tensor, std::uint64_t first, std::uint64_t count) const;

 private:
  struct Mapping;
  std::string path_;
  std::shared_ptr<const Mapping> mapping_;
  std::uint64_t data_ = 0;  ///< where the data begin
  std::vector<TensorInfo> tensors_;
};

/// Bytes of one value of a safetensors type, 0 for an unknown type.
std::size_t dtype_bytes(std::string_view dtype);

}  // namespace moekit
