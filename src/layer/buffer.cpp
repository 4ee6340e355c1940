#include "layer/buffer.hpp"

#include <sys/mman.h>

namespace moekit::layer {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

void* allocate_large(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  // Small ones would waste the rest of a huge page.
  const std::size_t alignment = bytes >= kHugePage / 2 ? kHugePage : 64;
  if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
  if (alignment == kHugePage) (void)::madvise(memory, rounded, MADV_HUGEPAGE);
  return memory;
}

Buffer::Buffer(std::size_t bytes)
    : data_(static_cast<unsigned char*>(allocate_large(bytes))), bytes_(bytes) {}

Buffer::~Buffer() { std::free(data_); }

void Buffer::ensure(std::size_t bytes) {
  if (bytes > bytes_) {
    *this = Buffer();  // first the old memory goes
    *this = Buffer(bytes + bytes / 4);
  }
}

}  // namespace moekit::layer
