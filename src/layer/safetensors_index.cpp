#include "layer/safetensors_index.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "csv/message.hpp"
#include "moekit/error.hpp"

namespace moekit::layer {

namespace {

using nlohmann::json;

/// As long as a header may be.
constexpr std::size_t kMostIndex = 100'000'000;

constexpr std::string_view kFile = ".safetensors", kIndex = ".safetensors.index.json", kMap = "weight_map";

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(Errc::model_format,
              path + ": " + what + "; not an index of safetensors files, or damaged: take another copy");
}

/// An index must not reach outside of its folder.
bool is_plain_name(const std::string& name) {
  return name.size() > kFile.size() && name.size() <= 255 && name.ends_with(kFile) &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

/// Follows the index as it is parsed. What stands outside of weight_map is passed over.
class IndexEvents final : public json::json_sax_t {
 public:
  std::vector<IndexEntry> entries;
  std::string problem;
  bool has_map = false;

  bool null() override { return other("null"); }
  bool boolean(bool) override { return other("true or false"); }
  bool number_integer(number_integer_t) override { return other("a number"); }
  bool number_unsigned(number_unsigned_t) override { return other("a number"); }
  bool number_float(number_float_t, const string_t&) override { return other("a number"); }
  bool binary(binary_t&) override { return other("binary data"); }
  bool string(string_t& text) override {
    if (!in_map()) return other("a text");
    if (!is_plain_name(text))
      return refuse("tensor '" + csv::shown(entries.back().tensor) + "' is said to be in '" +
                    csv::shown(text) + "', which is no name of a .safetensors file beside the index");
    entries.back().file = text;
    return true;
  }
  bool start_object(std::size_t) override {
    if (in_map()) return other("an object");
    ++depth_;
    if (depth_ == 2 && map_next_) map_ = true;
    return true;
  }
  bool key(string_t& name) override {
    if (in_map()) {
      entries.push_back({name, ""});
    } else if (depth_ == 1) {
      map_next_ = name == kMap;
      if (map_next_ && has_map) return refuse("weight_map stands twice");
      has_map = has_map || map_next_;
    }
    return true;
  }
  bool end_object() override {
    --depth_;
    map_ = map_next_ = false;
    return true;
  }
  bool start_array(std::size_t) override {
    if (in_map()) return other("a list");
    if (depth_ == 1 && map_next_) return other("a list");
    if (depth_ == 0) return refuse("a list where an object belongs");
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    problem = "not JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  bool in_map() const { return map_; }
  /// A value that is neither an object nor the name of a file.
  bool other(const char* what) {
    if (in_map())
      return refuse("tensor '" + csv::shown(entries.back().tensor) + "' has " + what +
                    " where the name of its file belongs");
    if (depth_ == 0) return refuse(std::string(what) + " where an object belongs");
    if (depth_ == 1 && map_next_) return refuse(std::string("weight_map is ") + what);
    return true;
  }
  bool refuse(const std::string& what) {
    problem = what;
    return false;
  }

  std::size_t depth_ = 0;
  bool map_next_ = false;  ///< the value that comes is weight_map's
  bool map_ = false;
};

}  // namespace

std::vector<IndexEntry> parse_index(std::string_view text, const std::string& path) {
  if (text.size() > kMostIndex) refuse(path, "an index of " + std::to_string(text.size()) + " bytes");
  IndexEvents events;
  if (!json::sax_parse(text.begin(), text.end(), &events)) refuse(path, events.problem);
  if (!events.has_map) refuse(path, "there is no weight_map");
  std::vector<IndexEntry>& entries = events.entries;
  if (entries.empty()) refuse(path, "weight_map names no tensor");
  std::sort(entries.begin(), entries.end(),
            [](const IndexEntry& a, const IndexEntry& b) { return a.tensor < b.tensor; });
  const auto twice =
      std::adjacent_find(entries.begin(), entries.end(),
                         [](const IndexEntry& a, const IndexEntry& b) { return a.tensor == b.tensor; });
  if (twice != entries.end())
    refuse(path, "tensor '" + csv::shown(twice->tensor) + "' stands twice in weight_map");
  std::sort(entries.begin(), entries.end(), [](const IndexEntry& a, const IndexEntry& b) {
    return std::tie(a.file, a.tensor) < std::tie(b.file, b.tensor);
  });
  return std::move(entries);
}

std::string checkpoint_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  std::vector<std::string> indexes, files;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.ends_with(kIndex)) indexes.push_back(at->path().string());
    if (name.ends_with(kFile)) files.push_back(at->path().string());
  }
  if (error) throw Error(Errc::no_input, path + ": cannot be read: " + error.message());
  const std::vector<std::string>& found = indexes.empty() ? files : indexes;
  if (found.empty())
    throw Error(Errc::no_input,
                path + ": a folder without *.safetensors.index.json or *.safetensors; name a file");
  if (found.size() > 1)
    throw Error(Errc::no_input, path + ": a folder with " + std::to_string(found.size()) +
                                    (indexes.empty() ? " safetensors files but no index" : " indexes") +
                                    "; name the one to use");
  return found.front();
}

}  // namespace moekit::layer
