#include "moekit/rng.hpp"

#include <cmath>
#include <numbers>

namespace moekit {

std::uint64_t Rng::below(std::uint64_t n) {
  if (n < 2) return 0;
  // 2^64 mod n values are too many for every remainder to be equally likely: they are drawn again.
  const std::uint64_t excess = (0 - n) % n;
  std::uint64_t value = next();
  while (value < excess) value = next();
  return value % n;
}

/// Box & Muller 1958; the second value is not kept, so that a draw always costs two numbers of the stream.
double Rng::normal() {
  const double radius = std::sqrt(-2 * std::log(uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

}  // namespace moekit
