#pragma once
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>

namespace moekit {

/// A NumPy file of a matrix, mapped: float32 or float64 (little-endian), rows x columns in C order, format
/// versions 1 to 3 (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
class NpyFile {
 public:
  /// Errors: Errc::no_input; Errc::data for another type, order or number of dimensions, and for a file whose
  /// length is not what its header says.
  explicit NpyFile(const std::string& path);

  std::uint64_t rows() const { return rows_; }
  std::uint64_t columns() const { return columns_; }
  /// Rows first .. first + count - 1 as float32 (float64: rounded), row by row. Errors: Errc::data for a
  /// value that is not finite in float32, naming row and column (0-based); Errc::io when the file was cut
  /// short since it was opened (moekit/mapped.hpp).
  void read(std::uint64_t first, std::uint64_t count, float* out) const;

 private:
  struct Mapping;
  std::string path_;
  std::shared_ptr<const Mapping> mapping_;
  std::uint64_t data_ = 0, rows_ = 0, columns_ = 0;
  std::size_t width_ = 4;  ///< bytes of a value
};

/// Header of a float32 matrix, version 1.0; the values follow row by row, little-endian.
void write_npy_header(std::ostream& out, std::uint64_t rows, std::uint64_t columns);

}  // namespace moekit
