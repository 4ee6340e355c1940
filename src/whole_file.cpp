#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <streambuf>

#include "moekit/error.hpp"
#include "moekit/model_io.hpp"

namespace moekit {

namespace {

/// A file descriptor as a stream's buffer. Remembers the first error, which std::ofstream would forget.
class DescriptorBuffer final : public std::streambuf {
 public:
  explicit DescriptorBuffer(int fd) : fd_(fd) { setp(space_.data(), space_.data() + space_.size()); }
  int error() const { return error_; }

 protected:
  int_type overflow(int_type c) override {
    if (sync() != 0) return traits_type::eof();
    if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
    return traits_type::not_eof(c);
  }
  int sync() override {
    const char* from = pbase();
    while (error_ == 0 && from < pptr()) {
      const ssize_t written = ::write(fd_, from, static_cast<std::size_t>(pptr() - from));
      if (written >= 0)
        from += written;
      else if (errno != EINTR)
        error_ = errno;
    }
    setp(space_.data(), space_.data() + space_.size());
    return error_ == 0 ? 0 : -1;
  }

 private:
  int fd_;
  int error_ = 0;
  std::array<char, 1 << 16> space_;
};

[[noreturn]] void cannot_create(const std::string& path, int error) {
  throw Error(Errc::cannot_create, path + ": cannot be created: " + std::strerror(error));
}

/// Closes what it holds.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  int close() {
    const int result = fd_ >= 0 ? ::close(fd_) : 0;
    fd_ = -1;
    return result;
  }

 private:
  int fd_;
};

/// Calls write on a stream over the descriptor; Errc::io if a byte did not get through.
void write_to(int fd, const std::string& path, const std::function<void(std::ostream&)>& write) {
  DescriptorBuffer buffer(fd);
  std::ostream out(&buffer);
  write(out);
  out.flush();
  if (buffer.error()) throw Error(Errc::io, path + ": writing failed: " + std::strerror(buffer.error()));
  if (!out) throw Error(Errc::io, path + ": writing failed");
}

/// The process's own descriptors, which may be regular files that the shell goes on writing to: never
/// truncated or replaced.
bool own_descriptor(const std::string& path) {
  return path == "/dev/stdout" || path == "/dev/stderr" || path.starts_with("/dev/fd/");
}

/// A descriptor of what is no regular file: pipes, devices.
int open_special(const std::string& path) {
  if (path == "/dev/stdout") return ::dup(STDOUT_FILENO);
  if (path == "/dev/stderr") return ::dup(STDERR_FILENO);
  if (path.starts_with("/dev/fd/")) return ::dup(std::atoi(path.c_str() + 8));
  return ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
}

/// A name in the same folder that nobody has: renaming works only within a file system.
std::filesystem::path temporary_beside(const std::filesystem::path& target, std::random_device& random) {
  char name[32];
  std::snprintf(name, sizeof name, ".moekit-%08x%08x", random(), random());
  return target.parent_path() / name;
}

/// Removes the temporary unless it was renamed.
struct Temporary {
  std::filesystem::path path;
  bool kept = false;
  ~Temporary() {
    if (!kept && !path.empty()) ::unlink(path.c_str());
  }
};

int create_temporary(const std::filesystem::path& target, Temporary& temporary, const std::string& path) {
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::filesystem::path name = temporary_beside(target, random);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
      temporary.path = name;
      return fd;
    }
    if (errno != EEXIST) cannot_create(path, errno);
  }
  cannot_create(path, EEXIST);
}

/// The renaming itself must reach the disk; not every file system can say, so failures are passed over.
void sync_folder(const std::filesystem::path& target) {
  std::filesystem::path folder = target.parent_path();
  if (folder.empty()) folder = ".";
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0) (void)::fsync(fd.get());
}

void replace_file(const std::filesystem::path& target, const std::string& path,
                  const std::function<void(std::ostream&)>& write) {
  Temporary temporary;
  Descriptor fd(create_temporary(target, temporary, path));
  write_to(fd.get(), path, write);
  if (::fsync(fd.get()) != 0 || fd.close() != 0)
    throw Error(Errc::io, path + ": writing failed: " + std::strerror(errno));
  if (::rename(temporary.path.c_str(), target.c_str()) != 0) cannot_create(path, errno);
  temporary.kept = true;
  sync_folder(target);
}

}  // namespace

void write_whole(const std::string& path, const std::function<void(std::ostream&)>& write) {
  if (path.empty()) throw Error(Errc::cannot_create, "the name of the output file is empty");
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) cannot_create(path, EISDIR);
  if (own_descriptor(path) || (exists && !S_ISREG(info.st_mode))) {
    const Descriptor fd(open_special(path));
    if (fd.get() < 0) cannot_create(path, errno);
    return write_to(fd.get(), path, write);
  }
  if (exists && ::access(path.c_str(), W_OK) != 0) cannot_create(path, errno);
  std::filesystem::path target = path;
  if (!target.has_filename()) cannot_create(path, EISDIR);
  // Through a symbolic link the file behind it is replaced, not the link.
  std::error_code failure;
  if (exists && std::filesystem::is_symlink(target, failure)) {
    const std::filesystem::path real = std::filesystem::canonical(target, failure);
    if (!failure) target = real;
  }
  replace_file(target, path, write);
}

}  // namespace moekit
