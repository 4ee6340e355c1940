#include "reference/naive_mixture.hpp"

#include <cmath>

namespace moekit::naive {

namespace {

double log_sum_exp(const std::vector<double>& v) {
  double top = v[0];
  for (const double x : v) top = std::max(top, x);
  double sum = 0;
  for (const double x : v) sum += std::exp(x - top);
  return top + std::log(sum);
}

double dot(const mat& x, uword row, const mat& w, uword column) {
  double sum = 0;
  for (uword j = 0; j < x.n_cols; ++j) sum += x(row, j) * w(j, column);
  return sum;
}

/// ln probability of every class under expert k.
std::vector<double> log_classes(const Parameters& p, const Data& data, uword i, uword k) {
  std::vector<double> logit;
  for (uword c = 0; c < p.expert[k].n_cols; ++c) logit.push_back(dot(data.expert, i, p.expert[k], c));
  logit.push_back(0);
  const double total = log_sum_exp(logit);
  for (double& v : logit) v -= total;
  return logit;
}

std::vector<double> log_joint(const Parameters& p, const Data& data, uword i) {
  std::vector<double> joint;
  for (uword k = 0; k < p.count(); ++k) joint.push_back(log_gate(p, data, i, k) + log_density(p, data, i, k));
  return joint;
}

}  // namespace

Parameters parameters(const Mixture& mixture) {
  Parameters p;
  p.gate = mixture.gate->coefficients();
  for (uword k = 0; k < mixture.count(); ++k) p.expert.push_back(mixture.experts->coefficients(k));
  if (mixture.experts->classes() > 0) return p;
  p.noise.set_size(mixture.count());
  for (uword k = 0; k < mixture.count(); ++k) p.noise[k] = mixture.experts->noise(k);
  return p;
}

double log_gate(const Parameters& p, const Data& data, uword i, uword k) {
  std::vector<double> logit;
  for (uword j = 0; j < p.count(); ++j) logit.push_back(dot(data.gate, i, p.gate, j));
  return logit[k] - log_sum_exp(logit);
}

double log_density(const Parameters& p, const Data& data, uword i, uword k) {
  if (p.noise.is_empty()) return log_classes(p, data, i, k)[static_cast<uword>(data.target[i])];
  const double z = (data.target[i] - dot(data.expert, i, p.expert[k], 0)) / p.noise[k];
  return -0.5 * z * z - std::log(p.noise[k]) - 0.5 * std::log(2 * M_PI);
}

double log_likelihood(const Parameters& p, const Data& data) {
  double sum = 0;
  for (uword i = 0; i < data.target.n_elem; ++i)
    sum += data.weight_of(i) * log_sum_exp(log_joint(p, data, i));
  return sum;
}

mat responsibilities(const Parameters& p, const Data& data) {
  mat r(data.target.n_elem, p.count());
  for (uword i = 0; i < r.n_rows; ++i) {
    const std::vector<double> joint = log_joint(p, data, i);
    const double total = log_sum_exp(joint);
    for (uword k = 0; k < r.n_cols; ++k) r(i, k) = std::exp(joint[k] - total);
  }
  return r;
}

Parameters gradient(const Parameters& p, const Data& data) {
  Parameters g = p;
  g.gate.zeros();
  g.noise.zeros();
  for (mat& e : g.expert) e.zeros();
  const mat r = responsibilities(p, data);
  for (uword i = 0; i < r.n_rows; ++i)
    for (uword k = 0; k < p.count(); ++k) {
      const double w = data.weight_of(i), own = w * r(i, k);
      const double pull = own - w * std::exp(log_gate(p, data, i, k));
      for (uword j = 0; j < p.gate.n_rows; ++j) g.gate(j, k) += pull * data.gate(i, j);
      for (uword c = 0; c < p.expert[k].n_cols; ++c) {
        double score;
        if (p.noise.is_empty()) {
          score = (data.target[i] == static_cast<double>(c)) - std::exp(log_classes(p, data, i, k)[c]);
        } else {
          const double z = (data.target[i] - dot(data.expert, i, p.expert[k], 0)) / p.noise[k];
          score = z / p.noise[k];
          g.noise[k] += own * (z * z - 1);
        }
        for (uword j = 0; j < p.expert[k].n_rows; ++j) g.expert[k](j, c) += own * score * data.expert(i, j);
      }
    }
  return g;
}

}  // namespace moekit::naive
