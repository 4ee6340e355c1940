#pragma once
#include <cstdint>
#include <string>

#include "json_output.hpp"
#include "moekit/routing.hpp"

namespace moekit::cli {

/// The routing report (docs/formats.md). `first`: number of the first expert, 1 for models of tables, 0 for
/// layers of checkpoints, whose tensors count from 0.
Json routing_json(const RoutingReport& report, std::uint32_t first);

/// The report for people: a bar for each of at most `most` experts (the busiest and the idlest when there are
/// more), then a line each for balance, certainty, dead experts, drops and labels.
std::string routing_text(const RoutingReport& report, std::uint32_t first, std::size_t width,
                         std::size_t most);

}  // namespace moekit::cli
