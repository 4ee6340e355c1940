#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moekit/sum.hpp"

namespace moekit {

/// Thrown by a fit with a checkpoint that was asked to stop, after the checkpoint was written.
struct Halted {};

/// Keeps what a fit has done so far in a file, so that a killed fit goes on to the very same model. A fit is
/// made of units of work: climbs from given parameters over given rows. Each is known by a hash of everything
/// that it depends on; the file holds the results of those that are finished, and of those under way the
/// state to go on from. A fit that resumes decides everything anew, but takes from the file what is there.
/// For one fit at a time, or for work of another kind that calls these itself; all functions may be called
/// from several threads at once.
class FitCheckpoint {
 public:
  /// When the file is written: after so many passes over rows, or else after so many seconds.
  struct Pace {
    double seconds;
    int passes;
  };
  /// Rank 0 of `comm` reads and writes the file; all have what it read.
  explicit FitCheckpoint(std::string path, Pace pace = {60, 0}, const Communicator& comm = one_rank());

  /// Reads the file; false if there is none. Errors: Errc::model_format for a file that is damaged or from
  /// another version, Errc::no_input, Errc::io.
  bool load();
  /// Errors: Errc::cannot_create, Errc::io.
  void write();

  // What fit() and its climbs call.
  /// What the fit is of, by name. Errors: Errc::data when the file that was read is of another fit, saying
  /// what differs.
  void begin(std::vector<std::pair<std::string, std::string>> identity);
  std::optional<std::string> find(std::uint64_t unit, bool finished) const;
  /// Keeps a state or the result of a unit, and writes the file when it is due.
  void keep(std::uint64_t unit, bool finished, std::string bytes);
  void count_pass();
  bool due() const;
  bool writes() const { return comm_.rank() == 0; }

 private:
  struct Entry {
    bool finished = false;
    std::string bytes;
  };
  std::string text() const;
  void parse(const std::string& text);
  bool due_now() const;
  void write_now();

  const std::string path_;
  const Pace pace_;
  const Communicator& comm_;
  mutable std::mutex mutex_;
  std::vector<std::string> names_, values_;  // of the identity
  std::map<std::uint64_t, Entry> units_;
  std::chrono::steady_clock::time_point written_ = std::chrono::steady_clock::now();
  int passes_ = 0;  // since then
};

}  // namespace moekit
