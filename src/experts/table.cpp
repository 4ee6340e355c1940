#include <algorithm>
#include <cmath>

#include "experts/families.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

struct Row {
  std::string_view name;
  FamilyTraits traits;
  std::unique_ptr<ExpertFamily> (*make)(const ExpertShape& shape);
};
constexpr Row kFamilies[] = {
    {"gaussian", {Task::regression, true, false}, make_gaussian},
    {"student-t", {.task = Task::regression, .noise = true, .heavy_tails = true}, make_student_t},
    {"laplace", {Task::regression, true, false, true}, make_laplace},
    {"gamma", {.task = Task::regression, .noise = true, .log_link = true, .positive = true}, make_gamma},
    {"logistic", {Task::classification, false, false}, make_logistic},
    {"poisson", {Task::count, false, true}, make_poisson},
    {"negative-binomial", {Task::count, true, true}, make_negative_binomial},
};

const Row& row_of(std::string_view family) {
  for (const Row& row : kFamilies)
    if (row.name == family) return row;
  std::string known;
  for (const Row& row : kFamilies) known += (known.empty() ? "" : ", ") + std::string(row.name);
  throw Error(Errc::usage, "there is no expert family '" + std::string(family) + "'; known: " + known);
}

}  // namespace

std::unique_ptr<ExpertFamily> make_experts(std::string_view family, const ExpertShape& shape) {
  if (shape.neurons.count > 0) return make_neurons(family, shape);
  if (!shape.hidden.empty()) return make_mlp(family, shape);
  const Row& row = row_of(family);
  return shape.targets > 1 ? make_joint(row.name, shape) : row.make(shape);
}

FamilyTraits family_traits(std::string_view family) { return row_of(family).traits; }

std::vector<std::string> expert_families() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies) names.emplace_back(row.name);
  return names;
}

void randomise_fields(const std::vector<Field>& fields, Rng& rng) {
  constexpr double kSpread = 0.3;
  for (const Field& f : fields) {
    if (f.kind != Field::Kind::free) continue;
    const double spread = kSpread / std::sqrt(static_cast<double>(std::max<std::size_t>(1, f.values.size())));
    for (double& v : f.values) v = spread * rng.normal();
  }
}

void ExpertFamily::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  mat each;
  std::size_t at = 0;
  for (uword k = 0; k < count(); ++k) {
    scores(batch, k, each);
    const vec own = each.t() * weight.col(k);
    for (uword j = 0; j < own.n_elem; ++j) gradient[at++] += own[j];
  }
}

void ExpertFamily::state(Archive& archive) {
  for (uword k = 0; k < count(); ++k)
    for (const Field& f : fields(k)) archive.fixed(f.values);
  for (const FloatField& f : float_fields()) archive.fixed(f.values);
}

double ExpertFamily::sparse_step(const Batch&, const SparseStep&) {
  throw Error(Errc::internal, std::string(name()) + " experts have no sparse step");
}

void ExpertFamily::randomise(Rng rng) {
  for (uword k = 0; k < count(); ++k) randomise_fields(fields(k), rng);
}

std::unique_ptr<ExpertFamily> ExpertFamily::marginal(uword) const { return clone(); }
mat ExpertFamily::correlation(uword) const { return {}; }
void ExpertFamily::moments(const Batch&, mat&, mat&) const {
  throw Error(Errc::internal, std::string(name()) + " experts have no mean");
}
void ExpertFamily::cumulative(const Batch&, const vec&, mat&) const {
  throw Error(Errc::internal, std::string(name()) + " experts have no distribution function");
}
void ExpertFamily::add_class_probabilities(const Batch& batch, const mat& weight, mat& out) const {
  arma::cube each;
  class_probabilities(batch, each);
  for (uword k = 0; k < each.n_slices; ++k) out += each.slice(k).each_col() % weight.col(k);
}
void ExpertFamily::class_probabilities(const Batch&, arma::cube&) const {
  throw Error(Errc::internal, std::string(name()) + " experts have no classes");
}

}  // namespace moekit
