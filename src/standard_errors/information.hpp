#pragma once
#include "standard_errors/moving.hpp"

namespace moekit::errors {

/// What the rows say about the moving parameters at their values. P x P each, weighted.
struct Information {
  mat observed;  ///< minus the second derivative of the log-likelihood
  mat squares;   ///< sum over rows of w^2 s s', s the row's score
  vec score;     ///< sum over rows of w s
};

/// Louis 1982: for one row, with complete-data scores s_k of ln g_k f_k and responsibilities r_k,
///   s = sum_k r_k s_k,   observed = -sum_k r_k d s_k - (sum_k r_k s_k s_k' - s s').
/// The d s_k come from central differences of scores(): an expert's depend on its own parameters only, the
/// gate's on the gate's, so that all are moved at the same time. `kink`: the density of the experts has no
/// second derivative; then sum_k r_k s_k s_k' stands for that of their own blocks, equal to it in
/// expectation.
Information information(const Mixture& mixture, const Moving& moving, const Schema& schema,
                        const Source& source, bool kink, const Compute& compute);

/// Minus the second derivative of the log prior of gate and experts, penalties as they are, the vectors that
/// slopes are drawn to integrated out. Parameters where it has a kink (an L1 penalty holds them at zero) are
/// marked in `held`; those that are at their bounds must be already.
mat prior_curvature(const Mixture& mixture, const Moving& moving, std::vector<bool>& held);

}  // namespace moekit::errors
