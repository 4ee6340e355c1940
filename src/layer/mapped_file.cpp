#include "layer/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "csv/message.hpp"
#include "moekit/error.hpp"
#include "moekit/mapped.hpp"

namespace moekit::layer {

namespace {

/// One mapping as a signal handler may read it: no locks, no memory that moves. `name` is null when the place
/// is free, and set last.
struct Known {
  std::atomic<bool> taken{false};
  std::atomic<const unsigned char*> begin{nullptr};
  std::atomic<std::size_t> size{0};
  std::atomic<const char*> name{nullptr};
};

constexpr std::size_t kMostKnown = 4096;  ///< mappings beyond these have no name
std::array<Known, kMostKnown> known;

std::size_t remember(const unsigned char* begin, std::size_t size, const char* name) {
  for (std::size_t i = 0; i < kMostKnown; ++i) {
    if (known[i].taken.exchange(true)) continue;
    known[i].begin = begin;
    known[i].size = size;
    known[i].name = name;
    return i;
  }
  return kMostKnown;
}

void forget(std::size_t place) {
  if (place >= kMostKnown) return;
  known[place].name = nullptr;
  known[place].taken = false;
}

/// Closes the file unless it was taken over.
struct Opened {
  int file;
  ~Opened() {
    if (file >= 0) ::close(file);
  }
};

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path), shown_(csv::shown(path)), place_(kMostKnown) {
  // O_NONBLOCK: a named pipe without a writer must be refused, not waited for.
  Opened opened{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (opened.file < 0) throw Error(Errc::no_input, path + ": cannot be read: " + std::strerror(errno));
  struct stat info {};
  if (::fstat(opened.file, &info) != 0 || !S_ISREG(info.st_mode))
    throw Error(Errc::no_input, path + ": is no regular file, so it can't be mapped; name a file");
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ > 0) {
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, opened.file, 0);
    if (mapped == MAP_FAILED) throw Error(Errc::io, path + ": cannot be mapped: " + std::strerror(errno));
    data_ = static_cast<const unsigned char*>(mapped);
    place_ = remember(data_, size_, shown_.c_str());
  }
  file_ = std::exchange(opened.file, -1);
}

MappedFile::~MappedFile() {
  forget(place_);
  if (data_) ::munmap(const_cast<unsigned char*>(data_), size_);
  if (file_ >= 0) ::close(file_);
}

void MappedFile::check() const {
  struct stat info {};
  if (::fstat(file_, &info) != 0 || static_cast<std::size_t>(info.st_size) < size_)
    throw Error(Errc::io, path_ + ": was cut short to " + std::to_string(info.st_size) + " of " +
                              std::to_string(size_) +
                              " bytes while it was in use; run again with a file that nobody changes");
}

void MappedFile::release(std::size_t begin, std::size_t end) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  begin = (begin + page - 1) / page * page;
  end = end / page * page;
  if (begin < end) (void)::madvise(const_cast<unsigned char*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace moekit::layer

namespace moekit {

const char* mapped_file_at(const void* address) noexcept {
  const auto* at = static_cast<const unsigned char*>(address);
  for (const layer::Known& one : layer::known) {
    const char* name = one.name;
    const unsigned char* begin = one.begin;
    // The last page of a file ends beyond its last byte.
    if (name && at >= begin && at < begin + one.size + 4096) return name;
  }
  return nullptr;
}

}  // namespace moekit
