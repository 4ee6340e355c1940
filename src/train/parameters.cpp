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
      v = f.kind == Field::Kind::positive ? std::max(std::exp(values[i]), f.least) : values[i];
      ++i;
    }
  }
}

vec least_parameters(Mixture& m) {
  std::vector<double> all;
  for (const Field& f : m.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    const bool bounded = f.kind == Field::Kind::positive && f.least > 0;
    all.insert(all.end(), f.values.size(), bounded ? std::log(f.least) : -arma::datum::inf);
  }
  return vec(all);
}

uword gate_parameters(Mixture& m) {
  uword size = 0;
  for (const Field& f : m.gate->fields())
    if (f.kind != Field::Kind::fixed) size += f.values.size();
  return size;
}

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
