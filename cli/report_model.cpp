#include "report_model.hpp"

#include <algorithm>
#include <cmath>

#include "gate_text.hpp"
#include "moekit/version.hpp"
#include "report_json.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kTerms = 6, kMostCoefficients = 2000, kMostStarts = 60, kMostTrace = 2000;
constexpr std::size_t kTermWidth = 40, kWordsWidth = 4000;

using Terms = std::vector<Coefficient>;

/// Runs of coefficients that belong to one linear form, with names of bearable length and without errors.
std::vector<Terms> forms_of(const Terms& all, const std::string& part) {
  std::vector<Terms> out;
  for (const Coefficient& c : all) {
    if (c.part != part) continue;
    if (out.empty() || out.back().front().expert != c.expert || out.back().front().output != c.output)
      out.emplace_back();
    Coefficient shown = c;
    shown.standard_error = std::nan("");
    shown.term = shorten(c.term, kTermWidth);
    out.back().push_back(std::move(shown));
  }
  return out;
}

Json numbers(std::string_view text) {
  Json out = Json::array();
  std::uint64_t value = 0;
  bool digits = false;
  for (const char c : std::string(text) + " ") {
    if (c >= '0' && c <= '9') {
      value = 10 * value + static_cast<std::uint64_t>(c - '0');
      digits = true;
    } else if (digits) {
      out.push_back(value);
      value = 0;
      digits = false;
    }
  }
  return out;
}

Json target_json(const Target& t) {
  Json out = {{"name", short_name(t.name)}, {"task", std::string(task_name(t.task))}};
  for (const std::string& label : t.labels) {
    if (out["labels"].size() == 200) break;
    out["labels"].push_back(short_name(label));
  }
  return out;
}

Json start_json(const Start& s) {
  return {{"kind", s.kind},
          {"log_likelihood", json_number(s.log_likelihood)},
          {"finished", s.finished},
          {"refused", s.refused},
          {"reason", shorten(s.reason, 300)},
          {"difference", json_number(s.difference)},
          {"iterations", s.iterations}};
}

}  // namespace

Json model_json(const Model& model) {
  const Provenance& p = model.provenance;
  const Schema& schema = model.schema;
  Json out = {{"version", kVersion},
              {"family", model.family},
              {"gate", model.gate_family},
              {"members", model.members.size()},
              {"full_covariance", model.full_covariance}};
  for (uword j = 0; j < schema.targets(); ++j) out["targets"].push_back(target_json(schema.target_at(j)));
  out["inputs"] = schema.inputs.size();
  out["rows"] = schema.rows;
  out["seed"] = p.seed;
  out["calibration_rows"] = model.conformal.rows;
  out["options"] = Json::array();
  for (const auto& [name, value] : p.options)
    out["options"].push_back({shorten(name, 60), shorten(value, 200)});
  out["iterations"] = p.iterations;
  out["best_hits"] = p.best_hits;
  out["finished"] = std::ranges::count_if(p.starts, [](const Start& s) { return s.finished; });
  out["notes"] = Json::array();
  for (const std::string& note : p.notes)
    if (out["notes"].size() < 30) out["notes"].push_back(shorten(note, 400));
  // Long traces are thinned, the last pass kept.
  const std::size_t step = 1 + p.trace.size() / kMostTrace;
  out["trace"] = Json::array();
  for (std::size_t i = 0; i < p.trace.size(); ++i)
    if (i % step == 0 || i + 1 == p.trace.size())
      out["trace"].push_back({{"pass", i + 1}, {"log_likelihood", json_number(p.trace[i])}});
  out["joint_trace"] = model.gate_family == "gaussian";
  std::vector<const Start*> starts;
  for (const Start& s : p.starts) starts.push_back(&s);
  std::stable_sort(starts.begin(), starts.end(), [](const Start* a, const Start* b) {
    if (a->finished != b->finished) return a->finished;
    return a->log_likelihood > b->log_likelihood;
  });
  out["starts_made"] = starts.size();
  if (starts.size() > kMostStarts) starts.resize(kMostStarts);
  out["starts"] = Json::array();
  for (const Start* s : starts) out["starts"].push_back(start_json(*s));
  out["growth"] = Json::array();
  for (const GrowthStep& g : p.growth)
    out["growth"].push_back({{"experts", g.experts},
                             {"held_out", json_number(g.held_out)},
                             {"standard_error", json_number(g.standard_error)}});
  return out;
}

