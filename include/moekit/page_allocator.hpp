#pragma once
#include <cstddef>
#include <vector>

namespace moekit {

/// Room for the numbers of a table's blocks, from slabs whose pages the system is asked for a mebibyte at a
/// time: a table of millions of rows costs one page fault in place of hundreds. What is smaller than a few
/// pages, or large of itself, comes from operator new. From any thread. Errors: std::bad_alloc.
void* allocate_pages(std::size_t bytes);
/// `bytes` as they were asked for.
void free_pages(void* memory, std::size_t bytes) noexcept;

/// The allocator of block numbers for standard containers.
template <class T>
struct PageAllocator {
  using value_type = T;
  PageAllocator() = default;
  template <class U>
  PageAllocator(const PageAllocator<U>&) noexcept {}

  T* allocate(std::size_t n) { return static_cast<T*>(allocate_pages(n * sizeof(T))); }
  void deallocate(T* memory, std::size_t n) noexcept { free_pages(memory, n * sizeof(T)); }
  friend bool operator==(const PageAllocator&, const PageAllocator&) { return true; }
};

using PagedNumbers = std::vector<double, PageAllocator<double>>;

}  // namespace moekit
