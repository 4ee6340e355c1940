#include "interrupt.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "moekit/mapped.hpp"

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

/// As EX_IOERR of sysexits.h, and as Errc::io.
constexpr int kReadingFailed = 74;

/// Somebody cut a mapped file short, or its disk failed: nothing that was to be read there can be had, so
/// the program says so and ends. Outputs are still unnamed then, and so leave nothing behind.
void on_bus_error(int, siginfo_t* info, void*) {
  static std::atomic<bool> said{false};
  const char* name = moekit::mapped_file_at(info->si_addr);
  if (!name) {  // nothing that we know of: what the system does without us
    std::signal(SIGBUS, SIG_DFL);
    return;
  }
  while (said.exchange(true)) ::pause();  // another thread is about to end the program
  std::array<char, 2048> line;
  std::size_t length = 0;
  const auto add = [&](const char* text) {
    const std::size_t n = std::min(std::strlen(text), line.size() - length);
    std::memcpy(line.data() + length, text, n);
    length += n;
  };
  if (terminal_line_open) add("\n");
  add("moekit: ");
  add(name);
  add(": was cut short or can't be read while it is in use; run again with a file that nobody changes\n");
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, line.data(), length);
  _exit(kReadingFailed);
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
  struct sigaction bus = {};
  bus.sa_sigaction = on_bus_error;
  sigemptyset(&bus.sa_mask);
  bus.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &bus, nullptr);
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
