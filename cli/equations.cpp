#include "equations.hpp"

#include <algorithm>
#include <cmath>

#include "text.hpp"

namespace moekit::cli {

namespace {

/// Models with more coefficients are shown without standard errors: coefficients.csv has them.
constexpr std::size_t kMostWithErrors = 60;

std::string error_text(const Coefficient& c) {
  return std::isnan(c.standard_error) ? "" : " (" + brief(c.standard_error, 2) + ")";
}

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

/// "12.5 + 3.1 times - 2 [sex = Male]": `terms` belong to one predictor, the intercept among them.
std::string right_hand_side(std::vector<Coefficient> terms, std::size_t most_terms) {
  std::stable_sort(terms.begin(), terms.end(), [](const Coefficient& a, const Coefficient& b) {
    const bool first = a.term == "intercept", second = b.term == "intercept";
    if (first != second) return first;
    return std::abs(a.standardised) > std::abs(b.standardised);
  });
  std::string text;
  std::size_t shown = 0;
  for (const Coefficient& c : terms) {
    if (c.term == "intercept") {
      text = brief(c.estimate, 5) + error_text(c);
      continue;
    }
    if (shown++ == most_terms) {
      text += " ... (" + counted(terms.size() - 1 - most_terms, "more term") + ")";
      break;
    }
    const bool plain = c.term.find(' ') == std::string::npos;
    text += (text.empty() ? (c.estimate < 0 ? "-" : "") : (c.estimate < 0 ? " - " : " + ")) +
            brief(std::abs(c.estimate), 4) + error_text(c) + " " + (plain ? c.term : "[" + c.term + "]");
  }
  return text.empty() ? "0" : text;
}

}  // namespace

std::string equations_text(const Model& model, std::size_t width, std::size_t most_terms,
                           std::size_t most_experts) {
  const Target& target = model.schema.target;
  const uword experts = model.members.front().count();
  std::vector<Coefficient> all = coefficients(model);
  const bool errors = model.standard_errors.kind != ErrorKind::none && all.size() <= kMostWithErrors;
  if (!errors)
    for (Coefficient& c : all) c.standard_error = std::nan("");
  std::string gate, expert;
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin;
    while (end < all.size() && all[end].part == all[begin].part && all[end].expert == all[begin].expert &&
           all[end].output == all[begin].output)
      ++end;
    const Coefficient& first = all[begin];
    const std::vector<Coefficient> terms(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                         all.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
    if (first.expert >= most_experts) continue;
    std::string left = "score " + std::to_string(first.expert + 1);
    if (first.part != "gate") {
      left = "expert " + std::to_string(first.expert + 1) + ": ";
      left +=
          first.output.empty() ? target.name : "ln p(" + first.output + ") / p(" + target.labels.back() + ")";
    }
    left = "  " + left + " = ";
    (first.part == "gate" ? gate : expert) +=
        left + wrapped(right_hand_side(terms, most_terms), width, display_width(left), 6) + "\n";
  }
  std::string text = expert;
  if (experts > most_experts)
    text += "  ... and " + counted(experts - most_experts, "more expert") + " (-v shows all)\n";
  if (!gate.empty())
    text += "Gate: softmax of the scores; the score of expert " + std::to_string(experts) + " is 0\n" + gate;
  if (errors) text += wrapped(errors_legend(model.standard_errors), width, 0, 2) + "\n";
  return text;
}

}  // namespace moekit::cli
