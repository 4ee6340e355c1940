#include "train/parameters.hpp"

#include <algorithm>
#include <cmath>

namespace moekit::train {

vec moving_parameters(Mixture& m) {
  std::vector<double> all;
  for (const Field& f : m.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    for (const double v : f.values) all.push_back(f.kind == Field::Kind::positive ? std::log(v) : v);
  }
  return vec(all);
}

void set_moving_parameters(Mixture& m, const vec& values) {
  uword i = 0;
  for (const Field& f : m.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    for (double& v : f.values) {
      v = f.kind == Field::Kind::positive ? std::clamp(std::exp(values[i]), f.least, f.most) : values[i];
      ++i;
    }
  }
}

Bounds bounds_of_parameters(Mixture& m) {
  std::vector<double> least, most;
  for (const Field& f : m.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    const bool positive = f.kind == Field::Kind::positive;
    least.insert(least.end(), f.values.size(), positive ? std::log(f.least) : -arma::datum::inf);
    most.insert(most.end(), f.values.size(), positive ? std::log(f.most) : arma::datum::inf);
  }
  return {vec(least), vec(most)};
}

uword gate_parameters(Mixture& m) { return moving_size(m.gate->fields()); }

void copy_penalties(Mixture& from, Mixture& to) {
  const std::vector<Field> a = from.fields(), b = to.fields();
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].kind == Field::Kind::fixed)
      std::copy(a[i].values.begin(), a[i].values.end(), b[i].values.begin());
}

void set_penalty(Mixture& m, const Penalty& penalty) {
  m.gate->set_penalty(penalty);
  m.experts->set_penalty(penalty);
}

double log_prior(const Mixture& m) { return m.gate->log_prior() + m.experts->log_prior(); }

void add_prior_gradient(const Mixture& m, uword gate, std::span<double> gradient) {
  m.gate->add_prior_gradient(gradient.first(gate));
  m.experts->add_prior_gradient(gradient.subspan(gate));
}

}  // namespace moekit::train
