#include "text_input.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <vector>

#include "moekit/error.hpp"

namespace moekit::csv {

namespace {

constexpr std::size_t kPackedChunk = std::size_t{1} << 18;

std::string reason(int number) { return std::generic_category().message(number); }

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

/// The bytes as stored: a file that can be wound back, or a pipe with its copy.
class TextInput::Raw {
 public:
  Raw(const std::string& path, std::string name, bool restartable) : name_(std::move(name)) {
    if (path == "-") {
      fd_ = STDIN_FILENO;
    } else {
      fd_ = owned_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd_ < 0) throw Error(Errc::no_input, name_ + ": can't be opened: " + reason(errno));
    }
    start_ = ::lseek(fd_, 0, SEEK_CUR);
    if (start_ < 0 && restartable) {
      copy_.reset(std::tmpfile());
      if (!copy_)
        throw Error(Errc::io,
                    name_ + ": no temporary file can be made to keep what is read: " + reason(errno));
    }
  }
  ~Raw() {
    if (owned_ >= 0) ::close(owned_);
  }

  /// Reads until `size` bytes are there or the input ends.
  std::size_t read(char* buffer, std::size_t size) {
    std::size_t done = std::min(pushed_back_.size(), size);
    std::copy_n(pushed_back_.begin(), done, buffer);
    pushed_back_.erase(0, done);
    while (done < size) {
      const std::size_t n = read_some(buffer + done, size - done);
      if (n == 0) break;
      done += n;
    }
    return done;
  }

  void push_back(const char* data, std::size_t size) { pushed_back_.insert(0, data, size); }

  void restart() {
    pushed_back_.clear();
    if (!copy_) {
      if (::lseek(fd_, start_, SEEK_SET) < 0)
        throw Error(Errc::io, name_ + ": can't be read a second time: " + reason(errno));
      return;
    }
    std::rewind(copy_.get());
    replay_ = copied_;
  }

 private:
  std::size_t read_some(char* buffer, std::size_t size) {
    if (replay_ > 0) return replay(buffer, size);
    ssize_t n;
    do n = ::read(fd_, buffer, std::min(size, std::size_t{1} << 30));
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EISDIR) throw Error(Errc::no_input, name_ + ": is a directory");
    if (n < 0) throw Error(Errc::io, name_ + ": reading failed: " + reason(errno));
    const auto got = static_cast<std::size_t>(n);
    if (copy_) {
      if (std::fwrite(buffer, 1, got, copy_.get()) != got)
        throw Error(Errc::io, name_ + ": the temporary copy can't be written: " + reason(errno));
      copied_ += got;
    }
    return got;
  }

  std::size_t replay(char* buffer, std::size_t size) {
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(size, replay_));
    if (std::fread(buffer, 1, wanted, copy_.get()) != wanted)
      throw Error(Errc::io, name_ + ": the temporary copy can't be read back");
    replay_ -= wanted;
    // The next operation on the copy is a write: the standard asks for a seek between the two.
    if (replay_ == 0) std::fseek(copy_.get(), 0, SEEK_END);
    return wanted;
  }

  std::string name_;
  int fd_ = -1, owned_ = -1;
  off_t start_ = -1;
  std::unique_ptr<std::FILE, CloseFile> copy_;
  std::uint64_t copied_ = 0, replay_ = 0;
  std::string pushed_back_;
};

/// Turns packed bytes into text.
class TextInput::Unpacker {
 public:
  Unpacker(Raw& raw, std::string name) : raw_(raw), name_(std::move(name)), packed_(kPackedChunk) {}
  virtual ~Unpacker() = default;
  virtual std::size_t read(char* buffer, std::size_t size) = 0;

 protected:
  [[noreturn]] void fail(const std::string& format, const std::string& what) const {
    throw Error(Errc::data, name_ + ": the " + format + " data " + what + "; copy or pack the file again");
  }
  Raw& raw_;
  std::string name_;
  std::vector<char> packed_;
};

