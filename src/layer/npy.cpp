#include "moekit/npy.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "csv/message.hpp"
#include "layer/mapped_file.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  throw Error(Errc::data, path + ": " + what);
}

/// The header: a Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } with its keys in
/// any order.
class Header {
 public:
  Header(std::string_view text, const std::string& path) : rest_(text), path_(path) {
    take('{');
    while (!peek('}')) {
      const std::string key = quoted();
      take(':');
      if (key == "descr") {
        descr = quoted();
      } else if (key == "fortran_order") {
        fortran = word() == "True";
      } else if (key == "shape") {
        read_shape();
      } else {
        refuse(path_, "unknown key '" + csv::shown(key) + "' in the NumPy header");
      }
      if (!peek('}')) take(',');
    }
    take('}');
    blanks();
    if (!rest_.empty()) broken();
  }

  std::string descr;
  bool fortran = false;
  std::vector<std::uint64_t> shape;
  bool has_shape = false;

 private:
  [[noreturn]] void broken() const {
    refuse(path_, "the NumPy header can't be read; write the file again with numpy.save");
  }
  void blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  bool peek(char c) {
    blanks();
    return !rest_.empty() && rest_[0] == c;
  }
  void take(char c) {
    if (!peek(c)) broken();
    rest_.remove_prefix(1);
  }
  std::string quoted() {
    blanks();
    if (rest_.empty() || (rest_[0] != '\'' && rest_[0] != '"')) broken();
    const std::size_t end = rest_.find(rest_[0], 1);
    if (end == std::string_view::npos) broken();
    const std::string text(rest_.substr(1, end - 1));
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::string word() {
    blanks();
    for (const std::string_view known : {"True", "False"})
      if (rest_.starts_with(known)) {
        rest_.remove_prefix(known.size());
        return std::string(known);
      }
    broken();
  }
  void read_shape() {
    has_shape = true;
    take('(');
    while (!peek(')')) {
      std::uint64_t n = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), n);
      if (error != std::errc() || shape.size() == 8) broken();
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      shape.push_back(n);
      if (!peek(')')) take(',');
    }
    take(')');
  }

  std::string_view rest_;
  const std::string& path_;
};

void check_kind(const Header& header, const std::string& path) {
  if (header.descr != "<f4" && header.descr != "<f8")
    refuse(path, "values of type '" + csv::shown(header.descr) +
                     "'; float32 or float64 are needed: x.astype('float32')");
  if (!header.has_shape) refuse(path, "the NumPy header has no shape; write the file again with numpy.save");
  if (header.shape.size() != 2)
    refuse(path, "an array of " + std::to_string(header.shape.size()) +
                     " dimensions; rows x columns is needed, one row: x.reshape(1, -1)");
  if (header.fortran) refuse(path, "the array is stored column by column; save numpy.ascontiguousarray(x)");
}

}  // namespace

struct NpyFile::Mapping {
  explicit Mapping(const std::string& path) : file(path) {}
  layer::MappedFile file;
};

NpyFile::NpyFile(const std::string& path) : path_(path), mapping_(std::make_shared<Mapping>(path)) {
  const auto bytes = mapping_->file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic) || text.size() < 10)
    refuse(path, "not a NumPy file; write one with numpy.save");
  const int version = text[6];
  if (version < 1 || version > 3)
    refuse(path, "NumPy format " + std::to_string(version) + "; 1 to 3 can be read");
  std::uint64_t length = 0;
  data_ = version == 1 ? 10 : 12;
  if (text.size() < data_) refuse(path, "the file is cut short in its header; take another copy");
  std::memcpy(&length, bytes.data() + 8, data_ - 8);
  if (length > text.size() - data_) refuse(path, "the file is cut short in its header; take another copy");
  const Header header(text.substr(data_, length), path);
  check_kind(header, path);
  data_ += length;
  rows_ = header.shape[0];
  columns_ = header.shape[1];
  width_ = header.descr == "<f4" ? 4 : 8;
  std::uint64_t values = 0, size = 0;
  if (__builtin_mul_overflow(rows_, columns_, &values) || __builtin_mul_overflow(values, width_, &size) ||
      size != text.size() - data_)
    refuse(path, std::to_string(rows_) + " rows of " + std::to_string(columns_) +
                     " columns do not fit the file's length; take another copy");
}

void NpyFile::read(std::uint64_t first, std::uint64_t count, float* out) const {
  if (first > rows_ || count > rows_ - first) throw Error(Errc::internal, path_ + ": rows beyond the end");
  const unsigned char* from = mapping_->file.bytes().data() + data_ + first * columns_ * width_;
  const std::uint64_t values = count * columns_;
  if (values == 0) return;
  mapping_->file.check();
  if (width_ == 4) {
    std::memcpy(out, from, values * width_);
  } else {
    for (std::uint64_t i = 0; i < values; ++i) {
      double value;
      std::memcpy(&value, from + i * width_, width_);
      out[i] = static_cast<float>(value);
    }
  }
  for (std::uint64_t i = 0; i < values; ++i)
    if (!std::isfinite(out[i]))
      refuse(path_, "row " + std::to_string(first + i / columns_) + ", column " +
                        std::to_string(i % columns_) +
                        " (both from 0) is not a finite float32 number; leave the row out");
}

void write_npy_header(std::ostream& out, std::uint64_t rows, std::uint64_t columns) {
  std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) +
                           ", " + std::to_string(columns) + "), }";
  // Values begin at a multiple of 64 bytes: 10 bytes come before the dictionary, a line end after it.
  dictionary.append(63 - (10 + dictionary.size()) % 64, ' ');
  dictionary += '\n';
  const auto length = static_cast<std::uint16_t>(dictionary.size());
  out.write(kMagic.data(), kMagic.size());
  const char head[4] = {1, 0, static_cast<char>(length & 0xff), static_cast<char>(length >> 8)};
  out.write(head, sizeof head);
  out.write(dictionary.data(), static_cast<std::streamsize>(dictionary.size()));
}

}  // namespace moekit
