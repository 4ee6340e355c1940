#pragma once
#include "moekit/fit.hpp"

namespace moekit {

/// Refuses options that contradict each other or the data, all problems in one message. Errors: Errc::usage,
/// Errc::data (no rows).
void check_fit(const FitOptions& options, const Schema& schema, const Source& source);

/// The options with what is automatic decided.
FitOptions settled(FitOptions options);

/// Does the method take mini-batches?
inline bool in_batches(Method method) { return method == Method::adam || method == Method::sgd; }

}  // namespace moekit
