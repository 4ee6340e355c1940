#include "moekit/model_io.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "checksum.hpp"
#include "model_json.hpp"
#include "moekit/error.hpp"
#include "moekit/version.hpp"

namespace moekit {

namespace {

constexpr std::string_view kMagic = "moekit-model ";
constexpr int kFormat = 1;

/// The only first line that a model with this body can have.
std::string header_of(std::string_view body) { return sealing_line(kMagic, kFormat, body); }

[[noreturn]] void refuse(const std::string& name, const std::string& problem) {
  throw Error(Errc::model_format, name + ": " + problem);
}

/// Refuses what is no model file, or one of another format.
void check_format(std::string_view text, const std::string& name) {
  if (text.empty()) refuse(name, "the file is empty, not a moekit model; write one with moekit train -o");
  if (!text.starts_with(kMagic.substr(0, text.size())))
    refuse(name, "not a moekit model; give the file that moekit train -o wrote");
  if (text.size() <= kMagic.size()) refuse(name, "damaged model: the file is cut short; take another copy");
  int version = 0;
  const char *begin = text.data() + kMagic.size(), *end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, version);
  if (error != std::errc() || version < 1 || stop == end || *stop != ' ')
    refuse(name, "damaged model: the first line is not that of a model file; take another copy");
  if (version != kFormat)
    refuse(name, "model format " + std::to_string(version) + " is not known to moekit " + kVersion +
                     ", which reads format " + std::to_string(kFormat) + "; a newer moekit reads it");
}

/// Bytes of an open file; no more than a look at the beginning when that is no model.
std::string read_all(int fd, const std::string& path) {
  std::string text;
  char piece[1 << 16];
  bool checked = false;
  for (;;) {
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(Errc::io, path + ": reading failed: " + std::strerror(errno));
    if (got == 0) return text;
    text.append(piece, static_cast<std::size_t>(got));
    if (!checked && text.size() > 64) {
      check_format(text, path);
      checked = true;
    }
  }
}

}  // namespace

std::string model_text(const Model& model) {
  const std::string body = model_to_json(model) + "\n";
  return header_of(body) + body;
}

void save_model(const Model& model, const std::string& path) {
  const std::string text = model_text(model);  // before the file is touched: it may refuse
  write_whole(path,
              [&](std::ostream& out) { out.write(text.data(), static_cast<std::streamsize>(text.size())); });
}

Model parse_model(const std::string& text, const std::string& name) {
  check_format(text, name);
  const std::size_t line = text.find('\n');
  if (line == std::string::npos) refuse(name, "damaged model: the file is cut short; take another copy");
  const std::string_view body = std::string_view(text).substr(line + 1);
  if (text.compare(0, line + 1, header_of(body)) != 0)
    refuse(name, "damaged model: length or checksum is not what the first line says; take another copy");
  return model_from_json(std::string(body), name);
}

Model load_model(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int error = errno;
  struct Closer {
    int fd;
    ~Closer() {
      if (fd >= 0) ::close(fd);
    }
  } closer{fd};
  if (fd < 0) throw Error(Errc::no_input, path + ": cannot be opened: " + std::strerror(error));
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode))
    throw Error(Errc::no_input, path + ": is a directory, not a model file");
  return parse_model(read_all(fd, path), path);
}

}  // namespace moekit
