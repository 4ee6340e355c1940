#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moekit {

/// CRC-32 of bytes, as gzip has it.
std::uint32_t checksum(const void* data, std::size_t bytes);

/// The first line of a text file of ours: magic, format, length and checksum of the body that follows it.
std::string sealing_line(std::string_view magic, int format, std::string_view body);

}  // namespace moekit
