#include "block_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <set>
#include <system_error>

#include "checksum.hpp"
#include "moekit/block.hpp"
#include "moekit/error.hpp"

namespace moekit::blocks {

namespace {

constexpr std::size_t kAhead = 32;  // blocks

std::string reason(int number) { return std::generic_category().message(number); }

/// Takes values off the directory; never beyond its end.
class Reader {
 public:
  Reader(const BlockFile& file, std::string_view bytes) : file_(file), left_(bytes) {}

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const auto size = number<std::uint32_t>();
    return std::string(take(size), size);
  }
  std::vector<std::string> texts() {
    const auto count = number<std::uint32_t>();
    if (count > left_.size() / sizeof(std::uint32_t)) file_.damaged("its directory is cut short");
    std::vector<std::string> all(count);
    for (std::string& each : all) each = text();
    return all;
  }
  const char* take(std::size_t bytes) {
    if (bytes > left_.size()) file_.damaged("its directory is cut short");
    const char* const at = left_.data();
    left_.remove_prefix(bytes);
    return at;
  }
  std::size_t left() const { return left_.size(); }

 private:
  const BlockFile& file_;
  std::string_view left_;
};

}  // namespace

void BlockFile::damaged(const std::string& what) const {
  throw Error(Errc::data, path_ + ": a damaged block file: " + what + "; import the table again");
}

BlockFile::BlockFile(const std::string& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw Error(Errc::no_input, path_ + ": can't be opened: " + reason(errno));
  try {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) throw Error(Errc::io, path_ + ": reading failed: " + reason(errno));
    size_ = static_cast<std::uint64_t>(info.st_size);
    std::array<char, kMagic.size()> magic{};
    if (!S_ISREG(info.st_mode) || size_ < kMagic.size())
      throw Error(Errc::data, path_ + ": is no block file; moekit convert makes one");
    read_at(0, magic.data(), magic.size());
    const std::string_view found(magic.data(), magic.size());
    if (!found.starts_with(kAnyVersion))
      throw Error(Errc::data, path_ + ": is no block file; moekit convert makes one");
    if (found != kMagic)
      throw Error(Errc::data, path_ +
                                  ": a block file of another version than 1, which this program does not "
                                  "read; import the table again, or use a newer moekit");
    if (size_ < kMagic.size() + sizeof(Trailer)) damaged("it is cut short");
    Trailer trailer;
    read_at(size_ - sizeof trailer, &trailer, sizeof trailer);
    if (std::string_view(trailer.magic.data(), trailer.magic.size()) != kEndMagic || trailer.reserved != 0)
      damaged("its end is lacking (a copy that was cut short?)");
    read_directory(trailer);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

BlockFile::~BlockFile() { ::close(fd_); }

void BlockFile::read_at(std::uint64_t offset, void* to, std::size_t bytes) const {
  char* at = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t got = ::pread(fd_, at, std::min(bytes, std::size_t{1} << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(Errc::io, path_ + ": reading failed: " + reason(errno));
    if (got == 0) damaged("it has become shorter while it was read");
    at += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
}

void BlockFile::read_directory(const Trailer& trailer) {
  const std::uint64_t end = size_ - sizeof(Trailer);
  if (trailer.offset < kMagic.size() || trailer.offset > end || trailer.bytes != end - trailer.offset)
    damaged("its length is not what its end says");
  std::string bytes(static_cast<std::size_t>(trailer.bytes), '\0');
  read_at(trailer.offset, bytes.data(), bytes.size());
  if (checksum(bytes.data(), bytes.size()) != trailer.crc) damaged("the checksum of its directory is wrong");
  Reader in(*this, bytes);
  rows_ = in.number<std::uint64_t>();
  const auto blocks = in.number<std::uint64_t>();
  const auto width = in.number<std::uint32_t>();
  format_.separator = static_cast<char>(in.number<std::uint32_t>());
  format_.decimal = static_cast<char>(in.number<std::uint32_t>());
  format_.missing = in.texts();
  if (width == 0 || width > in.left() / 8) damaged("its number of columns is impossible");
  if (format_.decimal != '.' && format_.decimal != ',') damaged("its decimal mark is impossible");
  if (blocks > in.left() / sizeof(BlockPlace) || blocks != (rows_ + kBlockRows - 1) / kBlockRows)
    damaged("its number of blocks is impossible");
  std::set<std::string> names;
  columns_.resize(width);
  for (Column& column : columns_) {
    column.found.name = in.text();
    column.missing_texts = in.texts();
    column.dictionary = in.texts();
    column.found.present = in.number<std::uint64_t>();
    column.found.numbers = in.number<std::uint64_t>();
    for (double* value : {&column.found.mean, &column.found.sd, &column.found.min, &column.found.max})
      *value = in.number<double>();
    column.found.spelling_kept = in.number<std::uint32_t>() != 0;
    column.found.texts = column.dictionary.size();
    if (column.found.name.empty() || !names.insert(column.found.name).second)
      damaged("a column has no name, or that of another");
    if (column.missing_texts.empty() || column.missing_texts.size() > kMostMissingTexts)
      damaged("its texts that mean missing are impossible");
  }
  if (in.left() != blocks * sizeof(BlockPlace)) damaged("its directory has another length than its parts");
  places_.resize(static_cast<std::size_t>(blocks));
  std::uint64_t at = kMagic.size();
  const std::uint64_t least = sizeof(BlockHead) + std::uint64_t{width} * sizeof(ChunkHead);
  for (BlockPlace& place : places_) {
    place = in.number<BlockPlace>();
    if (place.offset != at || place.bytes < least || place.bytes > trailer.offset - at)
      damaged("its blocks do not follow each other");
    at += place.bytes;
  }
  if (at != trailer.offset) damaged("its blocks do not fill it");
  checked_ = std::vector<std::atomic<bool>>(places_.size());
}

std::uint32_t BlockFile::rows_of(std::size_t block) const {
  const std::uint64_t first = std::uint64_t{block} * kBlockRows;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(kBlockRows, rows_ - first));
}

/// Blocks are mostly read in their order, from several places of the file in turns, which the system does not
/// see through.
void BlockFile::read_ahead(std::size_t block) const {
  const std::size_t end = std::min(block + 2 * kAhead, places_.size());
  (void)::posix_fadvise(
      fd_, static_cast<off_t>(places_[block].offset),
      static_cast<off_t>(places_[end - 1].offset + places_[end - 1].bytes - places_[block].offset),
      POSIX_FADV_WILLNEED);
}

std::size_t BlockFile::read(std::size_t block, std::vector<char>& buffer) const {
  const BlockPlace& place = places_[block];
  if (block % kAhead == 0) read_ahead(block);
  if (buffer.size() < place.bytes) buffer.resize(static_cast<std::size_t>(place.bytes));
  read_at(place.offset, buffer.data(), static_cast<std::size_t>(place.bytes));
  const auto bytes = static_cast<std::size_t>(place.bytes);
  if (checked_[block].load(std::memory_order_relaxed)) return bytes;
  if (checksum(buffer.data(), bytes) != place.crc)
    damaged("the checksum of block " + std::to_string(block + 1) + " is wrong");
  checked_[block].store(true, std::memory_order_relaxed);
  return bytes;
}

}  // namespace moekit::blocks
