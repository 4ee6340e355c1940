// Which family suits a target.
#include "moekit/error.hpp"
#include "moekit/fit.hpp"

namespace moekit {

std::string family_of(const FitOptions& options, const Schema& schema) {
  if (!options.family.empty()) return options.family;
  switch (schema.target.task) {
    case Task::classification:
      return "logistic";
    case Task::count:
      return "poisson";
    case Task::regression:
      break;
  }
  return "gaussian";
}

bool full_covariance_of(const FitOptions& options, const Schema& schema) {
  if (schema.targets() < 2) return false;
  const bool able =
      family_of(options, schema) == "gaussian" && options.noise_basis.form == BasisKind::Form::constant;
  return options.full_covariance.value_or(able);
}

void check_family(const FitOptions& options, const Schema& schema) {
  const std::string family = family_of(options, schema);
  const FamilyTraits traits = family_traits(family);
  const Target& target = schema.target;
  std::string fitting;
  for (const std::string& name : expert_families())
    if (family_traits(name).task == target.task) fitting += (fitting.empty() ? "" : ", ") + name;
  if (traits.task != target.task)
    throw Error(Errc::usage, "--family " + family + " does not fit a target for " +
                                 std::string(task_name(target.task)) + "; these do: " + fitting +
                                 "; or see --task");
  const bool normal_or_classes = family == "gaussian" || family == "logistic";
  if (!options.hidden.empty() && !normal_or_classes)
    throw Error(Errc::usage, "--expert mlp:H makes gaussian or logistic experts, not " + family +
                                 "; leave --family out, or give --expert linear");
  const bool one_answer = !options.hidden.empty() || options.gradient.loss != Loss::likelihood ||
                          gate_traits(options.gate).product_keys;
  if (one_answer && schema.targets() > 1)
    throw Error(
        Errc::usage,
        "--expert mlp:H, --gate product-key and --loss are for one target; name one, or leave them out");
  if (options.gradient.loss != Loss::likelihood && !normal_or_classes)
    throw Error(Errc::usage, "--loss competitive and cooperative are of gaussian and logistic experts, not " +
                                 family + "; give --loss likelihood");
  const bool varies = options.noise_basis.form != BasisKind::Form::constant;
  if (varies && !traits.noise)
    throw Error(Errc::usage,
                "--noise: " + family + " experts have no noise of their own to vary; leave it out");
  if (!schema.offset.empty() && !traits.log_link)
    throw Error(Errc::usage, "--offset is added to the logarithm of the mean, which " + family +
                                 " experts do not model; use poisson, negative-binomial or gamma");
  if (schema.targets() > 1 && target.task == Task::classification)
    throw Error(Errc::usage, "several targets have to be numbers; name one --target");
  if (schema.targets() < 2 && options.full_covariance)
    throw Error(Errc::usage, "--covariance is for several targets (--target A,B); leave it out");
  if (full_covariance_of(options, schema) && (family != "gaussian" || varies))
    throw Error(Errc::usage,
                "--covariance full needs gaussian experts with constant noise; use --covariance independent");
  for (uword j = 0; j < schema.targets(); ++j)
    if (const Target& each = schema.target_at(j); traits.positive && !(each.min > 0))
      throw Error(Errc::usage, "--family " + family + " needs a target above 0 in every row, and '" +
                                   each.name + "' goes down to " + std::to_string(each.min));
}

}  // namespace moekit
