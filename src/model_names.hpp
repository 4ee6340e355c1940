#pragma once
#include <string_view>

#include "moekit/model.hpp"

namespace moekit {

// Words of a model file, for both directions.
inline constexpr std::string_view kTermKinds[] = {"intercept", "numeric", "missing", "level",
                                                  "power",     "hinge",   "ramp"};
inline constexpr std::string_view kColumnKinds[] = {"numeric", "categorical"};
inline constexpr std::string_view kTasks[] = {"regression", "classification", "count"};
inline constexpr std::string_view kGateScores[] = {"softmax", "sigmoid", "hash"};
inline constexpr std::string_view kErrorKinds[] = {"none", "information", "sandwich", "bootstrap"};

/// The numbers of Provenance by name, for both directions.
struct NamedNumber {
  const char* name;
  double Provenance::*value;
};
inline constexpr NamedNumber kProvenanceNumbers[] = {
    {"log_likelihood", &Provenance::log_likelihood},
    {"parameters", &Provenance::parameters},
    {"effective_parameters", &Provenance::effective_parameters},
    {"aic", &Provenance::aic},
    {"bic", &Provenance::bic},
    {"icl", &Provenance::icl},
    {"single_log_likelihood", &Provenance::single_log_likelihood},
};

}  // namespace moekit
