#include "output.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "interrupt.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"

namespace moekit::cli {

namespace {

bool is_standard_output(const std::string& path) { return path.empty() || path == "-"; }

std::string directory_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

[[noreturn]] void fail(Errc code, const std::string& name, const std::string& what) {
  throw Error(code, name + ": " + what + ": " + std::strerror(errno));
}

void write_all(int file, const std::string& name, const char* data, std::size_t size) {
  while (size) {
    const ssize_t n = ::write(file, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) throw ClosedPipe{};
    if (n < 0) fail(Errc::io, name, "writing failed");
    data += n;
    size -= static_cast<std::size_t>(n);
  }
}

/// A file that has no name and so vanishes with the program.
int unnamed_file(const std::string& directory) {
  // The rights of a new file: it may get a name.
  int file = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (file >= 0) return file;
  // Some file systems have no O_TMPFILE.
  std::string path = directory + "/.moekit-XXXXXX";
  file = ::mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) fail(Errc::io, directory, "a temporary file can't be created there; set TMPDIR");
  ::unlink(path.c_str());
  return file;
}

}  // namespace

/// Memory first, then a file.
class Output::Spill : public std::streambuf {
 public:
  /// memory: bytes before there is a file.
  Spill(std::string directory, std::size_t memory) : directory_(std::move(directory)), most_(memory) {}
  ~Spill() override {
    if (file_ >= 0) ::close(file_);
  }

  /// Gives the file its name, which may have stood for another file. False when that can't be: everything is
  /// in memory, or the target belongs to another file system, or files without a name can't get one here.
  bool become(const std::string& path) {
    if (file_ < 0) return false;
    flush_memory();
    std::error_code failure;
    std::filesystem::path target = path;
    // Asked without an error code's verdict: that nothing has the name yet is no failure.
    if (std::filesystem::is_symlink(std::filesystem::symlink_status(target, failure)))
      target = std::filesystem::canonical(target, failure);
    else
      failure.clear();
    if (failure || (::access(target.c_str(), F_OK) == 0 && ::access(target.c_str(), W_OK) != 0)) return false;
    const std::string folder = directory_of(target.string());
    const std::string name = folder + "/.moekit-" + std::to_string(::getpid()) + "-" + std::to_string(file_);
    const std::string self = "/proc/self/fd/" + std::to_string(file_);
    if (::fsync(file_) != 0) fail(Errc::io, path, "writing failed");
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) return false;
    if (::rename(name.c_str(), target.c_str()) != 0) {
      ::unlink(name.c_str());
      return false;
    }
    // The renaming must reach the disk too; not every file system can say, so failures are passed over.
    const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
      (void)::fsync(directory);
      ::close(directory);
    }
    return true;
  }

  /// Hands everything over, piece by piece.
  template <class Write>
  void copy(const Write& write) {
    if (file_ >= 0) {
      flush_memory();
      std::array<char, 1 << 16> piece;
      for (off_t at = 0;;) {
        const ssize_t n = ::pread(file_, piece.data(), piece.size(), at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(Errc::io, directory_, "reading a temporary file failed");
        if (n == 0) break;
        write(piece.data(), static_cast<std::size_t>(n));
        at += n;
      }
    } else {
      write(memory_.data(), memory_.size());
    }
  }

 protected:
  std::streamsize xsputn(const char* data, std::streamsize size) override {
    if (file_ >= 0 && memory_.empty() && size > kDirect) {
      write(data, static_cast<std::size_t>(size));
      return size;
    }
    memory_.append(data, static_cast<std::size_t>(size));
    if (memory_.size() > most_) flush_memory();
    return size;
  }
  int_type overflow(int_type c) override {
    if (c == traits_type::eof()) return 0;
    const char letter = traits_type::to_char_type(c);
    xsputn(&letter, 1);
    return c;
  }

 private:
  void flush_memory() {
    if (file_ < 0) file_ = unnamed_file(directory_);
    write(memory_.data(), memory_.size());
    memory_.clear();
    memory_.shrink_to_fit();
    most_ = kPiece;
  }
  void write(const char* data, std::size_t size) {
    write_all(file_, directory_ + ": temporary file", data, size);
    written_ += static_cast<off_t>(size);
    if (written_ - started_ < kStart) return;
    // The disk begins now, beside what is still to come; nothing hangs on it.
    (void)::sync_file_range(file_, started_, written_ - started_, SYNC_FILE_RANGE_WRITE);
    started_ = written_;
  }

  static constexpr std::streamsize kDirect = 1 << 16;
  static constexpr off_t kStart = off_t{8} << 20;
  static constexpr std::size_t kPiece = std::size_t{1} << 20;
  std::string directory_, memory_;
  std::size_t most_;
  off_t written_ = 0, started_ = 0;
  int file_ = -1;
};

