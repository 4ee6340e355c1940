#include "layer/buffer.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

namespace moekit::layer {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  // Small ones would waste the rest of a huge page.
  const std::size_t alignment = bytes >= kHugePage / 2 ? kHugePage : 64;
  if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  data_ = static_cast<unsigned char*>(std::aligned_alloc(alignment, rounded));
  if (!data_) throw std::bad_alloc();
  if (alignment == kHugePage) (void)::madvise(data_, rounded, MADV_HUGEPAGE);
}

Buffer::~Buffer() { std::free(data_); }

void Buffer::ensure(std::size_t bytes) {
  if (bytes > bytes_) {
    *this = Buffer();  // first the old memory goes
    *this = Buffer(bytes + bytes / 4);
  }
}

}  // namespace moekit::layer
