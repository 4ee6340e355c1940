#include "options.hpp"

#include <CLI/CLI.hpp>

#include "moekit/error.hpp"
#include "moekit/version.hpp"
#include "text.hpp"

namespace moekit::cli {

CLI::Option* add_list(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                      const std::string& text) {
  // One text for each time it is given: by default CLI11 would swallow the positional arguments that follow.
  return command.add_option(name, values, text)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_common(CLI::App& command, Common& common) {
  // An option twice with the same value is fine; app.cpp refuses different values.
  command.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  command.set_help_flag("-h,--help", "this text")->group("Common");
  command.set_version_flag("--version", std::string("moekit ") + kVersion, "the version")->group("Common");
  const auto add = [&](CLI::Option* option) { option->group("Common")->capture_default_str(); };
  add(command.add_option("--threads", common.threads, "threads; 0: the cores that the process may use")
          ->type_name("N")
          ->check(whole_number(0, 1024)));
  add(command.add_option("--seed", common.seed, "everything random follows from it")
          ->type_name("S")
          ->check(whole_number(0)));
  command.add_flag("-q,--quiet", common.quiet, "no notes, progress or summary")->group("Common");
  command.add_flag("-v,--verbose", common.verbose, "say more")->group("Common");
  add(command.add_option("--color", common.color, "auto (terminals, unless NO_COLOR is set), always, never")
          ->type_name("WHEN")
          ->check(one_of({"auto", "always", "never"})));
}

void add_format(CLI::App& command, FormatArgs& format, const std::string& by_default) {
  const std::string group = "Reading data";
  command
      .add_option("--separator", format.separator,
                  "between fields: a character, or comma, semicolon, tab, pipe (default: " + by_default + ")")
      ->type_name("CHAR")
      ->group(group);
  command
      .add_option(
          "--decimal", format.decimal,
          "decimal mark: . or , (default: " + std::string(by_default == "found" ? "." : by_default) + ")")
      ->type_name("CHAR")
      ->check(one_of({".", ","}))
      ->group(group);
  add_list(command, "--missing", format.missing,
           "texts that mean 'missing' beside empty, NA, NaN, null, ? and . (default: " +
               std::string(by_default == "found" ? "none" : by_default) + ")")
      ->type_name("TOKENS")
      ->group(group);
}

void add_data(CLI::App& command, std::string& data) {
  command
      .add_option("DATA", data,
                  "CSV or TSV, plain, .gz or .zst; - is standard input; or a block file (convert)")
      ->required();
}

void add_reading(CLI::App& command, ReadingArgs& reading, const std::string& by_default) {
  command
      .add_flag("--allow-missing-columns", reading.allow_missing_columns,
                "take an input column that is lacking as missing values")
      ->group("Reading data");
  add_format(command, reading.format, by_default);
}

void add_columns(CLI::App& command, ColumnArgs& columns) {
  add_format(command, columns.format, "found");
  const auto list = [&](const std::string& name, std::vector<std::string>& values, const std::string& text) {
    add_list(command, name, values, text)->type_name("A,B")->group("Reading data");
  };
  list("--categorical", columns.categorical, "columns to read as categories");
  list("--numeric", columns.numeric, "columns to read as numbers");
  list("--drop", columns.drop, "columns to leave out");
  list("--id", columns.id, "columns that name a row: kept for the output, never an input");
  command.add_option("--weights", columns.weights, "column of row weights >= 0 (default: all 1)")
      ->type_name("COLUMN")
      ->group("Reading data");
  command
      .add_option("--offset", columns.offset,
                  "column added to the logarithm of the mean, such as a log exposure (count families, gamma)")
      ->type_name("COLUMN")
      ->group("Reading data");
}

/// A text that parse_basis() takes, and is not one of `but`.
CLI::Validator basis_check(const std::string& but) {
  return CLI::Validator(
      [but](const std::string& text) {
        try {
          if (text == but) return "'" + text + "' is not for this option";
          parse_basis(text);
          return std::string();
        } catch (const Error& e) {
          return std::string(e.what());
        }
      },
      "");
}

/// A basis, or a network.
CLI::Validator expert_check() {
  return CLI::Validator(
      [](const std::string& text) {
        try {
          if (text != "neuron" && !hidden_widths(text)) parse_basis(text);
          return std::string();
        } catch (const Error& e) {
          return std::string(e.what());
        }
      },
      "");
}

CLI::Validator gate_check() {
  return CLI::Validator(
      [](const std::string& text) {
        std::vector<std::string> known = gate_families();
        known.push_back("product-key");
        if (!text.starts_with("mlp:")) return one_of(known)(text);
        try {
          gate_numbers(text, {});
          return std::string();
        } catch (const Error& e) {
          return std::string(e.what());
        }
      },
      "");
}

/// What gate, experts and noise see.
void add_bases(CLI::App& command, FitArgs& args, const std::string& group) {
  const auto add = [&](CLI::Option* option, const std::string& type) {
    return option->type_name(type)->group(group)->capture_default_str();
  };
  add(command.add_option(
          "--expert", args.expert,
          "what an expert makes of its inputs: linear, additive (a piecewise-linear curve an "
          "input, smooth by the evidence), constant, poly:P (powers up to P), mlp:H or "
          "mlp:H1,H2 (a network with hidden layers so wide), neuron (with --gate product-key)"),
      "BASIS")
      ->check(expert_check());
  add(command.add_option("--expert-basis", args.expert_basis,
                         "what networks (--expert mlp:H) see of their inputs: linear, ramps (beside it, how "
                         "far a value has come between neighbouring quantiles), additive, poly:P"),
      "BASIS")
      ->check(basis_check("constant"));
  add(command.add_option("--gate-basis", args.gate_basis,
                         "what the gate sees of its inputs: linear, additive, poly:P"),
      "BASIS")
      ->check(basis_check("constant"));
  add(command.add_option("--noise", args.noise,
                         "what the logarithm of the experts' noise varies with: constant, linear, additive, "
                         "poly:P"),
      "BASIS")
      ->check(basis_check(""));
  add(command.add_option("--bins", args.bins,
                         "pieces of an additive curve, or ramps of an input; 0: by the number of rows"),
      "B")
      ->check(whole_number(0, 1000));
}

void add_fit(CLI::App& command, FitArgs& args) {
  const std::string group = "Model and fit";
  FitOptions& fit = args.fit;
  add_data(command, args.data);
  add_list(command, "--target", args.target, "column to predict; several columns are predicted together")
      ->type_name("A,B")
      ->required()
      ->group(group);
  const auto add = [&](CLI::Option* option, const std::string& type) {
    return option->type_name(type)->group(group);
  };
  add(command.add_option("--task", args.task,
                         "auto (text or two values: classification), regression, classification, count"),
      "TASK")
      ->check(one_of({"auto", "regression", "classification", "count"}))
      ->capture_default_str();
  add(command.add_option("--preset", args.preset,
                         "readable: the defaults below; accurate: an ensemble of mixtures of networks "
                         "(or of additive experts, for counts and several targets), for prediction rather "
                         "than reading; options that are given win"),
      "NAME")
      ->check(one_of({"readable", "accurate"}))
      ->capture_default_str();
  add(command.add_option("--covariance", args.covariance,
                         "several targets: full, or independent within an expert (default: full for gaussian "
                         "experts with constant noise)"),
      "KIND")
      ->check(one_of({"full", "independent"}));
  add(command.add_option("--family", fit.family,
                         "kind of expert: " + join(expert_families(), ", ") + " (default: by task)"),
      "NAME")
      ->check(one_of(expert_families()));
  add_bases(command, args, group);
  add(command.add_option(
          "--gate", fit.gate,
          "kind of gate: " + join(gate_families(), ", ") + ", mlp:H, product-key (of neurons)"),
      "NAME")
      ->check(gate_check())
      ->capture_default_str();
  add(add_list(command, "--gate-columns", args.gate_columns, "inputs that the gate sees (default: all)"),
      "A,B");
  add(add_list(command, "--expert-columns", args.expert_columns,
               "inputs that the experts see (default: all)"),
      "A,B");
  add(command.add_option("--ridge", args.ridge,
                         "auto: by the evidence; 0: exact maximum likelihood; or L, for the penalty "
                         "L |slopes|^2 / 2 on standardised inputs"),
      "auto|L")
      ->check(
          [](const std::string& text) { return text == "auto" ? std::string() : number_at_least(0)(text); })
      ->capture_default_str();
  add(command.add_option("--lasso", fit.lasso,
                         "L1 penalty L sum |slope| on gate and experts, so that they use few columns"),
      "L")
      ->check(number_at_least(0))
      ->capture_default_str();
  add(command.add_option(
          "--ensemble", fit.ensemble,
          "members: one fit to all rows and the others to bootstrap samples (adam, sgd: each leaves out a "
          "part of the rows and stops by it); predictions are the average of their densities"),
      "B")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  add(command.add_option("--restarts", fit.restarts, "starts; the best is kept (adam, sgd: 1 unless given)"),
      "N")
      ->check(whole_number(1, 1000000))
      ->capture_default_str();
  add(command.add_option("--max-iterations", fit.max_iterations, "most EM passes of one start"), "N")
      ->check(whole_number(1, 100000000))
      ->capture_default_str();
  add(command.add_option(
          "--tolerance", fit.tolerance,
          "gain in log-likelihood, a row and pass, at which a fit has converged; 0: by --ridge"),
      "X")
      ->check(number_at_least(0))
      ->capture_default_str();
  add(command.add_option("--init-column", args.init_column,
                         "column with a starting region for each row, then the only start (default: none)"),
      "COLUMN");
  command
      .add_option("--memory", args.memory,
                  "most memory for the rows of the table, such as 512M; a block file that is larger is read "
                  "again in every pass (default: none; block files: 3/4 of the machine's)")
      ->type_name("BYTES")
      ->check(bytes())
      ->group("Reading data");
  add_gradient(command, args);
  add_routing(command, args);
}

bool FitArgs::was_given(std::string_view option) const {
  return std::any_of(given.begin(), given.end(), [&](const auto& set) { return set.first == option; });
}

std::vector<std::pair<std::string, std::string>> given_options(const CLI::App& command) {
  std::vector<std::pair<std::string, std::string>> given;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->nonpositional() || !option->count()) continue;
    const std::string group = option->get_group();
    if (group == "Common" || group == "Output") continue;
    if (option->get_lnames().front() == "memory") continue;  // no option of the model
    given.emplace_back(option->get_lnames().front(), join(option->reduced_results(), ","));
  }
  return given;
}

}  // namespace moekit::cli
