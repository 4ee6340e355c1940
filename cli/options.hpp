#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "checks.hpp"
#include "console.hpp"
#include "moekit/csv.hpp"
#include "moekit/fit.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace moekit::cli {

/// What is left to do when the command line has been understood. Returns the exit code.
struct Command {
  Common common;
  std::function<int(Console&)> run;
  bool on_ranks = false;  ///< does it know of several ranks?
};

/// How text becomes cells. Unset texts: found in the file, or the model's.
struct FormatArgs {
  std::string separator, decimal;
  std::vector<std::string> missing;
};

/// How a table of new rows is read for a model.
struct ReadingArgs {
  FormatArgs format;
  bool allow_missing_columns = false;
};

/// What the columns of a training table are for. Lists are raw: pieces may be joined by commas.
struct ColumnArgs {
  FormatArgs format;
  std::vector<std::string> categorical, numeric, drop, id;
  std::string weights, offset;
};

/// Everything about a fit that train and cv share. Numbers live in FitOptions, so that --help shows the
/// library's own defaults.
struct FitArgs {
  std::string data;
  std::vector<std::string> target;  ///< raw list
  ColumnArgs columns;
  std::string task = "auto";
  std::string preset = "readable";
  std::string ridge = "auto";
  std::string expert = "linear", expert_basis = "linear", gate_basis = "linear", noise = "constant";
  std::uint32_t bins = 0;
  std::vector<std::string> gate_columns, expert_columns;  ///< raw lists
  std::string init_column;
  std::string memory;  ///< empty: none given
  std::string method = "em", loss = "likelihood", schedule = "cosine", gate_score = "softmax";
  std::vector<std::string> balance;  ///< raw list
  std::string covariance;            ///< empty: by family
  FitOptions fit;
  std::string experts = "4";
  std::vector<std::pair<std::string, std::string>> given;  ///< options that the user set: for the model file
  bool was_given(std::string_view option) const;           ///< name without dashes
};

// Each adds a group of options to a command.
void add_common(CLI::App& command, Common& common);
void add_format(CLI::App& command, FormatArgs& format, const std::string& by_default);
/// The argument DATA.
void add_data(CLI::App& command, std::string& data);
/// For commands that read new rows: add_format() and --allow-missing-columns.
void add_reading(CLI::App& command, ReadingArgs& reading, const std::string& by_default);
void add_columns(CLI::App& command, ColumnArgs& columns);
/// All of FitArgs except --experts, which cv takes as a list.
void add_fit(CLI::App& command, FitArgs& args);
/// Parts of add_fit(): gradient fits, and which experts answer for a row.
void add_gradient(CLI::App& command, FitArgs& args);
void add_routing(CLI::App& command, FitArgs& args);
/// An option that takes one text each time it is given, and may be repeated.
CLI::Option* add_list(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                      const std::string& text);
/// The options that shape a model and were set by the user, by name.
std::vector<std::pair<std::string, std::string>> given_options(const CLI::App& command);

// From texts to what the library takes. Errors: Errc::usage.
CsvFormat csv_format(const FormatArgs& args);
/// Only what was set replaces the model's; none when nothing was set.
std::optional<CsvFormat> format_for(const FormatArgs& args, const CsvFormat& of_model);
/// How RowReader is to read for a model.
RowOptions row_options(const ReadingArgs& args, const Model& model);
/// Most bytes for the rows of a file: --memory, or for block files 3/4 of the machine's. 0: any.
std::uint64_t memory_for_rows(const std::string& memory, const std::string& path);
ReadOptions read_options(const FitArgs& args);
/// The columns that a list option names in a file. Only the header tells a name that holds a comma, so the
/// file is asked (not standard input or a pipe, where such a name needs double quotes).
std::vector<std::string> column_names(const std::vector<std::string>& texts, const std::string& path,
                                      const CsvFormat& format);
/// Widths of hidden layers of "mlp:64,32"; none for a basis. Errors: Errc::usage.
std::optional<std::vector<uword>> hidden_widths(const std::string& expert);
/// The options of args.preset in place of those that were not given. Settings for accuracy: docs/defaults.md.
FitArgs with_preset(FitArgs args, const Schema& schema);
/// FitOptions with preset, ridge, columns and seed filled in; needs the schema for the names of columns.
FitOptions fit_options(const FitArgs& args, const Common& common, const Schema& schema);
/// Notes on options that were given and change nothing beside the others.
std::vector<std::string> unused_options(const FitArgs& args, const FitOptions& fit);
/// Texts of a list option as names: a text that is a known name is taken whole, others are cut at commas.
std::vector<std::string> names_in(const std::vector<std::string>& texts,
                                  const std::vector<std::string>& known);
/// Whole numbers of a list option: "1,2,4,8". Errors: Errc::usage naming the option.
std::vector<uword> whole_numbers(const std::string& option, const std::vector<std::string>& texts);
/// Numbers of a list option, each strictly between 0 and 1.
std::vector<double> probabilities(const std::string& option, const std::vector<std::string>& texts);

}  // namespace moekit::cli
