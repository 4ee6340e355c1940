#pragma once
#include <csignal>

namespace moekit::cli {

/// Thrown where a signal that came during an UninterruptedSection takes effect.
struct Interrupted {
  int signal;
};

/// Ctrl-C, SIGTERM and SIGHUP end the program at once with 128 + signal (130 for Ctrl-C); a closed pipe is an
/// error code of write() instead of a signal. A mapped file that is cut short while it is in use (SIGBUS)
/// ends it with one line and exit code 74.
void install_signal_handlers();

/// Set while a progress line stands on the terminal, so that the handler can end that line.
extern volatile std::sig_atomic_t terminal_line_open;

/// While one lives, signals wait, so that a file being written is finished or cleaned up. Long work belongs
/// outside.
class UninterruptedSection {
 public:
  UninterruptedSection();
  ~UninterruptedSection();
  UninterruptedSection(const UninterruptedSection&) = delete;
  UninterruptedSection& operator=(const UninterruptedSection&) = delete;
};

/// While one lives, the first signal waits for work that looks at interrupted() now and then; a second one
/// ends the program at once.
class SignalsWait {
 public:
  SignalsWait();
  ~SignalsWait();
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;
};

/// Has a signal come that waits?
bool interrupted();
/// Throws Interrupted if a signal waited.
void check_interrupted();

}  // namespace moekit::cli
