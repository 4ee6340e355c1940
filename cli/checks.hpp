#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moekit::cli {

/// Looks at the text of an option's value: empty when fine, else what is wrong. CLI11 puts "--option: "
/// before.
using Check = std::function<std::string(const std::string&)>;

/// Neurons behind product keys; other experts are far fewer.
inline constexpr std::uint64_t kMostExperts = std::uint64_t{1} << 24;

/// A whole number from 1, or auto.
Check number_of_experts();
Check whole_number(std::uint64_t least, std::uint64_t most = UINT64_MAX);
Check number_at_least(double least);
Check number_above_zero();
/// least < value < most.
Check number_between(double least, double most);
/// The known texts are listed, the nearest is suggested.
Check one_of(std::vector<std::string> known);

/// A number of bytes: 800000000, 64K, 512M, 1.5G.
Check bytes();

/// A whole text as a finite number; false when it is not one.
bool parse_number(const std::string& text, double& value);
/// A text that bytes() takes, as a number; 0 for another one.
std::uint64_t parse_bytes(const std::string& text);

}  // namespace moekit::cli
