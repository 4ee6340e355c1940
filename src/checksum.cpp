#include "checksum.hpp"

#include <zlib.h>

#include <cstdio>

namespace moekit {

std::uint32_t checksum(const void* data, std::size_t bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(::crc32(0, nullptr, 0), static_cast<const Bytef*>(data), bytes));
}

std::string sealing_line(std::string_view magic, int format, std::string_view body) {
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, "%d %zu %08lx\n", format, body.size(),
                static_cast<unsigned long>(checksum(body.data(), body.size())));
  return std::string(magic) + numbers;
}

}  // namespace moekit
