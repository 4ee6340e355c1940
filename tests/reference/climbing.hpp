#pragma once
#include <cmath>
#include <functional>
#include <vector>

#include "moekit/experts.hpp"
#include "moekit/rng.hpp"

/// Tops of objectives, seen from outside: by differences, by steps in random directions, by updates.
namespace moekit::naive {

/// Greatest derivative of `objective` with respect to the moving parameters (positive ones: their logarithm),
/// by central differences.
inline double steepest(const std::vector<Field>& fields, const std::function<double()>& objective) {
  double worst = 0;
  for (const Field& f : fields) {
    if (f.kind == Field::Kind::fixed) continue;
    for (double& v : f.values) {
      const double at = v, h = 1e-5;
      const auto moved = [&](double by) {
        return f.kind == Field::Kind::positive ? at * std::exp(by) : at + by;
      };
      v = moved(h);
      const double up = objective();
      v = moved(-h);
      const double down = objective();
      v = at;
      worst = std::max(worst, std::abs(up - down) / (2 * h));
    }
  }
  return worst;
}

inline std::vector<double> moving(const std::vector<Field>& fields) {
  std::vector<double> all;
  for (const Field& f : fields)
    if (f.kind != Field::Kind::fixed)
      for (const double v : f.values) all.push_back(f.kind == Field::Kind::positive ? std::log(v) : v);
  return all;
}

/// Sets the moving parameters to from + share (to - from).
inline void set_between(const std::vector<Field>& fields, const std::vector<double>& from,
                        const std::vector<double>& to, double share) {
  std::size_t i = 0;
  for (const Field& f : fields)
    if (f.kind != Field::Kind::fixed)
      for (double& v : f.values) {
        v = from[i] + share * (to[i] - from[i]);
        if (f.kind == Field::Kind::positive) v = std::exp(v);
        ++i;
      }
}

/// How much more than it is the objective can be a small step away, in random directions: where it has a
/// kink there are no derivatives.
inline double highest_nearby(const std::vector<Field>& fields, const std::function<double()>& objective) {
  const double at = objective();
  const std::vector<double> here = moving(fields);
  double most = -arma::datum::inf;
  Rng rng(1, 0x6b696e6b);
  for (int trial = 0; trial < 300; ++trial) {
    std::vector<double> there = here;
    const double size = 0.3 * std::pow(10.0, -static_cast<double>(trial % 5));
    for (double& v : there) v += size * rng.normal() / std::sqrt(static_cast<double>(here.size()));
    set_between(fields, here, there, 1);
    most = std::max(most, objective() - at);
  }
  set_between(fields, here, here, 0);
  return most;
}

/// One update, halved until the objective does not fall, as EM does. False if 12 halvings do not help.
inline bool damped(const std::vector<Field>& fields, const std::function<void()>& update,
                   const std::function<double()>& objective) {
  const double before = objective();
  const std::vector<double> from = moving(fields);
  update();
  const std::vector<double> to = moving(fields);
  double share = 1;
  for (int halving = 0; halving <= 12; ++halving, share /= 2) {
    set_between(fields, from, to, share);
    if (objective() >= before - 1e-10 * (1 + std::abs(before))) return true;
  }
  return false;
}

}  // namespace moekit::naive
