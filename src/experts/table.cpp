#include "experts/families.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<ExpertFamily> (*make)(uword experts, uword features, uword classes);
};
constexpr Row kFamilies[] = {
    {"gaussian", make_gaussian},
    {"logistic", make_logistic},
};

}  // namespace

std::unique_ptr<ExpertFamily> make_experts(std::string_view family, uword experts, uword features,
                                           uword classes) {
  for (const Row& row : kFamilies)
    if (row.name == family) return row.make(experts, features, classes);
  std::string known;
  for (const Row& row : kFamilies) known += (known.empty() ? "" : ", ") + std::string(row.name);
  throw Error(Errc::usage, "there is no expert family '" + std::string(family) + "'; known: " + known);
}

std::vector<std::string> expert_families() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies) names.emplace_back(row.name);
  return names;
}

void ExpertFamily::moments(const Batch&, mat&, mat&) const {
  throw Error(Errc::internal, std::string(name()) + " experts have no mean");
}
void ExpertFamily::cumulative(const Batch&, const vec&, mat&) const {
  throw Error(Errc::internal, std::string(name()) + " experts have no distribution function");
}
void ExpertFamily::class_probabilities(const Batch&, arma::cube&) const {
  throw Error(Errc::internal, std::string(name()) + " experts have no classes");
}

}  // namespace moekit
