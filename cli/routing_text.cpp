#include "routing_text.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "text.hpp"

namespace moekit::cli {

namespace {

template <class T>
Json matrix_json(const std::vector<T>& values, std::size_t rows, std::size_t columns) {
  Json json = Json::array();
  for (std::size_t r = 0; r < rows; ++r)
    json.push_back(std::vector<T>(values.begin() + static_cast<std::ptrdiff_t>(r * columns),
                                  values.begin() + static_cast<std::ptrdiff_t>((r + 1) * columns)));
  return json;
}

/// Rows of which a margin is known: of neurons, hashes and rows with all experts none is.
std::uint64_t measured(const RoutingReport& report) {
  return std::accumulate(report.margins.begin(), report.margins.end(), std::uint64_t{0});
}

Json margins_json(const RoutingReport& report) {
  if (report.rows > 0 && measured(report) == 0) return nullptr;
  Json json = Json::array();
  for (std::size_t b = 0; b < kMarginEdges.size(); ++b)
    json.push_back({{"from", kMarginEdges[b]}, {"rows", report.margins[b]}});
  return json;
}

Json labels_json(const RoutingReport& report) {
  if (report.labels.empty()) return nullptr;
  return {{"names", report.labels},
          {"counts", matrix_json(report.label_counts, report.labels.size(), report.experts)},
          {"mutual_information", json_number(report.mutual_information)},
          {"by_chance", json_number(report.mutual_information_by_chance)},
          {"label_entropy", json_number(report.label_entropy)}};
}

/// Experts to show: all, or the busiest and the idlest in the order of their load.
std::vector<std::size_t> shown(const RoutingReport& report, std::size_t most) {
  std::vector<std::size_t> order(report.experts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (order.size() <= most) return order;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return report.counts[a] > report.counts[b]; });
  const std::size_t idle = most / 2;
  order.erase(order.begin() + static_cast<std::ptrdiff_t>(most - idle),
              order.end() - static_cast<std::ptrdiff_t>(idle));
  return order;
}

std::string bars(const RoutingReport& report, std::uint32_t first, std::size_t width, std::size_t most) {
  TextTable table;
  using enum TextTable::Align;
  table.column("expert", right);
  table.column("rows", right);
  table.column("use", right);
  table.column("");
  const std::size_t room = std::clamp<std::size_t>(width, 50, 110) - 40;
  const double largest =
      report.experts ? *std::max_element(report.utilisation.begin(), report.utilisation.end()) : 0;
  for (const std::size_t e : shown(report, most)) {
    const double share = largest > 0 ? report.utilisation[e] / largest : 0;
    // A bar for every expert that got rows at all.
    const auto length = static_cast<std::size_t>(std::ceil(share * static_cast<double>(room)));
    table.row({std::to_string(e + first), std::to_string(report.counts[e]), brief(report.utilisation[e], 3),
               std::string(length, '#')});
  }
  std::string text = table.text();
  if (report.experts > most)
    text += "the busiest and the idlest of " + counted(report.experts, "expert") + "\n";
  return text;
}

std::string dead_text(const RoutingReport& report, std::uint32_t first) {
  constexpr std::size_t kMost = 16;
  if (report.dead.empty()) return "no dead expert";
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(kMost, report.dead.size()); ++i)
    names.push_back(std::to_string(report.dead[i] + first));
  if (report.dead.size() > kMost) names.push_back("...");
  return counted(report.dead.size(), "dead expert") + ": " + join(names, ", ");
}

}  // namespace

Json routing_json(const RoutingReport& report, std::uint32_t first) {
  Json json;
  json["rows"] = report.rows;
  json["experts"] = report.experts;
  json["picks"] = report.picks;
  json["first_expert"] = first;
  json["counts"] = report.counts;
  json["utilisation"] = report.utilisation;
  json["importance"] = report.importance;
  json["mean_probability"] = report.mean_probability.empty() ? Json(nullptr) : Json(report.mean_probability);
  json["load_balance"] = {{"cv_squared", json_number(report.load_cv2)},
                          {"importance_cv_squared", json_number(report.importance_cv2)},
                          {"max_over_mean", json_number(report.max_over_mean)},
                          {"switch_balance", json_number(report.switch_balance)}};
  json["gate_entropy"] = json_number(report.gate_entropy);
  json["load_entropy"] = json_number(report.load_entropy);
  json["entropy_max"] = std::log(static_cast<double>(std::max<std::size_t>(report.experts, 1)));
  json["dead_experts"] = Json::array();
  for (const std::uint32_t e : report.dead) json["dead_experts"].push_back(e + first);
  json["dropped"] = json_number(report.dropped);
  json["margins"] = margins_json(report);
  json["together"] =
      report.together.empty() ? Json(nullptr) : matrix_json(report.together, report.experts, report.experts);
  json["labels"] = labels_json(report);
  return json;
}

std::string routing_text(const RoutingReport& report, std::uint32_t first, std::size_t width,
                         std::size_t most) {
  std::string text = bars(report, first, width, most);
  text += "balance: largest load " + brief(report.max_over_mean, 3) + " times the mean, CV^2 " +
          brief_amount(report.load_cv2, 3) + ", load entropy " + brief_amount(report.load_entropy, 3) +
          " of " + brief_amount(std::log(static_cast<double>(std::max<std::size_t>(report.experts, 1))), 3) +
          "; " + dead_text(report, first) + "\n";
  std::vector<std::string> sure;
  if (std::isfinite(report.gate_entropy))
    sure.push_back("gate entropy " + brief_amount(report.gate_entropy, 3));
  if (measured(report) > 0)
    sure.push_back(
        "last pick within 0.01 of the first left out: " +
        counted(report.margins[0] + report.margins[1] + report.margins[2] + report.margins[3], "row"));
  if (!sure.empty()) text += join(sure, "; ") + "\n";
  if (report.dropped > 0) text += "dropped: " + percent(report.dropped) + " of the picks\n";
  if (!report.labels.empty())
    text += "labels: mutual information with the expert " + brief_amount(report.mutual_information, 3) +
            " of " + brief_amount(report.label_entropy, 3) + " nats (by chance " +
            brief_amount(report.mutual_information_by_chance, 3) + ")\n";
  return text;
}

}  // namespace moekit::cli
