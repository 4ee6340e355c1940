#include "standard_errors/moving.hpp"

#include <cmath>

#include "train/parameters.hpp"

namespace moekit::errors {

namespace {

/// So near its least value a parameter would be stopped there by the steps that differences take.
constexpr double kAtBound = 1.001;

}  // namespace

Moving::Moving(Mixture mixture) {
  std::vector<double> all;
  const auto add = [&](const std::vector<Field>& fields) {
    const uword begin = all.size();
    for (const Field& f : fields) {
      if (f.kind == Field::Kind::fixed) continue;
      const bool positive = f.kind == Field::Kind::positive;
      for (const double v : f.values) {
        all.push_back(positive ? std::log(v) : v);
        at_bound_.push_back(positive && v <= kAtBound * f.least);
      }
    }
    parts_.push_back({begin, all.size() - begin});
  };
  add(mixture.gate->fields());
  for (uword k = 0; k < mixture.count(); ++k) add(mixture.experts->fields(k));
  values_ = vec(all);
}

void Moving::set(Mixture& mixture, const vec& values) { train::set_moving_parameters(mixture, values); }

}  // namespace moekit::errors
