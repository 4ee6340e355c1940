#pragma once
#include <memory>
#include <ostream>
#include <streambuf>
#include <string>
#include <vector>

namespace moekit::cli {

/// Standard output was closed by its reader (head, less): that is success.
struct ClosedPipe {};

/// Throws before any work is done if `path` could not be written at the end: no such directory, not writable,
/// a directory itself (Errc::cannot_create), or one of the files that are read (Errc::usage).
/// An empty path or "-" is standard output.
void check_output(const std::string& path, const std::vector<std::string>& inputs);

/// A result on its way to a file or to standard output (an empty path or "-"). Everything waits in memory,
/// beyond 64 MiB in a file without a name, until finish(), so that an error or Ctrl-C leaves nothing behind
/// and an old file as it was. Files are then written whole; pipes and devices directly.
class Output {
 public:
  explicit Output(std::string path);
  ~Output();
  std::ostream& stream();
  void finish();

 private:
  class Spill;
  std::string path_;
  std::unique_ptr<Spill> spill_;
  std::unique_ptr<std::ostream> stream_;
};

/// Text to standard output at once. Errors: ClosedPipe, Errc::io.
void write_standard_output(std::string_view text);
/// Text to a file, whole, or to standard output.
void write_text(const std::string& path, std::string_view text);

}  // namespace moekit::cli
