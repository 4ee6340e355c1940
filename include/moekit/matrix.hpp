#pragma once
#include <cstddef>
#include <cstdlib>

namespace moekit {

/// Memory of Armadillo's matrices; release it with std::free. From 1 KiB on it begins at a cache line: a
/// vector load that crosses two lines costs twice, and the sums of a pass are bound by loads. (Armadillo's
/// own choice is 32 bytes.) Code that includes Armadillo without this header frees in the same way, so both
/// can be mixed.
inline void* allocate_matrix(std::size_t bytes) {
  constexpr std::size_t kLine = 64, kLarge = 1024;
  return bytes < kLarge ? std::malloc(bytes) : std::aligned_alloc(kLine, (bytes + kLine - 1) / kLine * kLine);
}

}  // namespace moekit

#define ARMA_ALIEN_MEM_ALLOC_FUNCTION ::moekit::allocate_matrix
#define ARMA_ALIEN_MEM_FREE_FUNCTION ::std::free
#include <armadillo>  // IWYU pragma: export
