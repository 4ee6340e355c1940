#include "reference/densities.hpp"

#include <boost/math/distributions/gamma.hpp>
#include <boost/math/distributions/laplace.hpp>
#include <boost/math/distributions/negative_binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/poisson.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <cstdlib>

namespace moekit::naive {

namespace {

double dot(const mat& x, uword row, const vec& w) {
  double sum = 0;
  for (uword j = 0; j < x.n_cols; ++j) sum += x(row, j) * w[j];
  return sum;
}

double field_value(ExpertFamily& experts, uword k, std::string_view name, double otherwise) {
  for (const Field& f : experts.fields(k))
    if (f.name == name) return f.values[0];
  return otherwise;
}

template <class D>
Distribution all_of(const D& d, double y) {
  return {std::log(pdf(d, y)), cdf(d, y), boost::math::mean(d), boost::math::standard_deviation(d)};
}

/// ln probability of the row's class: logits of all classes but the last, which has zero.
double log_class(const ExpertFamily& experts, const Batch& batch, uword i, uword k) {
  const mat w = experts.coefficients(k);
  double total = 1, own = 0;
  for (uword c = 0; c < w.n_cols; ++c) {
    const double logit = dot(batch.expert, i, w.col(c));
    total += std::exp(logit);
    if (static_cast<double>(c) == batch.target[i]) own = logit;
  }
  return own - std::log(total);
}

}  // namespace

Place place(ExpertFamily& experts, const Batch& batch, uword i, uword k) {
  Place at;
  at.location = dot(batch.expert, i, vec(experts.coefficients(k)));
  if (batch.offset && family_traits(experts.name()).log_link) at.location += batch.offset[i];
  const vec noise = experts.noise_coefficients(k);
  const double floor = field_value(experts, 0, "scale_floor", 0);
  if (!noise.is_empty()) at.scale = std::hypot(std::exp(dot(batch.noise, i, noise)), floor);
  at.shape = field_value(experts, k, "shape", 1);
  return at;
}

Distribution distribution(std::string_view family, const Place& at, double y) {
  using namespace boost::math;
  const double mean = std::exp(at.location);
  if (family == "gaussian") return all_of(normal(at.location, at.scale), y);
  if (family == "laplace") return all_of(laplace_distribution<>(at.location, at.scale), y);
  if (family == "student-t") {
    Distribution d = all_of(students_t(at.shape), (y - at.location) / at.scale);
    d.log_density -= std::log(at.scale);
    return {d.log_density, d.cumulative, at.location, d.sd * at.scale};
  }
  if (family == "gamma") {
    const double shape = 1 / (at.scale * at.scale);
    return all_of(gamma_distribution<>(shape, mean / shape), y);
  }
  if (family == "poisson") return all_of(boost::math::poisson(mean), y);
  if (family == "negative-binomial") {
    const double size = 1 / at.scale;
    return all_of(negative_binomial(size, size / (size + mean)), y);
  }
  std::abort();
}

mat log_densities(ExpertFamily& experts, const Batch& batch) {
  mat out(batch.rows, experts.count());
  for (uword k = 0; k < experts.count(); ++k)
    for (uword i = 0; i < batch.rows; ++i)
      out(i, k) =
          experts.classes() > 0
              ? log_class(experts, batch, i, k)
              : distribution(experts.name(), place(experts, batch, i, k), batch.target[i]).log_density;
  return out;
}

}  // namespace moekit::naive