void check_output(const std::string& path, const std::vector<std::string>& inputs) {
  if (is_standard_output(path)) return;
  struct stat target {};
  if (::stat(path.c_str(), &target) == 0) {
    if (S_ISDIR(target.st_mode))
      throw Error(Errc::cannot_create, path + ": is a directory; name a file in it");
    if (!S_ISREG(target.st_mode)) return;  // a pipe or a device: written directly
    for (const std::string& input : inputs) {
      struct stat read {};
      if (input != "-" && ::stat(input.c_str(), &read) == 0 && read.st_dev == target.st_dev &&
          read.st_ino == target.st_ino)
        throw Error(Errc::usage, path + ": is read and written by the same command; name another output");
    }
  }
  const std::string directory = directory_of(path);
  struct stat parent {};
  if (::stat(directory.c_str(), &parent) != 0)
    throw Error(Errc::cannot_create, path + ": there is no directory '" + directory + "'; create it first");
  if (!S_ISDIR(parent.st_mode))
    throw Error(Errc::cannot_create, path + ": '" + directory + "' is not a directory; name another output");
  if (::access(directory.c_str(), W_OK | X_OK) != 0)
    fail(Errc::cannot_create, path, "directory '" + directory + "' is not writable");
}

Output::Output(std::string path) : path_(std::move(path)) {
  const char* temporary = std::getenv("TMPDIR");
  const std::string directory = !is_standard_output(path_) ? directory_of(path_)
                                : temporary && *temporary  ? temporary
                                                           : "/tmp";
  // A file that is to be named needs no copy, so it may as well begin early.
  constexpr std::size_t kEarly = std::size_t{8} << 20, kLate = std::size_t{64} << 20;
  spill_ = std::make_unique<Spill>(directory, is_standard_output(path_) ? kLate : kEarly);
  stream_ = std::make_unique<std::ostream>(spill_.get());
  stream_->exceptions(std::ios::badbit);  // what the buffer throws reaches the caller
}

Output::~Output() = default;

std::ostream& Output::stream() { return *stream_; }

void Output::finish() {
  if (is_standard_output(path_)) {
    spill_->copy(
        [](const char* data, std::size_t size) { write_all(STDOUT_FILENO, "standard output", data, size); });
    return;
  }
  struct stat target {};
  if (::stat(path_.c_str(), &target) == 0 && !S_ISREG(target.st_mode) && !S_ISDIR(target.st_mode)) {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0) fail(Errc::cannot_create, path_, "can't be opened for writing");
    const std::unique_ptr<const int, void (*)(const int*)> closer(&file, [](const int* f) { ::close(*f); });
    spill_->copy([&](const char* data, std::size_t size) { write_all(file, path_, data, size); });
    return;
  }
  {
    const UninterruptedSection section;
    if (!spill_->become(path_))
      write_whole(path_, [&](std::ostream& out) {
        spill_->copy([&](const char* data, std::size_t size) {
          out.write(data, static_cast<std::streamsize>(size));
          check_interrupted();
        });
      });
  }
  check_interrupted();
}

void write_standard_output(std::string_view text) {
  write_all(STDOUT_FILENO, "standard output", text.data(), text.size());
}

void write_text(const std::string& path, std::string_view text) {
  Output output(path);
  output.stream().write(text.data(), static_cast<std::streamsize>(text.size()));
  output.finish();
}

}  // namespace moekit::cli
