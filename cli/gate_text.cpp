#include "gate_text.hpp"

#include <algorithm>
#include <cmath>

#include "text.hpp"

namespace moekit::cli {

namespace {

std::string error_text(const Coefficient& c) {
  return std::isnan(c.standard_error) ? "" : " (" + brief(c.standard_error, 2) + ")";
}

using Terms = std::vector<Coefficient>;

bool plain(const std::string& term) { return term.find(' ') == std::string::npos; }

/// Runs of entries that belong to one form.
std::vector<Terms> runs_of(const Terms& all, const std::string& part) {
  std::vector<Terms> runs;
  for (const Coefficient& c : all) {
    if (c.part != part) continue;
    if (runs.empty() || runs.back().front().expert != c.expert) runs.emplace_back();
    runs.back().push_back(c);
  }
  return runs;
}

std::string line(const std::string& left, const std::string& right, std::size_t width) {
  return harmless(left) + wrapped(right, width, display_width(left), 6) + "\n";
}

std::string node_lines(const std::vector<Terms>& nodes, std::size_t width, std::size_t most_terms,
                       std::size_t most) {
  std::string text = "Gate: a tree; a row goes left with the logistic probability of the difference\n";
  for (std::size_t j = 0; j < nodes.size() && j < most; ++j) {
    const std::string left =
        "  node " + std::to_string(j + 1) + " (experts " + nodes[j].front().output + "): ";
    text += line(left, node_rule(nodes[j], most_terms), width);
  }
  if (nodes.size() > most) text += "  " + more_line(nodes.size(), most, "node");
  return text;
}

/// "age 40 +- 5, [sex = Male] 0.7 +- 0.4": inputs whose centre lies farthest from that of all rows first.
std::string region_line(const Terms& centre, const Terms& spread, std::size_t most_terms) {
  std::vector<std::size_t> order(centre.size());
  for (std::size_t j = 0; j < order.size(); ++j) order[j] = j;
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return std::abs(centre[a].standardised) > std::abs(centre[b].standardised);
  });
  std::vector<std::string> parts;
  for (const std::size_t j : order) {
    if (parts.size() == most_terms) {
      parts.push_back("... (" + counted(order.size() - most_terms, "more term") + ")");
      break;
    }
    const std::string& term = centre[j].term;
    parts.push_back((plain(term) ? term : "[" + term + "]") + " " + brief(centre[j].estimate, 4) + " +- " +
                    brief(spread[j].estimate, 3));
  }
  return join(parts, ", ");
}

std::string score_lines(const Model& model, const std::vector<Terms>& scores, std::size_t width,
                        std::size_t most_terms, std::size_t most) {
  std::string text = "Gate: softmax of the scores; the score of expert " +
                     std::to_string(model.members.front().count()) + " is 0\n";
  for (std::size_t k = 0; k < scores.size() && k < most; ++k)
    text += line("  score " + std::to_string(k + 1) + " = ", linear_text(scores[k], most_terms), width);
  return text;
}

}  // namespace

std::string linear_text(Terms terms, std::size_t most_terms) {
  std::stable_sort(terms.begin(), terms.end(), [](const Coefficient& a, const Coefficient& b) {
    const bool first = a.term == "intercept", second = b.term == "intercept";
    if (first != second) return first;
    return std::abs(a.standardised) > std::abs(b.standardised);
  });
  std::string text;
  std::size_t shown = 0, slopes = 0;
  for (const Coefficient& c : terms) slopes += c.term != "intercept";
  for (const Coefficient& c : terms) {
    if (c.term == "intercept") {
      text = brief(c.estimate, 5) + error_text(c);
      continue;
    }
    if (shown++ == most_terms) {
      text += " ... (" + counted(slopes - most_terms, "more term") + ")";
      break;
    }
    text += (text.empty() ? (c.estimate < 0 ? "-" : "") : (c.estimate < 0 ? " - " : " + ")) +
            brief(std::abs(c.estimate), 4) + error_text(c) + " " +
            (plain(c.term) ? c.term : "[" + c.term + "]");
  }
  return text.empty() ? "0" : text;
}

std::string node_rule(const Terms& terms, std::size_t most_terms) {
  Terms slopes;
  double threshold = 0;
  for (const Coefficient& c : terms) {
    if (c.term == "intercept")
      threshold = -c.estimate;
    else
      slopes.push_back(c);
  }
  if (slopes.size() == 1) {  // one input: its own value is the boundary
    const double slope = slopes.front().estimate;
    const std::string& term = slopes.front().term;
    if (slope != 0)
      return "left if " + (plain(term) ? term : "[" + term + "]") + (slope > 0 ? " > " : " < ") +
             brief(threshold / slope, 4) + " (slope " + brief(slope, 4) + ")";
  }
  return "left if " + linear_text(slopes, most_terms) + " > " + brief(threshold, 4);
}

std::string gate_text(const Model& model, std::size_t width, std::size_t most_terms,
                      std::size_t most_experts) {
  if (model.members.front().count() < 2) return {};
  if (gate_traits(model.gate_family).network)
    return "Gate: softmax of the scores of a network, " + model.gate_family + "\n";
  Terms all = coefficients(model);
  if (model.standard_errors.kind == ErrorKind::none || all.size() > kMostWithErrors)
    for (Coefficient& c : all) c.standard_error = std::nan("");
  const std::vector<Terms> scores = runs_of(all, "gate"), nodes = runs_of(all, "node"),
                           weights = runs_of(all, "weight"), centres = runs_of(all, "centre"),
                           spreads = runs_of(all, "spread");
  if (!scores.empty()) return score_lines(model, scores, width, most_terms, most_experts);
  if (!nodes.empty()) return node_lines(nodes, width, most_terms, most_experts);
  std::string text = centres.empty() ? "Gate: the same weights for every row\n"
                                     : "Gate: normal regions; centre and spread of the inputs in each\n";
  for (std::size_t k = 0; k < weights.size() && k < most_experts; ++k) {
    const std::string left = "  expert " + std::to_string(k + 1) + ": ";
    std::string right = "weight " + brief(weights[k].front().estimate, 4);
    if (k < centres.size()) right += ", " + region_line(centres[k], spreads[k], most_terms);
    text += line(left, right, width);
  }
  return text;
}

}  // namespace moekit::cli
