#include "spread.hpp"

#include <algorithm>
#include <cmath>

namespace moekit::cli {

namespace {

/// A field of expert k; empty if it has none of that name.
std::span<const double> field(ExpertFamily& experts, uword k, std::string_view name) {
  for (const Field& f : experts.fields(k))
    if (f.name == name) return f.values;
  return {};
}

/// exp(log_scale) at the expert's average row, held above as in training.
double scale(ExpertFamily& experts, uword k) {
  const auto coefficients = field(experts, k, "log_scale"), centre = field(experts, k, "noise_centre");
  const auto floor = field(experts, 0, "scale_floor");  // with the first expert, for all
  double log_scale = 0;
  for (std::size_t j = 0; j < std::min(coefficients.size(), centre.size()); ++j)
    log_scale += coefficients[j] * centre[j];
  return std::hypot(std::exp(log_scale), floor.empty() ? 0 : floor[0]);
}

}  // namespace

std::vector<Spread> spreads(const Model& model, uword j) {
  const Target& target = model.schema.target_at(j);
  if (target.task == Task::classification) return {};
  const std::unique_ptr<ExpertFamily> experts = model.members.front().experts->marginal(j);
  std::vector<Spread> out;
  const auto add = [&](const char* key, const char* heading, const auto& value) {
    out.push_back({key, heading, {}});
    for (uword k = 0; k < experts->count(); ++k) out.back().of_expert.push_back(value(k));
  };
  const auto own_scale = [&](uword k) { return scale(*experts, k); };
  if (!family_traits(model.family).log_link)
    add("sd", "sd", [&](uword k) { return experts->noise(k) * target.sd; });
  if (model.family == "student-t")
    add("degrees_of_freedom", "df", [&](uword k) { return field(*experts, k, "shape")[0]; });
  if (model.family == "gamma") add("coefficient_of_variation", "cv", own_scale);
  if (model.family == "negative-binomial") add("dispersion", "dispersion", own_scale);
  return out;
}

}  // namespace moekit::cli
