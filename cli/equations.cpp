#include "equations.hpp"

#include "gate_text.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

/// What stands in the brackets.
std::string errors_legend(const StandardErrors& errors) {
  std::string text = "In brackets: standard errors ";
  if (errors.kind == ErrorKind::information)
    text += errors.penalised ? "given the penalties (posterior, Laplace's approximation)"
                             : "from the observed information";
  if (errors.kind == ErrorKind::sandwich) text += "by the sandwich";
  if (errors.kind == ErrorKind::bootstrap) text += "of " + counted(errors.replicates, "bootstrap refit");
  if (errors.kind != ErrorKind::information && errors.penalised) text += " of the penalised fit";
  return text;
}

/// "weight 0.31, height -0.2".
std::string correlations_text(const std::vector<Coefficient>& terms) {
  std::vector<std::string> parts;
  for (const Coefficient& c : terms) parts.push_back(c.term + " " + brief(c.estimate, 2));
  return join(parts, ", ");
}

bool shows_errors(const Model& model, std::size_t coefficients) {
  return model.standard_errors.kind != ErrorKind::none && coefficients <= kMostWithErrors;
}

}  // namespace

std::string expert_equations_text(const Model& model, std::size_t width, std::size_t most_terms,
                                  std::size_t most_experts) {
  const Target& target = model.schema.target;
  const bool classes = target.task == Task::classification;
  const uword experts = model.members.front().count();
  std::vector<Coefficient> all = coefficients(model);
  if (!shows_errors(model, all.size()))
    for (Coefficient& c : all) c.standard_error = std::nan("");
  std::string expert;
  const bool log_link = family_traits(model.family).log_link;
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin;
    while (end < all.size() && all[end].part == all[begin].part && all[end].expert == all[begin].expert &&
           all[end].output == all[begin].output)
      ++end;
    const Coefficient& first = all[begin];
    const std::vector<Coefficient> terms(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                         all.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
    const bool noise = first.part == "noise";
    if (first.part == "correlation" && first.expert < most_experts)
      expert += "  expert " + std::to_string(first.expert + 1) + ": correlation of " + first.output +
                " with " + correlations_text(terms) + "\n";
    if (first.expert >= most_experts || (first.part != "expert" && !noise)) continue;
    if (noise && terms.size() < 2) continue;  // the same everywhere: in the table of experts
    std::string left = "expert " + std::to_string(first.expert + 1) + ": ";
    const std::string of = first.output.empty() ? target.name : first.output;
    if (noise)
      left += first.output.empty() ? "ln noise" : "ln noise of " + of;
    else if (!classes)
      left += log_link ? "ln " + of : of;
    else
      left += "ln p(" + of + ") / p(" + target.labels.back() + ")";
    left = harmless("  " + left + " = ");
    expert += left + wrapped(linear_text(terms, most_terms), width, display_width(left), 6) + "\n";
  }
  if (experts > most_experts && !expert.empty())  // networks have no equations
    expert += "  " + more_line(experts, most_experts, "expert");
  return expert;
}

std::string equations_text(const Model& model, std::size_t width, std::size_t most_terms,
                           std::size_t most_experts) {
  std::string text = expert_equations_text(model, width, most_terms, most_experts) +
                     gate_text(model, width, most_terms, most_experts);
  if (shows_errors(model, coefficients(model).size()))
    text += wrapped(errors_legend(model.standard_errors), width, 0, 2) + "\n";
  return text;
}

}  // namespace moekit::cli
