#include "moekit/standard_errors.hpp"

#include <charconv>
#include <cmath>

#include "model_names.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "same_experts.hpp"
#include "standard_errors/bootstrap.hpp"
#include "standard_errors/covariance.hpp"
#include "standard_errors/information.hpp"

namespace moekit {

namespace {

/// The automatic choice: at most so many parameters, and rows x experts x parameters^2.
constexpr uword kMostAutomatic = 400;
constexpr double kMostWork = 5e9;
/// Three matrices of so many parameters, for each of a few lanes, still fit into memory.
constexpr uword kMostParameters = 4000;
constexpr int kMostReplicates = 100'000;

/// d estimate / d parameter: C x P. Linear for most families; differences on the parameters' own scale.
mat jacobian(const Model& model, const errors::Moving& moving) {
  constexpr double kStep = 1e-3;
  Model moved;
  moved.schema = model.schema;
  for (uword j = 0; j < moved.schema.targets(); ++j)
    moved.schema.target_at(j).mean = 0;  // a constant that would only cost digits
  moved.family = model.family;
  moved.gate_family = model.gate_family;
  moved.members = {model.members.front()};
  const auto estimates = [&](const vec& at) {
    errors::Moving::set(moved.members.front(), at);
    std::vector<double> all;
    for (const Coefficient& c : coefficients(moved)) all.push_back(c.estimate);
    return vec(all);
  };
  mat out(estimates(moving.values()).n_elem, moving.size());
  for (uword j = 0; j < moving.size(); ++j) {
    vec above = moving.values(), below = above;
    above[j] += kStep;
    below[j] -= kStep;
    out.col(j) = (estimates(above) - estimates(below)) / (above[j] - below[j]);
  }
  return out;
}

/// "expert 2: age": what a note calls a coefficient.
std::string label(const Coefficient& c) {
  const std::string number = std::to_string(c.expert + 1);
  const bool expert = c.part == "expert" || c.part == "noise";
  std::string text = (expert ? "expert" : c.part) + " " + number;
  if (c.part == "noise") text += " noise";
  if (!c.output.empty()) text += ", " + c.output;
  return text + ": " + c.term;
}

/// One note for the coefficients whose cells stay empty.
void note_unidentified(const Model& model, const std::vector<double>& values,
                       std::vector<std::string>& notes) {
  constexpr std::size_t kNamed = 6;
  const std::vector<Coefficient> all = coefficients(model);
  std::string names;
  std::size_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (std::isnan(values[i]) && ++count <= kNamed) names += (names.empty() ? "" : "; ") + label(all[i]);
  if (count == 0) return;
  if (count > kNamed) names += "; and " + std::to_string(count - kNamed) + " more";
  notes.push_back(std::to_string(count) + " of " + std::to_string(values.size()) +
                  " coefficients have no standard error: the rows do not identify them, or they stand at a "
                  "bound (" +
                  names + ")");
}

vec from_information(const Model& model, const Source& source, bool sandwich, ErrorReport& report,
                     const Compute& compute) {
  const Mixture& mixture = model.members.front();
  const errors::Moving moving(mixture);
  if (moving.size() == 0) return {};
  const bool kink = family_traits(model.family).kink;
  const errors::Information rows = errors::information(mixture, moving, model.schema, source, kink, compute);
  std::vector<bool> held = moving.at_bound();
  const mat prior = errors::prior_curvature(mixture, moving, held);
  // The ridge that only keeps numbers finite is no penalty.
  report.errors.penalised = arma::abs(prior).max() > 1e-9;
  const errors::Covariance covariance(rows.observed + prior, held);
  if (const auto pair = same_experts(mixture))
    report.notes.push_back(
        "standard errors: experts " + std::to_string(pair->first + 1) + " and " +
        std::to_string(pair->second + 1) +
        " are the same, so that the rows do not tell them apart; fewer --experts would do");
  else if (covariance.saddle())
    report.notes.push_back(
        "standard errors: the fit has not reached a maximum, so that some may be lacking; more "
        "--max-iterations or a smaller --tolerance may help");
  const mat map = jacobian(model, moving);
  return sandwich ? covariance.deviations(map, rows.squares) : covariance.deviations(map);
}

}  // namespace

std::string_view error_kind_name(ErrorKind kind) { return kErrorKinds[static_cast<std::size_t>(kind)]; }

ErrorChoice parse_error_choice(std::string_view text) {
  ErrorChoice choice;
  if (text == "auto") return choice;
  choice.automatic = false;
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  for (std::size_t i = 0; i < std::size(kErrorKinds); ++i) {
    choice.kind = static_cast<ErrorKind>(i);
    if (kErrorKinds[i] != name) continue;
    if (colon == std::string_view::npos) return choice;
    const std::string_view number = text.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), choice.replicates);
    if (choice.kind == ErrorKind::bootstrap && error == std::errc() && end == number.data() + number.size() &&
        choice.replicates >= 10 && choice.replicates <= kMostReplicates)
      return choice;
    break;
  }
  throw Error(Errc::usage, "'" + std::string(text) +
                               "' is not one of auto, none, information, sandwich, bootstrap, bootstrap:B (B "
                               "from 10 to " +
                               std::to_string(kMostReplicates) + ")");
}

