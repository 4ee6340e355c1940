#include <CLI/CLI.hpp>
#include <algorithm>

#include "app.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kTextColumn = 26;

/// "  -o, --output FILE       what it is (default: x)", broken at 80 columns.
std::string entry(const std::string& names, const std::string& text) {
  std::string line = "  " + names;
  if (display_width(line) + 2 > kTextColumn) {
    line += "\n" + std::string(kTextColumn, ' ');
  } else {
    line += std::string(kTextColumn - display_width(line), ' ');
  }
  return line + wrapped(text, kWidth, kTextColumn, kTextColumn) + "\n";
}

std::string option_names(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) names += "-" + name + ", ";
  for (const std::string& name : option.get_lnames()) names += "--" + name + ", ";
  if (names.size() >= 2) names.resize(names.size() - 2);
  const bool takes_value = option.get_items_expected_max() > 0;
  return takes_value && !option.get_type_name().empty() ? names + " " + option.get_type_name() : names;
}

std::string option_text(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty()) text += " (default: " + option.get_default_str() + ")";
  return text;
}

}  // namespace

std::string help_text(const CLI::App& command) {
  std::string usage = display_name(command);
  std::string positionals;
  std::vector<std::string> groups;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional()) {
      usage += " " + option->get_name(true, false);
      positionals += entry(option->get_name(true, false), option->get_description());
    } else if (std::find(groups.begin(), groups.end(), option->get_group()) == groups.end()) {
      groups.push_back(option->get_group());
    }
  }
  for (const CLI::Option* option : command.get_options())
    if (!option->get_positional() && option->get_required()) usage += " " + option_names(*option);
  const auto commands = command.get_subcommands([](const CLI::App*) { return true; });
  usage += commands.empty() ? " [options]" : " COMMAND [options]";

  std::string text = wrapped(command.get_description(), kWidth, 0, 0) + "\n\nusage: " + usage + "\n";
  if (!positionals.empty()) text += "\n" + positionals;
  if (!commands.empty()) text += "\nCommands:\n";
  for (const CLI::App* sub : commands) text += entry(sub->get_name(), sub->get_description());
  // The common options were added first, for all commands alike, but are read last.
  std::stable_partition(groups.begin(), groups.end(), [](const std::string& g) { return g != "Common"; });
  for (const std::string& group : groups) {
    text += "\n" + (group == "Common" ? "Common options" : group) + ":\n";
    for (const CLI::Option* option : command.get_options())
      if (!option->get_positional() && option->get_group() == group)
        text += entry(option_names(*option), option_text(*option));
  }
  return text + command.get_footer();
}

}  // namespace moekit::cli
