#pragma once
#include <cstdint>

namespace moekit {

/// Counter-based random numbers: a value that (seed, stream, index) determines, so that no result depends on
/// threads or on the order in which rows are visited. SplitMix64 over the mixed key: cheap and well tested as
/// a hash; each (seed, stream) is a stream of its own.
class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t stream, std::uint64_t index = 0)
      : state_(mix(mix(mix(seed) ^ stream) ^ index)) {}

  std::uint64_t next() { return mix(state_ += kStep); }
  /// Uniform in (0, 1).
  double uniform() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }
  /// Uniform in 0 .. n - 1.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal.
  double normal();

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15u;
  static std::uint64_t mix(std::uint64_t z) {
    z += kStep;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::uint64_t state_;
};

}  // namespace moekit
