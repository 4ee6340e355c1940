#pragma once
#include <cstddef>

namespace moekit::cli {

/// Room that writing any number needs; at most 24 letters of it are the number's.
constexpr std::size_t kNumberRoom = 64;

/// Writes the shortest text that reads back as the same number, letter for letter that of std::to_chars, in
/// two thirds of its time; returns the end. Files with weights of a million rows are mostly such numbers.
char* write_shortest(double value, char* to);

}  // namespace moekit::cli