class TextInput::Gzip : public Unpacker {
 public:
  Gzip(Raw& raw, std::string name) : Unpacker(raw, std::move(name)) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw Error(Errc::internal, "zlib does not start");
  }
  ~Gzip() override { inflateEnd(&stream_); }

  std::size_t read(char* buffer, std::size_t size) override {
    size = std::min(size, std::size_t{1} << 30);  // zlib counts in unsigned int
    stream_.next_out = reinterpret_cast<Bytef*>(buffer);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out > 0 && !finished_) {
      if (stream_.avail_in == 0 && !fill()) {
        if (!between_members_) fail("gzip", "end too early (a truncated file)");
        finished_ = true;
        break;
      }
      if (between_members_ && !begin_member()) break;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END)
        between_members_ = true;
      else if (status != Z_OK && status != Z_BUF_ERROR)
        fail("gzip", "are damaged");
    }
    return size - stream_.avail_out;
  }

 private:
  bool fill() {
    stream_.next_in = reinterpret_cast<Bytef*>(packed_.data());
    stream_.avail_in = static_cast<uInt>(raw_.read(packed_.data(), packed_.size()));
    return stream_.avail_in > 0;
  }

  /// After a member comes another one, zero bytes that pad, or nothing.
  bool begin_member() {
    if (any_member_) {
      while (stream_.avail_in > 0 && *stream_.next_in == 0) --stream_.avail_in, ++stream_.next_in;
      if (stream_.avail_in == 0) return true;
      if (*stream_.next_in != 0x1f) fail("gzip", "are followed by other bytes");
      if (inflateReset(&stream_) != Z_OK) throw Error(Errc::internal, "zlib does not start again");
    }
    any_member_ = true;
    between_members_ = false;
    return true;
  }

  z_stream stream_{};
  bool finished_ = false, between_members_ = true, any_member_ = false;
};

class TextInput::Zstd : public Unpacker {
 public:
  Zstd(Raw& raw, std::string name)
      : Unpacker(raw, std::move(name)), stream_(ZSTD_createDStream(), &free_stream) {
    if (!stream_ || ZSTD_isError(ZSTD_initDStream(stream_.get())))
      throw Error(Errc::internal, "zstd does not start");
  }

  std::size_t read(char* buffer, std::size_t size) override {
    ZSTD_outBuffer out{buffer, size, 0};
    while (out.pos < out.size) {
      // Text may still wait inside the decoder when all packed bytes are taken, so ask before the next fill.
      const std::size_t before_in = in_.pos, before_out = out.pos;
      const std::size_t status = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(status)) fail("zstd", std::string("are damaged (") + ZSTD_getErrorName(status) + ")");
      if (in_.pos != before_in || out.pos != before_out) {
        inside_frame_ = status != 0;
        continue;
      }
      in_ = {packed_.data(), raw_.read(packed_.data(), packed_.size()), 0};
      if (in_.size == 0) {
        if (inside_frame_) fail("zstd", "end too early (a truncated file)");
        break;
      }
    }
    return out.pos;
  }

 private:
  static void free_stream(ZSTD_DStream* stream) { ZSTD_freeDStream(stream); }
  std::unique_ptr<ZSTD_DStream, void (*)(ZSTD_DStream*)> stream_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool inside_frame_ = true;
};

TextInput::TextInput(const std::string& path, bool restartable)
    : name_(path == "-" ? "standard input" : path), raw_(std::make_unique<Raw>(path, name_, restartable)) {
  begin();
}

TextInput::~TextInput() = default;

void TextInput::begin() {
  char magic[4];
  const std::size_t n = raw_->read(magic, sizeof magic);
  raw_->push_back(magic, n);
  const auto starts = [&](const char* bytes, std::size_t size) {
    return n >= size && std::memcmp(magic, bytes, size) == 0;
  };
  unpacker_.reset();
  if (starts("\x1f\x8b", 2))
    unpacker_ = std::make_unique<Gzip>(*raw_, name_);
  else if (starts("\x28\xb5\x2f\xfd", 4) ||
           (n == 4 && (magic[0] & 0xf0) == 0x50 && !std::memcmp(magic + 1, "\x2a\x4d\x18", 3)))
    unpacker_ = std::make_unique<Zstd>(*raw_, name_);
}

void TextInput::restart() {
  raw_->restart();
  begin();
}

std::size_t TextInput::read(char* buffer, std::size_t size) {
  if (!unpacker_) return raw_->read(buffer, size);
  std::size_t done = 0;
  while (done < size) {
    const std::size_t n = unpacker_->read(buffer + done, size - done);
    if (n == 0) break;
    done += n;
  }
  return done;
}

}  // namespace moekit::csv
