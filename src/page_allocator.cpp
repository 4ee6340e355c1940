#include "moekit/page_allocator.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <mutex>
#include <new>

namespace moekit {

namespace {

constexpr std::size_t kSlab = std::size_t{16} << 20;  // aligned to its size, so that a place tells its slab
constexpr std::size_t kLeast = std::size_t{16} << 10, kMost = std::size_t{1} << 20;
constexpr std::size_t kLine = 64;
constexpr std::size_t kStep = std::size_t{1} << 20;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kUseSlabs = false;  // sanitizers watch what comes from operator new
#else
constexpr bool kUseSlabs = true;
#endif

bool from_slab(std::size_t bytes) { return kUseSlabs && bytes >= kLeast && bytes <= kMost; }

/// Stands at the front of its slab.
struct Slab {
  std::size_t used;    ///< bytes from the front that were given away
  std::size_t live;    ///< pieces that were not given back
  std::size_t backed;  ///< bytes from the front that the system was asked for
};

std::mutex lock;
Slab* current = nullptr;  // pieces are cut off this one

Slab* new_slab() {
  // Twice the size holds an aligned slab; the rest goes back.
  void* const memory = mmap(nullptr, 2 * kSlab, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t slab = (begin + kSlab - 1) & ~(kSlab - 1);
  if (slab > begin) munmap(memory, slab - begin);
  if (const std::uintptr_t rest = begin + kSlab - slab) munmap(reinterpret_cast<void*>(slab + kSlab), rest);
  return new (reinterpret_cast<void*>(slab)) Slab{kLine, 0, 0};
}

}  // namespace

void* allocate_pages(std::size_t bytes) {
  if (!from_slab(bytes)) return ::operator new(bytes);
  const std::size_t room = (bytes + kLine - 1) / kLine * kLine;
  const std::lock_guard guard(lock);
  if (!current || current->used + room > kSlab) {
    Slab* const next = new_slab();
    if (current && current->live == 0) munmap(current, kSlab);
    current = next;
  }
  void* const memory = reinterpret_cast<char*>(current) + current->used;
  current->used += room;
#ifdef MADV_POPULATE_WRITE
  // One call for many pages costs half of what a fault for each of them does. Where it is not known, they
  // fault.
  for (; current->backed < current->used; current->backed += kStep)
    madvise(reinterpret_cast<char*>(current) + current->backed, kStep, MADV_POPULATE_WRITE);
#endif
  ++current->live;
  return memory;
}

void free_pages(void* memory, std::size_t bytes) noexcept {
  if (!from_slab(bytes)) return ::operator delete(memory);
  const std::lock_guard guard(lock);
  Slab* const slab = reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(memory) & ~(kSlab - 1));
  if (--slab->live > 0) return;
  if (slab == current)
    slab->used = kLine;  // empty: from the front again
  else
    munmap(slab, kSlab);
}

}  // namespace moekit
