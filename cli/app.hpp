#pragma once
#include "options.hpp"

namespace moekit::cli {

// One file a command: each adds its options and, when its name was given, says in `command` what to run.
void add_train(CLI::App& program, Command& command);
void add_predict(CLI::App& program, Command& command);
void add_evaluate(CLI::App& program, Command& command);
void add_diagnose(CLI::App& program, Command& command);
void add_report(CLI::App& program, Command& command);
void add_inspect(CLI::App& program, Command& command);
void add_compare(CLI::App& program, Command& command);
void add_explain(CLI::App& program, Command& command);
void add_convert(CLI::App& program, Command& command);
void add_cv(CLI::App& program, Command& command);
void add_simulate(CLI::App& program, Command& command);
void add_layer(CLI::App& program, Command& command);
// Commands of layer.
void add_layer_run(CLI::App& layer, Command& command);
void add_layer_inspect(CLI::App& layer, Command& command);

/// A command of the program with the common options; its examples stand below its options in --help.
CLI::App* add_command(CLI::App& program, const std::string& name, const std::string& text,
                      const std::string& examples, Common& common);

/// "moekit", "moekit train", "moekit layer run".
std::string display_name(const CLI::App& command);

/// Text of --help: usage, options in groups within 80 columns, examples, a line each.
std::string help_text(const CLI::App& command);

/// The whole program: parses, runs, and turns every failure into one line and an exit code.
int run_program(int argc, char** argv);

}  // namespace moekit::cli
