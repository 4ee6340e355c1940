#include "checkpointing.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "checks.hpp"
#include "interrupt.hpp"
#include "moekit/error.hpp"
#include "ranks.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr const char* kGroup = "Output";

}  // namespace

void add_checkpoint_file(CLI::App& command, CheckpointArgs& args, const std::string& of_file,
                         const std::string& of_resume) {
  command.add_option("--checkpoint", args.path, of_file + " (default: none)")
      ->type_name("FILE")
      ->group(kGroup);
  command.add_flag("--resume", args.resume, of_resume + "; same data and options")->group(kGroup);
}

void add_checkpoint(CLI::App& command, CheckpointArgs& args) {
  add_checkpoint_file(command, args,
                      "file that keeps how far the fit is, for --resume; removed when the model is written",
                      "go on from the checkpoint of an interrupted fit, to the very same model");
  command
      .add_option("--checkpoint-every", args.every,
                  "when it is written: after so much time (30s, 5m, 2h), or so many passes over rows (50)")
      ->type_name("TIME|PASSES")
      ->check([](const std::string& text) {
        try {
          parse_pace(text);
        } catch (const Error& e) {
          return std::string(e.what());
        }
        return std::string();
      })
      ->capture_default_str()
      ->group(kGroup);
}

FitCheckpoint::Pace parse_pace(const std::string& text) {
  const std::string units = "smh";
  const std::size_t unit = text.empty() ? std::string::npos : units.find(text.back());
  double number = 0;
  const bool known = parse_number(unit == std::string::npos ? text : text.substr(0, text.size() - 1), number);
  constexpr double kSeconds[] = {1, 60, 3600};
  if (known && unit != std::string::npos && number >= 0 && number <= 1e9) return {number * kSeconds[unit], 0};
  if (known && unit == std::string::npos && number >= 1 && number <= 1e9 && number == std::floor(number))
    return {0, static_cast<int>(number)};
  throw Error(Errc::usage, "'" + text + "' is neither a time (30s, 5m, 2h) nor a number of passes");
}

std::unique_ptr<FitCheckpoint> open_checkpoint(const CheckpointArgs& args, const Communicator& comm,
                                               Console& console) {
  if (args.path.empty()) {
    if (args.resume || args.every_given)
      throw Error(Errc::usage, std::string(args.resume ? "--resume" : "--checkpoint-every") +
                                   " needs --checkpoint FILE, the file that keeps how far the fit is");
    return nullptr;
  }
  if (!args.resume && comm.rank() == 0 && ::access(args.path.c_str(), F_OK) == 0)
    throw Error(Errc::usage,
                args.path + ": a file is there already; give --resume to go on from it, or remove it");
  auto checkpoint = std::make_unique<FitCheckpoint>(args.path, parse_pace(args.every), comm);
  if (args.resume && !checkpoint->load())
    console.note(args.path + ": there is no checkpoint yet, so the fit begins anew");
  return checkpoint;
}

void run_with_checkpoint(FitCheckpoint* checkpoint, const CheckpointArgs& args, Console& console,
                         const std::function<void()>& work) {
  if (!checkpoint) return work();
  const SignalsWait wait;
  try {
    work();
    if (!interrupted() || ranks().rank() > 0) return;
    checkpoint->write();
  } catch (const Halted&) {  // it was written
  } catch (const Error& e) {
    // A fit reads nothing else that could be damaged.
    if (e.code() != Errc::model_format) throw;
    throw Error(e.code(), args.path + ": " + e.what() + "; remove it to begin anew");
  }
  console.note("interrupted: " + args.path + " keeps how far the fit is; go on with --resume");
  check_interrupted();
}

OnIteration stoppable(OnIteration progress) {
  return [progress = std::move(progress)](const Iteration& at) {
    progress(at);
    return interrupted() && ranks().rank() == 0 ? Next::stop : Next::proceed;
  };
}

}  // namespace moekit::cli
