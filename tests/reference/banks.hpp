#pragma once
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "fit_helpers.hpp"
#include "shapes.hpp"

/// Experts of every family with drawn parameters, and rows that they can have.
namespace moekit::fit_testing {

/// A family as the tests make it: labels of its target, features of its noise.
struct Kind {
  std::string family;
  uword classes = 0, noise = 1;
  FamilyTraits traits() const { return family_traits(family); }
  /// Families with a naive mixture beside them; their M steps are solved exactly or by Newton's method.
  bool plain() const { return noise == 1 && (family == "gaussian" || family == "logistic"); }
  ExpertShape shape(uword experts, uword features) const {
    return expert_shape(experts, features, classes, noise);
  }
};

/// A bank of experts with parameters, and rows for it.
struct Bank {
  std::unique_ptr<ExpertFamily> experts;
  Batch batch;
  mat responsibility;          ///< n x K, positive, not adding up to one: weights are in it
  std::vector<double> offset;  ///< what batch points to
};

inline mat with_intercept(uword n, uword p, Rng rng) {
  mat x = normal_matrix(n, p, rng);
  x.col(0).ones();
  return x;
}

inline void draw_fields(std::vector<Field> fields, Rng rng) {
  for (Field& f : fields) {
    if (f.kind == Field::Kind::fixed) continue;
    for (double& v : f.values)
      v = f.kind == Field::Kind::positive ? f.least + 0.4 + rng.uniform() : 0.5 * rng.normal();
  }
}

/// A target that the family can have, spread more widely than a normal one.
inline double draw_target(const Kind& kind, Rng& rng) {
  if (kind.classes > 0) return static_cast<double>(rng.below(kind.classes));
  const double wide = rng.normal() * std::sqrt(-0.5 * std::log(rng.uniform()));
  if (kind.traits().task == Task::count) return std::floor(3 * std::exp(wide));
  if (kind.traits().log_link) return std::exp(wide);
  return kind.family == "gaussian" ? rng.normal() : 1.5 * wide;
}

inline Bank make_bank(const Kind& kind, uword n, uword p, uword k, std::uint64_t seed) {
  Bank b{make_experts(kind.family, kind.shape(k, p)), {}, mat(n, k), {}};
  for (uword j = 0; j < k; ++j) draw_fields(b.experts->fields(j), Rng(seed, 10 + j));
  Rng rng(seed, 1);
  b.batch.rows = n;
  b.batch.expert = b.batch.gate = with_intercept(n, p, Rng(seed, 2));
  b.batch.noise = with_intercept(n, kind.noise, Rng(seed, 6));
  if (kind.traits().log_link) {
    for (uword i = 0; i < n; ++i) b.offset.push_back(0.3 * rng.normal());
    b.batch.offset = b.offset.data();
  }
  b.batch.target.set_size(n);
  for (double& y : b.batch.target) y = draw_target(kind, rng);
  for (double& r : b.responsibility) r = rng.uniform() < 0.1 ? 0.0 : rng.uniform();
  return b;
}

/// Calls test for every family: those of classes with 2 and with 3, the others with noise that is the same
/// everywhere and, where it can vary, with three features of it.
inline void for_each_family(const std::function<void(const Kind&)>& test) {
  for (const std::string& family : expert_families()) {
    CAPTURE(family);
    const bool classes = family_traits(family).task == Task::classification;
    for (const uword size : {uword{classes ? 2u : 1u}, uword{3}}) {
      CAPTURE(size);
      if (classes)
        test({family, size, 1});
      else if (size == 1 || family_traits(family).noise)
        test({family, 0, size});
    }
  }
}

}  // namespace moekit::fit_testing
