#pragma once
#include <optional>
#include <utility>

#include "moekit/model.hpp"

namespace moekit {

/// Two experts with the same parameters but for rounding, which say of every row what one would: the first
/// such pair, 0-based. EM does not leave such a place, though the likelihood rises beside it.
std::optional<std::pair<uword, uword>> same_experts(const Mixture& mixture);

}  // namespace moekit