Json expert_texts(const Model& model, const std::vector<Coefficient>& coefficients, std::size_t most) {
  const Target& target = model.schema.target;
  const bool classes = target.task == Task::classification;
  const bool log_link = family_traits(model.family).log_link;
  Json out = std::vector<Json>(std::min<std::size_t>(most, model.members.front().count()), Json::array());
  for (const char* part : {"expert", "noise"})
    for (const Terms& form : forms_of(coefficients, part)) {
      const Coefficient& first = form.front();
      const bool noise = first.part == "noise";
      if (first.expert >= out.size() || (noise && form.size() < 2)) continue;
      const std::string of = shorten(first.output.empty() ? target.name : first.output, kTermWidth);
      std::string left = log_link ? "ln " + of : of;
      if (classes) left = "ln p(" + of + ") / p(" + shorten(target.labels.back(), kTermWidth) + ")";
      if (noise) left = first.output.empty() ? "ln noise" : "ln noise of " + of;
      if (out[first.expert].size() < 12)
        out[first.expert].push_back({{"left", left}, {"right", linear_text(form, kTerms)}});
    }
  return out;
}

Json coefficients_json(const std::vector<Coefficient>& coefficients) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < coefficients.size(); ++i) order.push_back(i);
  if (order.size() > kMostCoefficients) {  // those that matter most, in their own order
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::abs(coefficients[a].standardised) > std::abs(coefficients[b].standardised);
    });
    order.resize(kMostCoefficients);
    std::sort(order.begin(), order.end());
  }
  Json rows = Json::array();
  for (const std::size_t i : order) {
    const Coefficient& c = coefficients[i];
    rows.push_back({{"part", c.part},
                    {"expert", c.expert + 1},
                    {"output", short_name(c.output)},
                    {"term", short_name(c.term)},
                    {"estimate", json_number(c.estimate)},
                    {"standardised", json_number(c.standardised)},
                    {"standard_error", json_number(c.standard_error)},
                    {"p", json_number(c.p())}});
  }
  return {{"all", coefficients.size()}, {"rows", std::move(rows)}};
}

namespace {

/// The scores of a softmax gate, whose differences are the boundaries between regions; null for other gates
/// and where they are too many to read. Terms that tell most come first, the intercept before them.
Json scores_json(const Model& model, const std::vector<Coefficient>& coefficients) {
  constexpr std::size_t kMostScores = 20'000;
  const std::vector<Terms> scores = forms_of(coefficients, "gate");
  const uword experts = model.members.front().count();
  if (scores.empty() || experts < 2 || experts * scores.front().size() > kMostScores) return nullptr;
  const std::size_t terms = scores.front().size();
  std::vector<double> weight(terms, 0.0);
  std::vector<std::size_t> order(terms);
  for (std::size_t t = 0; t < terms; ++t) {
    order[t] = t;
    for (const Terms& score : scores) weight[t] = std::max(weight[t], std::abs(score[t].standardised));
    if (scores.front()[t].term == "intercept") weight[t] = INFINITY;
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return weight[a] > weight[b]; });
  Json out = {{"terms", Json::array()}, {"regions", Json::array()}};
  for (const std::size_t t : order) out["terms"].push_back(short_name(scores.front()[t].term));
  for (uword k = 0; k < experts; ++k) {
    // The last expert has no score of its own.
    Json values = Json::array();
    for (const std::size_t t : order) values.push_back(k < scores.size() ? scores[k][t].estimate : 0.0);
    out["regions"].push_back(std::move(values));
  }
  return out;
}

}  // namespace

Json gate_json(const Model& model, const std::vector<Coefficient>& coefficients) {
  Json out = {{"words", shorten(gate_text(model, 1'000'000, 4, 12), kWordsWidth)}};
  Json& nodes = out["nodes"] = Json::array();
  for (const Terms& node : forms_of(coefficients, "node")) {
    const std::string& sides = node.front().output;  // "1 3 | 2"
    const std::size_t bar = sides.find('|');
    nodes.push_back({{"node", node.front().expert + 1},
                     {"left", numbers(sides.substr(0, bar))},
                     {"right", numbers(bar == std::string::npos ? "" : sides.substr(bar))},
                     {"rule", node_rule(node, 3)}});
  }
  if (Json scores = scores_json(model, coefficients); !scores.is_null()) out["scores"] = std::move(scores);
  return out;
}

}  // namespace moekit::cli
