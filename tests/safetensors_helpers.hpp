#pragma once
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "moekit/layer_shape.hpp"

namespace moekit::testing {

/// A file that goes away with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& ending) {
    static int number = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("moekit-" + std::to_string(::getpid()) + "-" + std::to_string(number++) + ending))
                .string();
  }
  TemporaryFile(const std::string& ending, const std::string& bytes) : TemporaryFile(ending) { write(bytes); }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

 private:
  std::string path_;
};

struct StoredTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::vector<float> values;
};

inline std::string bytes_of(const std::vector<float>& values) {
  std::string bytes(values.size() * 4, '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Length, header and data as one file.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + data;
}

inline std::string safetensors_of(const std::vector<StoredTensor>& tensors) {
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}", data;
  for (const StoredTensor& t : tensors) {
    header += ",\"" + t.name + "\":{\"dtype\":\"F32\",\"shape\":[";
    for (std::size_t i = 0; i < t.shape.size(); ++i) header += (i ? "," : "") + std::to_string(t.shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(data.size()) + ",";
    data += bytes_of(t.values);
    header += std::to_string(data.size()) + "]}";
  }
  return safetensors_bytes(header + "}", data);
}

/// By the names of the public Mixtral checkpoint.
inline std::vector<StoredTensor> mixtral_tensors(const MemoryWeights& weights, std::size_t layer) {
  const LayerShape& s = weights.layer;
  const std::string prefix = "model.layers." + std::to_string(layer) + ".block_sparse_moe.";
  std::vector<StoredTensor> tensors = {{prefix + "gate.weight", {s.experts, s.inputs}, weights.gate}};
  for (std::size_t e = 0; e < s.experts; ++e) {
    const std::string expert = prefix + "experts." + std::to_string(e) + ".";
    tensors.push_back({expert + "w1.weight", {s.hidden, s.inputs}, weights.experts[e].w1});
    tensors.push_back({expert + "w2.weight", {s.outputs, s.hidden}, weights.experts[e].w2});
    tensors.push_back({expert + "w3.weight", {s.hidden, s.inputs}, weights.experts[e].w3});
  }
  return tensors;
}

/// A NumPy file, version 1, of a dictionary as given.
inline std::string npy_bytes(std::string dictionary, const std::string& data, int version = 1) {
  dictionary += '\n';
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    file += static_cast<char>(dictionary.size() >> (8 * i) & 0xff);
  return file + dictionary + data;
}

inline std::string npy_of(const std::vector<float>& values, std::size_t columns) {
  return npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(columns ? values.size() / columns : 0) + ", " +
                       std::to_string(columns) + "), }",
                   bytes_of(values));
}

}  // namespace moekit::testing
