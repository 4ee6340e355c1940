#include "interrupt.hpp"

#include <unistd.h>

namespace moekit::cli {

volatile std::sig_atomic_t terminal_line_open = 0;

namespace {

volatile std::sig_atomic_t sections = 0;
volatile std::sig_atomic_t patient = 0;
volatile std::sig_atomic_t waiting = 0;

void on_signal(int signal) {
  if (sections > 0 || (patient > 0 && waiting == 0)) {
    waiting = signal;
    return;
  }
  if (terminal_line_open) {
    [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, "\n", 1);
  }
  _exit(128 + signal);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old = {};
    // nohup and background jobs of a shell ignore some signals on purpose.
    if (sigaction(signal, nullptr, &old) == 0 && old.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_IGN);
}

UninterruptedSection::UninterruptedSection() { sections = sections + 1; }
UninterruptedSection::~UninterruptedSection() { sections = sections - 1; }

SignalsWait::SignalsWait() { patient = patient + 1; }
SignalsWait::~SignalsWait() { patient = patient - 1; }

bool interrupted() { return waiting != 0; }

void check_interrupted() {
  if (waiting) throw Interrupted{waiting};
}

}  // namespace moekit::cli
