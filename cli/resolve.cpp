// From the texts of options to what the library takes; without CLI11, which is slow to compile.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "moekit/block_file.hpp"
#include "moekit/error.hpp"
#include "options.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

char separator_of(const std::string& text) {
  if (text == "comma") return ',';
  if (text == "semicolon") return ';';
  if (text == "tab" || text == "\\t") return '\t';
  if (text == "pipe") return '|';
  const auto letter_or_digit = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  if (text.size() == 1 && !letter_or_digit(text[0]) &&
      std::string("\"\n\r.-+").find(text[0]) == std::string::npos)
    return text[0];
  throw Error(Errc::usage,
              "--separator: '" + text +
                  "' can't separate fields; give one character, or comma, semicolon, tab or pipe");
}

std::vector<std::string> input_names(const Schema& schema) {
  std::vector<std::string> names;
  for (const Column& column : schema.inputs) names.push_back(column.name);
  return names;
}

/// The inputs that a list option names; a name that is none is refused with the nearest one.
std::vector<std::string> input_list(const std::string& option, const std::vector<std::string>& texts,
                                    const Schema& schema) {
  const std::vector<std::string> known = input_names(schema);
  const std::vector<std::string> names = names_in(texts, known);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest_name(name, known);
    throw Error(Errc::usage, option + ": no input column '" + name + "'; " +
                                 (near.empty() ? "" : "did you mean '" + near + "'? ") +
                                 "inputs are: " + shorten(join(known, ", "), 200));
  }
  return names;
}

/// Whether the header of a file holds this very name. Whatever is wrong with the file is for its reader to
/// say.
bool has_column(const std::string& path, const CsvFormat& format, const std::string& name) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) return false;  // reading a pipe would use it up
  try {
    RowOptions options;
    options.format = format;
    options.id = {name};
    const RowReader reader(path, Schema{}, options);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::vector<std::string> cut(const std::vector<std::string>& texts) { return names_in(texts, {}); }

}  // namespace

std::vector<std::string> names_in(const std::vector<std::string>& texts,
                                  const std::vector<std::string>& known) {
  std::vector<std::string> names;
  for (const std::string& text : texts) {
    if (std::find(known.begin(), known.end(), text) != known.end()) {
      names.push_back(text);
      continue;
    }
    for (std::string& piece : split_commas(text)) names.push_back(std::move(piece));
  }
  return names;
}

std::vector<std::string> column_names(const std::vector<std::string>& texts, const std::string& path,
                                      const CsvFormat& format) {
  std::vector<std::string> known;
  for (const std::string& text : texts)
    if (text.find(',') != std::string::npos && has_column(path, format, text)) known.push_back(text);
  return names_in(texts, known);
}

CsvFormat csv_format(const FormatArgs& args) {
  CsvFormat format;
  if (!args.separator.empty()) format.separator = separator_of(args.separator);
  if (!args.decimal.empty()) format.decimal = args.decimal[0];
  format.missing = cut(args.missing);
  if (format.separator && format.separator == format.decimal)
    throw Error(Errc::usage, "--separator and --decimal are both '" + std::string(1, format.decimal) +
                                 "'; fields separated by commas need --decimal .");
  return format;
}

std::optional<CsvFormat> format_for(const FormatArgs& args, const CsvFormat& of_model) {
  if (args.separator.empty() && args.decimal.empty() && args.missing.empty()) return std::nullopt;
  const CsvFormat given = csv_format(args);
  CsvFormat format = of_model;
  format.separator = given.separator;  // none: found in this file, which need not be like the training file
  if (!args.decimal.empty()) format.decimal = given.decimal;
  if (!args.missing.empty()) format.missing = given.missing;
  return format;
}

RowOptions row_options(const ReadingArgs& args, const Model& model) {
  RowOptions options;
  options.allow_missing_columns = args.allow_missing_columns;
  options.format = format_for(args.format, model.schema.format);
  options.positive_target = family_traits(model.family).positive;
  return options;
}

std::uint64_t memory_for_rows(const std::string& memory, const std::string& path) {
  if (!memory.empty() || !is_block_file(path)) return parse_bytes(memory);
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / 4 * 3;
}

ReadOptions read_options(const FitArgs& args) {
  ReadOptions options;
  options.format = csv_format(args.columns.format);
  const std::vector<std::string> targets = column_names(args.target, args.data, options.format);
  if (targets.empty() || targets.front().empty())
    throw Error(Errc::usage, "--target: the name is empty; name the column to predict");
  options.target = targets.front();
  options.further_targets.assign(targets.begin() + 1, targets.end());
  if (args.task == "regression") options.task = Task::regression;
  if (args.task == "classification") options.task = Task::classification;
  const bool counts = !args.fit.family.empty() && family_traits(args.fit.family).task == Task::count;
  if (args.task == "count" || (args.task == "auto" && counts)) options.task = Task::count;
  const auto list = [&](const std::vector<std::string>& texts) {
    return column_names(texts, args.data, options.format);
  };
  options.categorical = list(args.columns.categorical);
  options.numeric = list(args.columns.numeric);
  options.drop = list(args.columns.drop);
  options.id = list(args.columns.id);
  options.weights = args.columns.weights;
  options.offset = args.columns.offset;
  options.memory = memory_for_rows(args.memory, args.data);
  if (!args.init_column.empty()) options.carry.push_back(args.init_column);
  return options;
}

