#pragma once
#include <vector>

#include "moekit/matrix.hpp"
#include "moekit/model.hpp"

/// The model of docs/math.md section 1 with plain loops, no blocks and no tricks. Fast code is compared with
/// it.
namespace moekit::naive {

/// p(y | x) = sum_k g_k(x) f_k(y | x), g = softmax(gate' x). Gaussian: f_k = N(y | expert_k' x, noise_k^2).
/// Classes: f_k(c | x) = softmax over (expert_k' x, 0), the last class zero.
struct Parameters {
  mat gate;                 ///< p x K; only differences between columns matter
  std::vector<mat> expert;  ///< K of p x outputs
  vec noise;                ///< K; empty for classes
  uword count() const { return gate.n_cols; }
};

/// n rows; weight empty: all 1.
struct Data {
  mat gate, expert;  ///< features, n x p each
  vec target, weight;
  double weight_of(uword i) const { return weight.is_empty() ? 1.0 : weight[i]; }
};

/// What the public accessors of a mixture say.
Parameters parameters(const Mixture& mixture);

/// ln g_k(x_i).
double log_gate(const Parameters& p, const Data& data, uword i, uword k);
/// ln f_k(y_i | x_i).
double log_density(const Parameters& p, const Data& data, uword i, uword k);
/// sum_i weight_i ln p(y_i | x_i).
double log_likelihood(const Parameters& p, const Data& data);
/// E step: n x K, rows add up to 1.
mat responsibilities(const Parameters& p, const Data& data);
/// Derivative of log_likelihood with respect to every parameter (noise: with respect to ln noise).
Parameters gradient(const Parameters& p, const Data& data);

}  // namespace moekit::naive
