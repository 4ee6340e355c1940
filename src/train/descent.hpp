#pragma once
#include "moekit/fit.hpp"
#include "train/em.hpp"

namespace moekit::train {

/// Adam or stochastic gradient descent with momentum from the mixture's parameters, on mini-batches in an
/// order that the seed determines; the result does not depend on threads. The objective is the log-likelihood
/// (or minus another loss) and the log prior, an update taking a batch's share of both. With validation rows
/// the parameters of the best epoch are kept, and the fit stops when none was better for a while. Passes are
/// epochs. `unit`: goes on where it was interrupted, also within an epoch.
EmResult run_descent(Mixture& mixture, const Schema& schema, const Source& source, const FitOptions& options,
                     const Penalty& penalty, const Compute& compute, const Watch& watch = {}, Unit unit = {});

}  // namespace moekit::train
