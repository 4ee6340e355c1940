#include "equations.hpp"

#include "gate_text.hpp"
#include "text.hpp"

namespace moekit::cli {

std::string equations_text(const Model& model, std::size_t width, std::size_t most_terms,
                           std::size_t most_experts) {
  const Target& target = model.schema.target;
  const uword experts = model.members.front().count();
  const std::vector<Coefficient> all = coefficients(model);
  std::string expert;
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin;
    while (end < all.size() && all[end].part == all[begin].part && all[end].expert == all[begin].expert &&
           all[end].output == all[begin].output)
      ++end;
    const Coefficient& first = all[begin];
    const std::vector<Coefficient> terms(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                         all.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
    if (first.part != "expert" || first.expert >= most_experts) continue;
    std::string left = "expert " + std::to_string(first.expert + 1) + ": ";
    left +=
        first.output.empty() ? target.name : "ln p(" + first.output + ") / p(" + target.labels.back() + ")";
    left = "  " + left + " = ";
    expert += left + wrapped(linear_text(terms, most_terms), width, display_width(left), 6) + "\n";
  }
  std::string text = expert;
  if (experts > most_experts)
    text += "  ... and " + counted(experts - most_experts, "more expert") + " (-v shows all)\n";
  return text + gate_text(model, width, most_terms, most_experts);
}

}  // namespace moekit::cli
