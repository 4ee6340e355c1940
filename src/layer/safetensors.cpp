#include "moekit/safetensors.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "csv/message.hpp"
#include "layer/mapped_file.hpp"
#include "layer/safetensors_header.hpp"
#include "layer/safetensors_index.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

// The values of a file are little-endian and copied as they are.
static_assert(std::endian::native == std::endian::little);

/// What the format's own readers allow a header to take.
constexpr std::uint64_t kMostHeader = 100'000'000;

constexpr std::array<std::pair<std::string_view, std::size_t>, 14> kTypes{{{"BOOL", 1},
                                                                           {"U8", 1},
                                                                           {"I8", 1},
                                                                           {"F8_E4M3", 1},
                                                                           {"F8_E5M2", 1},
                                                                           {"I16", 2},
                                                                           {"U16", 2},
                                                                           {"F16", 2},
                                                                           {"BF16", 2},
                                                                           {"I32", 4},
                                                                           {"U32", 4},
                                                                           {"F32", 4},
                                                                           {"I64", 8},
                                                                           {"U64", 8}}};

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(Errc::model_format,
              path + ": " + what + "; not a safetensors file, or damaged: take another copy");
}

std::string named(const TensorInfo& tensor) { return "tensor '" + csv::shown(tensor.name) + "'"; }

std::string offsets(const TensorInfo& t) { return std::to_string(t.begin) + " .. " + std::to_string(t.end); }

bool by_name(const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; }

/// Number of values, or refused when no file could hold them.
std::uint64_t values_of(const TensorInfo& tensor, const std::string& path) {
  std::uint64_t values = 1;
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0u) != tensor.shape.end();
  if (empty) return 0;
  for (const std::uint64_t n : tensor.shape)
    if (__builtin_mul_overflow(values, n, &values))
      refuse(path, named(tensor) + ": its shape is impossibly large");
  return values;
}

/// Type, shape and place of one tensor in `size` bytes of data.
void check_tensor(const TensorInfo& t, std::uint64_t size, const std::string& path) {
  const std::size_t width = dtype_bytes(t.dtype);
  if (width == 0) {
    std::string known;
    for (const auto& type : kTypes) known += (known.empty() ? "" : ", ") + std::string(type.first);
    refuse(path, named(t) + ": unknown dtype '" + csv::shown(t.dtype) + "', known: " + known + ", F64");
  }
  if (t.begin > t.end) refuse(path, named(t) + ": data_offsets " + offsets(t) + " run backwards");
  if (t.end > size)
    refuse(path, named(t) + ": data_offsets " + offsets(t) + " reach beyond the " + std::to_string(size) +
                     " bytes of data");
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(values_of(t, path), width, &bytes) || bytes != t.end - t.begin)
    refuse(path, named(t) + ": data_offsets " + offsets(t) + " do not fit its shape and dtype");
  if (t.begin % width != 0)
    refuse(path, named(t) + ": data_offsets " + offsets(t) + " are not aligned to its dtype");
}

/// Every byte of the data belongs to one tensor.
void check_cover(std::vector<TensorInfo>& tensors, std::uint64_t size, const std::string& path) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t covered = 0;
  for (const TensorInfo& t : tensors) {
    if (t.begin < covered)
      refuse(path, named(t) + ": data_offsets " + offsets(t) + " overlap another tensor");
    if (t.begin > covered)
      refuse(path, "bytes " + std::to_string(covered) + " .. " + std::to_string(t.begin) +
                       " of the data belong to no tensor");
    covered = t.end;
  }
  if (covered != size)
    refuse(path, "bytes " + std::to_string(covered) + " .. " + std::to_string(size) +
                     " of the data belong to no tensor");
}

float from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16, exponent = (half >> 10) & 31u;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -value : value;
  }
  const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

/// Converts values that need not be aligned.
template <class Stored, class Convert>
void convert(const unsigned char* from, std::uint64_t count, float* out, const Convert& as_float) {
  for (std::uint64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    out[i] = as_float(value);
  }
}

}  // namespace

std::size_t dtype_bytes(std::string_view dtype) {
  if (dtype == "F64") return 8;
  for (const auto& [name, bytes] : kTypes)
    if (name == dtype) return bytes;
  return 0;
}

