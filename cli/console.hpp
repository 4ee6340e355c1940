#pragma once
#include <chrono>
#include <string>
#include <string_view>

namespace moekit::cli {

/// Options that every command takes.
struct Common {
  int threads = 0;  ///< 0: the cores that the process may use
  std::uint64_t seed = 0;
  bool quiet = false;
  bool verbose = false;
  std::string color = "auto";
};

/// Standard error, where notes, progress and summaries go, and what the two streams may look like.
/// `--color auto` colours a terminal unless NO_COLOR is set (no-color.org) or the terminal is dumb.
class Console {
 public:
  Console() : Console(Common{}) {}
  explicit Console(const Common& common);

  bool quiet() const { return quiet_; }
  bool verbose() const { return verbose_; }
  /// "note: text", unless quiet.
  void note(std::string_view text);
  /// Text as it is (with its own line ends), unless quiet.
  void print(std::string_view text);
  /// "moekit: text", always: the one line of an error.
  void error(std::string_view text);
  /// One line that the next one overwrites: only on a terminal, at most ten a second.
  void progress(std::string_view text);
  void clear_progress();

  /// Headings on standard error and on standard output: bold where colours are on.
  std::string heading(std::string_view text) const { return styled(text, "1", colour_err_); }
  std::string out_heading(std::string_view text) const { return styled(text, "1", colour_out_); }
  /// What stands out on standard output, such as the chosen row.
  std::string out_highlight(std::string_view text) const { return styled(text, "1;32", colour_out_); }

 private:
  static std::string styled(std::string_view text, std::string_view code, bool on);

  bool quiet_, verbose_;
  bool colour_err_ = false, colour_out_ = false;
  bool terminal_ = false, progress_shown_ = false;
  std::chrono::steady_clock::time_point last_progress_{};
};

/// Columns of the terminal behind standard output, 80 when it is not one.
int output_width();
/// Is standard output a terminal?
bool output_is_terminal();
/// Does standard output go to a terminal that shows block characters (UTF-8 by LC_ALL, LC_CTYPE or LANG)?
bool output_blocks();

}  // namespace moekit::cli