std::optional<std::vector<uword>> hidden_widths(const std::string& expert) {
  if (!expert.starts_with("mlp:")) return std::nullopt;
  return parse_widths(expert.substr(4), "--expert");
}

namespace {

Balance balance_of(const std::string& name) {
  const std::vector<std::string> known{"bias", "switch", "importance", "load", "none"};
  const std::string wrong = one_of(known)(name);
  if (!wrong.empty()) throw Error(Errc::usage, "--balance: " + wrong);
  if (name == "bias") return Balance::bias;
  if (name == "switch") return Balance::switching;
  if (name == "importance") return Balance::importance;
  return name == "load" ? Balance::load : Balance::none;
}

/// Method, loss and routing.
void take_gradient(const FitArgs& args, FitOptions& fit) {
  const auto place = [](const std::string& name, std::initializer_list<const char*> all) {
    return std::find(all.begin(), all.end(), name) - all.begin();
  };
  fit.method = static_cast<Method>(place(args.method, {"em", "lbfgs", "adam", "sgd"}));
  fit.gradient.loss = static_cast<Loss>(place(args.loss, {"likelihood", "competitive", "cooperative"}));
  fit.gradient.cosine = args.schedule == "cosine";
  fit.gate_score = static_cast<RoutingRule::Score>(place(args.gate_score, {"softmax", "sigmoid", "hash"}));
  const std::vector<std::string> balance = cut(args.balance);
  if (!balance.empty()) fit.gradient.balance.clear();
  for (const std::string& name : balance) fit.gradient.balance.push_back(balance_of(name));
  const bool in_batches = fit.method == Method::adam || fit.method == Method::sgd;
  if (in_batches && !args.was_given("restarts")) fit.restarts = 1;
}

}  // namespace

FitOptions fit_options(const FitArgs& asked, const Common& common, const Schema& schema) {
  const FitArgs args = with_preset(asked, schema);
  FitOptions fit = args.fit;
  fit.seed = common.seed;
  fit.gate_columns = input_list("--gate-columns", args.gate_columns, schema);
  fit.expert_columns = input_list("--expert-columns", args.expert_columns, schema);
  // fit() would say the same, but a dry run does not get there.
  if (const auto hidden = hidden_widths(args.expert)) {
    fit.hidden = *hidden;
    fit.expert_basis = parse_basis(args.expert_basis);
  } else if (args.expert != "neuron")
    fit.expert_basis = parse_basis(args.expert);
  fit.gate_basis = parse_basis(args.gate_basis);
  fit.noise_basis = parse_basis(args.noise);
  if (!args.covariance.empty()) fit.full_covariance = args.covariance == "full";
  fit.expert_basis.bins = fit.gate_basis.bins = fit.noise_basis.bins = args.bins;
  take_gradient(args, fit);
  const bool neurons = fit.gate == "product-key";
  if (neurons && args.expert != "neuron" && args.expert != "linear")
    throw Error(Errc::usage, "--gate product-key has single neurons as experts; leave --expert out");
  if (!neurons && args.expert == "neuron")
    throw Error(Errc::usage, "--expert neuron needs --gate product-key");
  check_family(fit, schema);
  if (args.ridge != "auto") {
    parse_number(args.ridge, fit.ridge);
    fit.ridge_mode = fit.ridge > 0 ? Penalty::Mode::fixed : Penalty::Mode::none;
  }
  return fit;
}

std::vector<uword> whole_numbers(const std::string& option, const std::vector<std::string>& texts) {
  std::vector<uword> numbers;
  for (const std::string& piece : cut(texts)) {
    const std::string wrong = whole_number(1, kMostExperts)(piece);
    if (!wrong.empty()) throw Error(Errc::usage, option + ": " + wrong);
    uword value = 0;
    std::from_chars(piece.data(), piece.data() + piece.size(), value);
    numbers.push_back(value);
  }
  return numbers;
}

std::vector<double> probabilities(const std::string& option, const std::vector<std::string>& texts) {
  std::vector<double> numbers;
  for (const std::string& piece : cut(texts)) {
    const std::string wrong = number_between(0, 1)(piece);
    if (!wrong.empty()) throw Error(Errc::usage, option + ": " + wrong);
    double value = 0;
    parse_number(piece, value);
    numbers.push_back(value);
  }
  return numbers;
}

}  // namespace moekit::cli