/// One file, checked.
struct Safetensors::Part {
  /// `tensors`: those of its header, by name.
  Part(const std::string& path, std::vector<TensorInfo>& tensors) : file(path) {
    const auto bytes = file.bytes();
    std::uint64_t length = 0;
    if (bytes.size() < sizeof length)
      refuse(path, "the file has " + std::to_string(bytes.size()) + " bytes, too few for a header");
    file.check();
    std::memcpy(&length, bytes.data(), sizeof length);
    if (length > bytes.size() - sizeof length)
      refuse(path, "a header of " + std::to_string(length) + " bytes does not fit into the file's " +
                       std::to_string(bytes.size()));
    if (length > kMostHeader)
      refuse(path, "a header of " + std::to_string(length) + " bytes is longer than the format allows");
    data = sizeof length + length;
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof length, length);
    if (!text.starts_with('{')) refuse(path, "the header does not begin with '{'");
    tensors = layer::parse_header(text, path);
    const std::uint64_t size = bytes.size() - data;
    for (const TensorInfo& t : tensors) check_tensor(t, size, path);
    check_cover(tensors, size, path);
    std::sort(tensors.begin(), tensors.end(), by_name);
    const auto twice =
        std::adjacent_find(tensors.begin(), tensors.end(),
                           [](const TensorInfo& a, const TensorInfo& b) { return a.name == b.name; });
    if (twice != tensors.end()) refuse(path, named(*twice) + " stands twice in the header");
  }

  layer::MappedFile file;
  std::uint64_t data = 0;  ///< where the data begin
};

Safetensors::Safetensors(const std::string& path) : path_(path) {
  const std::string found = layer::checkpoint_file(path);
  if (found.ends_with(".json")) {
    read_index(found);
  } else {
    files_.push_back(found);
    parts_.push_back(std::make_shared<Part>(found, tensors_));
  }
}

void Safetensors::read_index(const std::string& index) {
  std::vector<layer::IndexEntry> entries;
  {
    const layer::MappedFile file(index);
    file.check();
    const auto bytes = file.bytes();
    entries = layer::parse_index({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, index);
  }
  const std::size_t slash = index.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : index.substr(0, slash + 1);
  std::vector<TensorInfo> tensors;
  for (std::size_t i = 0; i < entries.size(); ++i) {  // by file, then by tensor
    if (i == 0 || entries[i].file != entries[i - 1].file) {
      files_.push_back(folder + entries[i].file);
      parts_.push_back(std::make_shared<Part>(files_.back(), tensors));
    }
    const std::string& name = entries[i].tensor;
    const auto at =
        std::lower_bound(tensors.begin(), tensors.end(), name,
                         [](const TensorInfo& t, const std::string& wanted) { return t.name < wanted; });
    if (at == tensors.end() || at->name != name)
      throw Error(Errc::model_format, index + ": tensor '" + csv::shown(name) + "' is not in '" +
                                          csv::shown(entries[i].file) +
                                          "', where the index puts it; take another copy of both");
    tensors_.push_back(*at);
    tensors_.back().file = static_cast<std::uint32_t>(files_.size() - 1);
  }
  std::sort(tensors_.begin(), tensors_.end(), by_name);
}

const TensorInfo* Safetensors::find(std::string_view name) const {
  const auto at = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                   [](const TensorInfo& t, std::string_view n) { return t.name < n; });
  return at != tensors_.end() && at->name == name ? &*at : nullptr;
}

void Safetensors::read(const TensorInfo& tensor, std::uint64_t first, std::uint64_t count, float* out) const {
  const std::size_t width = dtype_bytes(tensor.dtype);
  const std::uint64_t values = (tensor.end - tensor.begin) / width;
  const std::string& path = files_.at(tensor.file);
  if (first > values || count > values - first)
    throw Error(Errc::internal, path + ": " + named(tensor) + ": values beyond its end");
  const Part& part = *parts_[tensor.file];
  part.file.check();
  const unsigned char* from = part.file.bytes().data() + part.data + tensor.begin + first * width;
  if (tensor.dtype == "F32") {
    if (count) std::memcpy(out, from, count * width);
  } else if (tensor.dtype == "BF16") {
    convert<std::uint16_t>(from, count, out, [](std::uint16_t v) {
      return std::bit_cast<float>(static_cast<std::uint32_t>(v) << 16);
    });
  } else if (tensor.dtype == "F16") {
    convert<std::uint16_t>(from, count, out, from_half);
  } else if (tensor.dtype == "F64") {
    convert<double>(from, count, out, [](double v) { return static_cast<float>(v); });
  } else {
    throw Error(Errc::model_format, path + ": " + named(tensor) + " is " + csv::shown(tensor.dtype) +
                                        "; weights must be F32, BF16, F16 or F64");
  }
}

void Safetensors::release(const TensorInfo& tensor, std::uint64_t first, std::uint64_t count) const {
  const Part& part = *parts_.at(tensor.file);
  const std::uint64_t begin = part.data + tensor.begin + first * dtype_bytes(tensor.dtype);
  part.file.release(begin, begin + count * dtype_bytes(tensor.dtype));
}

}  // namespace moekit