bool information_affordable(const Model& model, std::uint64_t rows) {
  const Mixture& mixture = model.members.front();
  const auto parameters = static_cast<double>(errors::Moving(mixture).size());
  return parameters <= static_cast<double>(kMostAutomatic) &&
         static_cast<double>(rows) * static_cast<double>(mixture.count()) * parameters * parameters <=
             kMostWork;
}

ErrorReport standard_errors(const Model& model, const Source& source, const ErrorChoice& choice,
                            const FitOptions& fit, const Compute& compute, const OnIteration& on_iteration) {
  ErrorReport out;
  if (choice.kind == ErrorKind::none) return out;
  const uword parameters = errors::Moving(model.members.front()).size();
  if (choice.automatic && !information_affordable(model, source.rows())) {
    out.notes.push_back("standard errors were left out: " + std::to_string(parameters) + " parameters on " +
                        std::to_string(source.rows()) +
                        " rows take a while; --standard-errors information asks for them");
    return out;
  }
  vec values;
  if (choice.kind == ErrorKind::bootstrap) {
    const errors::Bootstrap b =
        errors::bootstrap(model, source, choice.replicates, fit, compute, on_iteration);
    out.errors.penalised = fit.ridge_mode == Penalty::Mode::evidence || fit.ridge > 0 || fit.lasso > 0;
    out.errors.replicates = b.replicates;
    values = b.deviation;
    if (b.refused > 0)
      out.notes.push_back("standard errors: " + std::to_string(b.refused) + " of " +
                          std::to_string(b.refused + b.replicates) +
                          " bootstrap refits were degenerate and are left out");
    if (values.is_empty()) {
      out.notes.push_back("standard errors were left out: too few bootstrap refits ended well");
      return out;
    }
  } else {
    // Not an error: the fit before it may have taken hours.
    if (parameters > kMostParameters) {
      out.notes.push_back("standard errors were left out: " + std::string(error_kind_name(choice.kind)) +
                          " needs a matrix of all " + std::to_string(parameters) + " parameters, more than " +
                          std::to_string(kMostParameters) + "; --standard-errors bootstrap needs none");
      return out;
    }
    values = from_information(model, source, choice.kind == ErrorKind::sandwich, out, compute);
  }
  out.errors.kind = choice.kind;
  for (const double v : values) out.errors.values.push_back(v > 0 && std::isfinite(v) ? v : std::nan(""));
  note_unidentified(model, out.errors.values, out.notes);
  return out;
}

}  // namespace moekit
