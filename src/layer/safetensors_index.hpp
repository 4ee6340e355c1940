#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace moekit::layer {

/// Which file of a checkpoint holds a tensor.
struct IndexEntry {
  std::string tensor;
  std::string file;  ///< a plain name, in the folder of the index
};

/// The index of a checkpoint of several files, {weight_map: {tensor: file}}, by file and then by tensor.
/// Other fields, such as metadata, are passed over. `path` stands in messages. Reads event by event, so that
/// memory follows the number of tensors, however the text is nested. Errors: Errc::model_format.
std::vector<IndexEntry> parse_index(std::string_view text, const std::string& path);

/// The file that is meant by a path: itself, or of a folder its one index (*.safetensors.index.json), or else
/// its one *.safetensors file. Errors: Errc::no_input.
std::string checkpoint_file(const std::string& path);

}  // namespace moekit::layer
