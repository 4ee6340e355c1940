#include "checks.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "moekit/error.hpp"
#include "text.hpp"

namespace moekit::cli {

bool parse_number(const std::string& text, double& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stop == end && std::isfinite(value);
}

Check whole_number(std::uint64_t least, std::uint64_t most) {
  return [=](const std::string& text) -> std::string {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc{} && stop == end && value >= least && value <= most) return {};
    const std::string range = most == UINT64_MAX
                                  ? "of at least " + std::to_string(least)
                                  : "from " + std::to_string(least) + " to " + std::to_string(most);
    return "'" + text + "' is not a whole number " + range;
  };
}

Check number_of_experts() {
  return [](const std::string& text) -> std::string {
    if (text == "auto" || whole_number(1, kMostExperts)(text).empty()) return {};
    return "'" + text + "' is neither a whole number from 1 to " + std::to_string(kMostExperts) + " nor auto";
  };
}

Check number_at_least(double least) {
  return [=](const std::string& text) -> std::string {
    double value = 0;
    if (parse_number(text, value) && value >= least) return {};
    return "'" + text + "' is not a number of at least " + shortest(least);
  };
}

Check number_above_zero() {
  return [](const std::string& text) -> std::string {
    double value = 0;
    if (parse_number(text, value) && value > 0) return {};
    return "'" + text + "' is not a number above 0";
  };
}

Check number_between(double least, double most) {
  return [=](const std::string& text) -> std::string {
    double value = 0;
    if (parse_number(text, value) && value > least && value < most) return {};
    return "'" + text + "' is not a number between " + shortest(least) + " and " + shortest(most);
  };
}

Check one_of(std::vector<std::string> known) {
  return [known = std::move(known)](const std::string& text) -> std::string {
    if (std::find(known.begin(), known.end(), text) != known.end()) return {};
    const std::string near = nearest_name(text, known);
    return "'" + text + "' is not known; " + (near.empty() ? "" : "did you mean '" + near + "'? ") +
           "known: " + join(known, ", ");
  };
}

std::uint64_t parse_bytes(const std::string& text) {
  double factor = 1;
  std::string number = text;
  if (!number.empty()) {
    const std::size_t unit = std::string("KMGT").find(number.back());
    if (unit != std::string::npos) {
      factor = std::pow(1024.0, static_cast<double>(unit + 1));
      number.pop_back();
    }
  }
  double value = 0;
  if (!parse_number(number, value) || !(value * factor >= 1) || value * factor > 1e18) return 0;
  return static_cast<std::uint64_t>(value * factor);
}

Check bytes() {
  return [](const std::string& text) {
    return parse_bytes(text) > 0 ? std::string()
                                 : "'" + text + "' is not a number of bytes such as 512M or 2G";
  };
}

}  // namespace moekit::cli
