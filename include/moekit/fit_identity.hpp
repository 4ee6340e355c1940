#pragma once
#include "moekit/fit.hpp"

namespace moekit {

/// Everything that a fit's result depends on, by the names of the command line, for its checkpoint.
std::vector<std::pair<std::string, std::string>> fit_identity(const FitOptions& options, const Schema& schema,
                                                              const Source& source, std::uint64_t fingerprint,
                                                              const Compute& compute);

}  // namespace moekit
