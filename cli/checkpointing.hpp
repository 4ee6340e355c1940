#pragma once
#include <memory>
#include <string>

#include "console.hpp"
#include "moekit/fit.hpp"

namespace CLI {
class App;
}

namespace moekit::cli {

/// --checkpoint, --checkpoint-every and --resume.
struct CheckpointArgs {
  std::string path, every = "60s";
  bool every_given = false, resume = false;
};
void add_checkpoint(CLI::App& command, CheckpointArgs& args);
/// The same without --checkpoint-every, with texts of its own.
void add_checkpoint_file(CLI::App& command, CheckpointArgs& args, const std::string& of_file,
                         const std::string& of_resume);

/// "30s", "5m" or "2h": seconds; "50": passes. Errors: Errc::usage.
FitCheckpoint::Pace parse_pace(const std::string& text);

/// The checkpoint that the options ask for, read if they say so; null without --checkpoint. Errors:
/// Errc::usage where a file is there that --resume was not given for; those of FitCheckpoint::load().
std::unique_ptr<FitCheckpoint> open_checkpoint(const CheckpointArgs& args, const Communicator& comm,
                                               Console& console);

/// Calls `work` while signals wait for it to come to a place where it can be interrupted. Its callback stops
/// it once a signal came; the checkpoint is written then and Interrupted thrown. Without a checkpoint signals
/// end the program as ever.
void run_with_checkpoint(FitCheckpoint* checkpoint, const CheckpointArgs& args, Console& console,
                         const std::function<void()>& work);
/// The callback of such work: shows progress, and stops once a signal came, of several ranks to the first.
OnIteration stoppable(OnIteration progress);

}  // namespace moekit::cli
