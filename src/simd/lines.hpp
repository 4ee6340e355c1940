#pragma once
#include <cstddef>

namespace moekit::simd {

/// Lines at the start of a text.
struct PlainLines {
  std::size_t lines = 0, bytes = 0;
};

/// The first lines of text, at most `most`, that are plain: each ends with a line feed, begins with a byte
/// above a blank and holds no quote (").
PlainLines plain_lines(const char* text, std::size_t size, std::size_t most);

}  // namespace moekit::simd
