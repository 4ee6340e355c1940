#include "console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "interrupt.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

/// Standard error has nobody to complain to: a failure to write there is passed over.
void write_error(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool wants_colour(const std::string& mode, int stream) {
  if (mode != "auto") return mode == "always";
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color && *no_color) return false;
  const char* term = std::getenv("TERM");
  if (!term || std::string_view(term) == "dumb") return false;
  return isatty(stream) != 0;
}

}  // namespace

Console::Console(const Common& common)
    : quiet_(common.quiet),
      verbose_(common.verbose),
      colour_err_(wants_colour(common.color, STDERR_FILENO)),
      colour_out_(wants_colour(common.color, STDOUT_FILENO)),
      terminal_(isatty(STDERR_FILENO) != 0) {}

std::string Console::styled(std::string_view text, std::string_view code, bool on) {
  const std::string shown = harmless(std::string(text));  // names of files and targets are in headings
  return on ? "\x1b[" + std::string(code) + "m" + shown + "\x1b[0m" : shown;
}

void Console::note(std::string_view text) {
  if (quiet_) return;
  clear_progress();
  write_error(styled("note:", "36", colour_err_) + " " + harmless(std::string(text)) + "\n");
}

void Console::print(std::string_view text) {
  if (quiet_) return;
  clear_progress();
  write_error(text);
}

void Console::error(std::string_view text) {
  clear_progress();
  // One error is one line: names and cells of the user may hold line breaks.
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  line = harmless(line);
  write_error(styled("moekit:", "1;31", colour_err_) + " " + line + "\n");
}

void Console::progress(std::string_view text) {
  if (quiet_ || !terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_progress_ < std::chrono::milliseconds(100)) return;
  last_progress_ = now;
  progress_shown_ = true;
  terminal_line_open = 1;
  write_error("\r" + std::string(text) + "\x1b[K");
}

void Console::clear_progress() {
  if (!progress_shown_) return;
  progress_shown_ = false;
  terminal_line_open = 0;
  write_error("\r\x1b[K");
}

int output_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
    return std::min<int>(size.ws_col, 120);
  return 80;
}

bool output_is_terminal() { return isatty(STDOUT_FILENO); }

bool output_blocks() {
  if (!output_is_terminal()) return false;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (!value || !*value) continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
  }
  return false;
}

}  // namespace moekit::cli
