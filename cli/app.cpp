#include "app.hpp"

#include <CLI/CLI.hpp>
#include <new>
#include <span>

#include "interrupt.hpp"
#include "moekit/error.hpp"
#include "moekit/version.hpp"
#include "output.hpp"
#include "ranks.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr int kUsage = 64, kInternal = 70;

int exit_code(Errc code) {
  switch (code) {
    case Errc::usage:
      return kUsage;
    case Errc::data:
    case Errc::model_format:
    case Errc::numeric:
      return 65;
    case Errc::no_input:
      return 66;
    case Errc::internal:
      return kInternal;
    case Errc::cannot_create:
      return 73;
    case Errc::io:
      return 74;
  }
  return kInternal;
}

void add_commands(CLI::App& program, Command& command) {
  add_train(program, command);
  add_predict(program, command);
  add_evaluate(program, command);
  add_diagnose(program, command);
  add_report(program, command);
  add_inspect(program, command);
  add_explain(program, command);
  add_compare(program, command);
  add_cv(program, command);
  add_convert(program, command);
  add_simulate(program, command);
  add_layer(program, command);
}

std::vector<std::string> command_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* sub : program.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return names;
}

/// " did you mean 'train'?", or nothing.
std::string suggestion(const std::string& name, const std::vector<std::string>& known) {
  const std::string near = nearest_name(name, known);
  return near.empty() ? "" : " did you mean '" + near + "'?";
}

/// The command whose options are being parsed: the innermost that was named, else the program.
const CLI::App& current(const CLI::App& program) {
  const auto parsed = program.get_subcommands();
  return parsed.empty() ? program : current(*parsed.front());
}

/// CLI11 only says that a command is required when one is mistyped, so the first words are looked at here.
void check_command_words(const CLI::App& app, std::span<const std::string> words) {
  const std::vector<std::string> known = command_names(app);
  if (known.empty()) return;
  const std::string where = app.get_parent() ? " of " + display_name(app) : "";
  if (words.empty())
    throw Error(Errc::usage, "a command" + where + " is needed: " + join(known, ", ") + "; see " +
                                 display_name(app) + " --help");
  const std::string& word = words.front();
  if (word.size() > 1 && word[0] == '-') return;
  if (std::find(known.begin(), known.end(), word) == known.end())
    throw Error(Errc::usage, "no command '" + word + "'" + where + ";" + suggestion(word, known) +
                                 " commands are: " + join(known, ", "));
  check_command_words(*app.get_subcommand(word), words.subspan(1));
}

/// An unknown option explains most other complaints, so it is looked for first.
std::string describe(const CLI::App& program, const CLI::ParseError& error) {
  const CLI::App& app = current(program);
  const std::string help = "; see " + display_name(app) + " --help";
  for (const std::string& word : app.remaining()) {
    if (word.size() < 2 || word[0] != '-') continue;
    const std::string name = word.substr(0, word.find('='));
    std::vector<std::string> known;
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& n : option->get_lnames()) known.push_back("--" + n);
      for (const std::string& n : option->get_snames()) known.push_back("-" + n);
    }
    return display_name(app) + " has no option '" + name + "';" + suggestion(name, known) + " see " +
           display_name(app) + " --help";
  }
  if (!app.remaining().empty())
    return "'" + app.remaining().front() + "' is one argument too many for " + display_name(app) + help;
  return std::string(error.what()) + help;
}

/// The same option twice with different values is a slip, not a choice.
void check_repeated(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_multi_option_policy() != CLI::MultiOptionPolicy::TakeLast) continue;
    const auto& values = option->results();
    for (const std::string& value : values)
      if (value != values.front())
        throw Error(Errc::usage, option->get_name() + " is given twice, as '" + values.front() + "' and '" +
                                     value + "'; leave one out");
  }
}

int parse_and_run(const std::vector<std::string>& arguments, Command& command, Console& console) {
  CLI::App program("Mixtures of local experts on tables: train, score and understand them.");
  program.name("moekit");
  program.set_help_flag("-h,--help", "this text");
  program.set_version_flag("--version", std::string("moekit ") + kVersion, "the version");
  program.require_subcommand(1);
  add_commands(program, command);
  program.footer(
      "\nmoekit COMMAND --help has the options and examples of a command.\n"
      "Exit codes: 0 done; 64 wrong usage; 65 bad data or model file; 66 no input;\n"
      "70 a bug of ours; 73 output can't be created; 74 reading or writing failed;\n"
      "130 interrupted.\n");

  std::vector<std::string> words = arguments;
  if (!words.empty() && words.front() == "help") {  // moekit help train
    words.erase(words.begin());
    words.push_back("--help");
  }
  check_command_words(program, words);
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  try {
    program.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    write_standard_output(help_text(current(program)));
    return 0;
  } catch (const CLI::CallForVersion&) {
    write_standard_output(std::string("moekit ") + kVersion + "\n");
    return 0;
  } catch (const CLI::ParseError& error) {
    throw Error(Errc::usage, describe(program, error));
  }
  check_repeated(current(program));
  if (ranks().size() > 1 && !command.on_ranks)
    throw Error(Errc::usage, "only moekit train runs on several ranks; leave mpirun out");
  if (ranks().rank() > 0) command.common.quiet = true;
  console = Console(command.common);
  return command.run(console);
}

}  // namespace

std::string display_name(const CLI::App& command) {
  return command.get_parent() ? display_name(*command.get_parent()) + " " + command.get_name() : "moekit";
}

CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& text,
                      const std::string& examples, Common& common) {
  CLI::App* sub = program.add_subcommand(name, text);
  add_common(*sub, common);
  sub->footer("\nExamples:\n" + examples);
  return sub;
}

namespace {

/// The exit code; `message` becomes the reason of a failure.
int run_guarded(const std::vector<std::string>& arguments, Console& console, std::string& message) {
  Command command;
  try {
    begin_ranks();
    return parse_and_run(arguments, command, console);
  } catch (const ClosedPipe&) {
    return 0;
  } catch (const Interrupted& interrupted) {
    console.clear_progress();
    return 128 + interrupted.signal;
  } catch (const Error& error) {
    message = error.what();
    return exit_code(error.code());
  } catch (const std::bad_alloc&) {
    message = "memory ran out; use fewer rows, columns or experts, or a larger machine";
  } catch (const std::exception& error) {
    message = std::string("internal error: ") + error.what() + "; please report it with the command line";
  } catch (...) {
    message = "internal error; please report it with the command line";
  }
  return kInternal;
}

}  // namespace

int run_program(int argc, char** argv) {
  install_signal_handlers();
  Console console;
  std::string message;
  const int code =
      run_guarded(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), console, message);
  if (!message.empty()) {
    wait_to_fail();
    console.error(message);
  }
  return end_ranks(code);
}

}  // namespace moekit::cli
