#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "moekit/fit.hpp"

namespace moekit {

std::string_view error_kind_name(ErrorKind kind);

/// What `--standard-errors` says.
struct ErrorChoice {
  ErrorKind kind = ErrorKind::information;
  bool automatic = true;  ///< the information if it is affordable, else none
  int replicates = 200;   ///< of the bootstrap
};
/// "auto", "none", "information", "sandwich", "bootstrap", "bootstrap:B". Errors: Errc::usage.
ErrorChoice parse_error_choice(std::string_view text);

/// Would the information of a model on so many rows take no longer than a few seconds?
bool information_affordable(const Model& model, std::uint64_t rows);

struct ErrorReport {
  StandardErrors errors;
  std::vector<std::string> notes;  ///< what is not identified and why, one line each
};

/// Standard errors of coefficients(model), first member, for a model just as fit() returned it (a model file
/// does not hold what log priors need) and the rows it was fitted to.
///
/// information: the inverse of the observed information of the whole log-likelihood, gate and experts
/// together (Louis 1982). With penalties their curvature is added: posterior standard deviations given the
/// penalties (Laplace's approximation). sandwich: the same inverse on both sides of the sum of squared scores
/// (Huber 1967, White 1982), which holds when the noise is not what the family says. bootstrap: the spread of
/// refits to resampled rows (Efron 1979), begun at the fitted parameters with the options of the fit, experts
/// matched by their responsibilities. `fit`: needed by the bootstrap only. `on_iteration`: its progress; may
/// stop it.
ErrorReport standard_errors(const Model& model, const Source& source, const ErrorChoice& choice,
                            const FitOptions& fit, const Compute& compute = {},
                            const OnIteration& on_iteration = {});

}  // namespace moekit
