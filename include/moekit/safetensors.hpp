#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace moekit {

/// One tensor of a checkpoint: an entry of the header of one of its files.
struct TensorInfo {
  std::string name;
  std::string dtype;  ///< F32, BF16, ... as the file spells it
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  ///< bytes, counted from the end of the header
  std::uint32_t file = 0;            ///< which of Safetensors::files()
};

/// The tensors of a checkpoint, mapped. A safetensors file is 8 bytes of header length (little-endian), a
/// JSON header {name: {dtype, shape, data_offsets: [begin, end]}}, and the tensors, row by row (github.com/
/// huggingface/safetensors). The header is not trusted: before any data are touched its length is checked
/// against the file's, and every tensor's type, shape and offsets; tensors must fill the file without overlap
/// or hole. Large checkpoints are several such files beside an index, {weight_map: {tensor: file}}, which is
/// not trusted either: files are plain names in the index's own folder, and each must hold its tensors.
class Safetensors {
 public:
  /// `path`: a safetensors file; an index, which ends in .json; or a folder that holds one index, or else one
  /// safetensors file. Errors: Errc::no_input, also for files of the index that are not there;
  /// Errc::model_format for anything above, in one line that names the tensor.
  explicit Safetensors(const std::string& path);

  /// As it was given.
  const std::string& path() const { return path_; }
  /// The safetensors files, in the order of their names: one, or those of the index.
  const std::vector<std::string>& files() const { return files_; }
  /// By name.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// Null when there is no such tensor.
  const TensorInfo* find(std::string_view name) const;

  /// `count` values from number `first` on as float32, exactly (F64: rounded). Errors: Errc::model_format for
  /// types other than F32, BF16, F16 and F64; Errc::io when the file was cut short since it was opened
  /// (moekit/mapped.hpp); Errc::internal for values beyond the tensor.
  void read(const TensorInfo& tensor, std::uint64_t first, std::uint64_t count, float* out) const;
  /// Lets the mapped pages of these values go.
  void release(const TensorInfo& tensor, std::uint64_t first, std::uint64_t count) const;

 private:
  struct Part;
  void read_index(const std::string& index);

  std::string path_;
  std::vector<std::string> files_;
  std::vector<std::shared_ptr<const Part>> parts_;  ///< of each file
  std::vector<TensorInfo> tensors_;
};

/// Bytes of one value of a safetensors type, 0 for an unknown type.
std::size_t dtype_bytes(std::string_view dtype);

}  // namespace moekit
