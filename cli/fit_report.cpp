#include "fit_report.hpp"

#include <algorithm>
#include <cmath>

#include "metrics_text.hpp"
#include "moekit/standard_errors.hpp"
#include "spread.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

Json number_list(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(json_number(value));
  return list;
}

/// Inputs that gate and experts really use: columns without spread are left out of a basis.
std::size_t columns_used(const Model& model) {
  std::vector<bool> used(model.schema.inputs.size(), false);
  for (const Basis* basis : {&model.members.front().gate_basis, &model.members.front().expert_basis})
    for (const Term& term : basis->terms())
      if (term.kind != Term::Kind::intercept) used[term.column] = true;
  return static_cast<std::size_t>(std::count(used.begin(), used.end(), true));
}

Json conformal_json(const Conformal& conformal) {
  if (!conformal.known()) return nullptr;
  Json json{{"rows", conformal.rows}};
  json["highest_level"] = json_number(conformal.highest_level());
  json["score_90"] = json_number(conformal.threshold(0.9));
  return json;
}

/// "calibrated on 27 rows; the one of 90 % is the model's own of 93.1 %".
std::string conformal_text(const Conformal& conformal) {
  const std::string text = "calibrated on " + counted(conformal.rows, "row");
  if (!conformal.enough(0.9)) return text + ": enough for " + percent(conformal.highest_level()) + " at most";
  const double score = conformal.threshold(0.9);
  if (!(score < 1)) return text + "; the one of 90 % reaches beyond the model's own tails";
  return text + "; the one of 90 % is the model's own of " + percent(score);
}

std::size_t finished_starts(const Provenance& provenance) {
  std::size_t n = 0;
  for (const Start& start : provenance.starts) n += start.finished;
  return n;
}

/// What kept the experts busy in training; empty where all of them answer.
std::string balance_text(const Model& model) {
  const Mixture& m = model.members.front();
  if (!m.routing.active(m.count())) return {};
  const auto given = [&](std::string_view option) {
    for (const auto& [name, value] : model.provenance.options)
      if (name == option) return value;
    return std::string();
  };
  if (const std::string names = given("balance"); !names.empty()) return names;
  if (!given("expert-choice").empty()) return "expert choice";
  if (m.routing.score == RoutingRule::Score::hash) return "hash";
  return m.routing.bias.empty() ? "none" : "bias";
}

}  // namespace

std::string model_line(const Model& model) {
  const Mixture& m = model.members.front();
  const std::size_t members = model.members.size();
  std::string text = members > 1 ? "ensemble of " + std::to_string(members) + ", each of " : "";
  if (model.neurons.count > 0)
    return text + counted(model.neurons.count, model.family + " neuron") + ", product-key gate, " +
           counted(model.neurons.heads, "head") + " of " + counted(model.neurons.picks, "pick");
  text += counted(m.count(), model.family + " expert");
  if (!model.hidden.empty()) text += " of mlp:" + widths_text(model.hidden);
  text += ", " + model.gate_family + " gate";
  const RoutingRule& rule = m.routing;
  if (!rule.active(m.count())) return text;
  if (rule.top_k > 0) text += ", top-" + std::to_string(rule.top_k);
  if (rule.score == RoutingRule::Score::sigmoid) text += " of sigmoid scores";
  if (rule.score == RoutingRule::Score::hash) text += " by hash";
  const auto shared = std::count(rule.shared.begin(), rule.shared.end(), 1);
  if (shared > 0) text += " and " + std::to_string(shared) + " shared";
  return text;
}

Json starts_json(const Provenance& provenance) {
  Json starts = Json::array();
  for (const Start& start : provenance.starts) {
    Json entry{{"kind", start.kind}};
    entry["log_likelihood"] = json_number(start.log_likelihood);
    entry["score"] = json_number(start.score);
    entry["finished"] = start.finished;
    entry["refused"] = start.refused;
    entry["reason"] = start.reason;
    entry["difference"] = json_number(start.difference);
    entry["iterations"] = start.iterations;
    starts.push_back(std::move(entry));
  }
  return starts;
}

Json fit_report_json(const FitRecord& record) {
  const Model& model = record.model;
  const Provenance& p = model.provenance;
  const Mixture& mixture = model.members.front();
  Json json;
  json["version"] = p.version;
  json["status"] = p.status;
  json["members"] = model.members.size();
  json["experts"] = experts_of(model);
  json["family"] = model.family;
  json["gate"] = model.gate_family;
  json["hidden"] = model.hidden;
  json["top_k"] = mixture.routing.active(mixture.count()) ? mixture.routing.top_k : 0;
  const std::string balance = balance_text(model);
  json["balance"] = balance.empty() ? Json(nullptr) : Json(balance);
  json["log_likelihood"] = json_number(p.log_likelihood);
  json["log_likelihood_one_expert"] = json_number(p.single_log_likelihood);
  json["parameters"] = json_number(p.parameters);
  json["effective_parameters"] = json_number(p.effective_parameters);
  json["aic"] = json_number(p.aic);
  json["bic"] = json_number(p.bic);
  json["icl"] = json_number(p.icl);
  json["iterations"] = p.iterations;
  json["seconds"] = json_number(record.report.seconds);
  json["rows"] = model.schema.rows;
  json["rows_read"] = record.rows_read;
  json["total_weight"] = json_number(model.schema.total_weight);
  json["seed"] = p.seed;
  json["options"] = Json::object();
  for (const auto& [name, value] : p.options) json["options"][name] = value;
  json["columns"] = types_json(model.schema);
  json["share"] = number_list(mixture.share);
  // Behind a log link there is no one sd: null.
  if (model.schema.target.task != Task::classification)
    json["sd"] = number_list(std::vector<double>(mixture.count(), std::nan("")));
  for (const Spread& spread : spreads(model, 0)) json[spread.key] = number_list(spread.of_expert);
  const StandardErrors& errors = model.standard_errors;
  json["standard_errors"] = nullptr;
  if (errors.kind != ErrorKind::none)
    json["standard_errors"] = {{"kind", error_kind_name(errors.kind)},
                               {"penalised", errors.penalised},
                               {"replicates", errors.replicates}};
  json["best_hits"] = p.best_hits;
  json["starts"] = starts_json(p);
  json["growth"] = Json::array();
  for (const GrowthStep& g : p.growth)
    json["growth"].push_back({{"experts", g.experts},
                              {"held_out", json_number(g.held_out)},
                              {"standard_error", json_number(g.standard_error)}});
  json["trace"] = number_list(p.trace);
  json["conformal"] = conformal_json(model.conformal);
  json["notes"] = record.notes;
  json["held_out"] = record.held_out ? metrics_json(*record.held_out) : Json(nullptr);
  return json;
}

std::string experts_text(const Model& model, std::size_t most, bool blocks) {
  const Mixture& mixture = model.members.front();
  TextTable table;
  table.column("expert", TextTable::Align::right);
  table.column("share", TextTable::Align::right);
  table.column("");
  table.column("rows", TextTable::Align::right);
  const double largest = mixture.share.empty() ? 0 : *std::ranges::max_element(mixture.share);
  std::vector<Spread> all;
  for (uword j = 0; j < model.schema.targets(); ++j)
    for (Spread& spread : spreads(model, j)) {
      const std::string name = shorten(model.schema.target_at(j).name, 16);
      table.column(spread.heading + (model.schema.targets() > 1 ? " " + name : ""), TextTable::Align::right);
      all.push_back(std::move(spread));
    }
  for (uword k = 0; k < mixture.count() && k < most; ++k) {
    std::vector<std::string> cells = {std::to_string(k + 1), percent(mixture.share[k]),
                                      bar(mixture.share[k], largest, kBarWidth, blocks),
                                      brief_amount(mixture.share[k] * model.schema.total_weight)};
    for (const Spread& spread : all) cells.push_back(brief(spread.of_expert[k], 4));
    table.row(std::move(cells));
  }
  std::string text = table.text(2);
  if (mixture.count() > most) text += "  ... and " + counted(mixture.count() - most, "more expert") + "\n";
  return text;
}

std::string starts_text(const Provenance& provenance) {
  TextTable table;
  table.column("start", TextTable::Align::right);
  table.column("kind");
  table.column("log-likelihood", TextTable::Align::right);
  table.column("passes", TextTable::Align::right);
  table.column("differs", TextTable::Align::right);
  table.column("");
  for (std::size_t i = 0; i < provenance.starts.size(); ++i) {
    const Start& start = provenance.starts[i];
    std::string remark = start.finished ? "" : "short run only";
    if (start.refused) remark = "refused: " + start.reason;
    table.row({std::to_string(i + 1), start.kind, brief(start.log_likelihood, 8),
               std::to_string(start.iterations),
               start.finished && !start.refused ? percent(start.difference) : "", shorten(remark, 30)});
  }
  return table.text(2);
}

std::string growth_text(const Model& model) {
  const std::vector<GrowthStep>& growth = model.provenance.growth;
  double best = -INFINITY;
  for (const GrowthStep& g : growth) best = std::max(best, g.held_out);
  TextTable table;
  for (const char* heading : {"experts", "held-out", "below best", "se"})
    table.column(heading, TextTable::Align::right);
  table.column("");
  for (const GrowthStep& g : growth)
    table.row({std::to_string(g.experts), brief(g.held_out, 5), brief(best - g.held_out, 3),
               brief(g.standard_error, 3), g.experts == model.members.front().count() ? "chosen" : ""});
  return table.text(2);
}

void add_criteria(const Model& model, TextTable& table) {
  const Provenance& p = model.provenance;
  if (model.members.size() > 1) table.row({"shown", "the first member; predictions are those of all"});
  // Mini-batch fits leave the one expert out.
  const std::string single = std::isfinite(p.single_log_likelihood)
                                 ? "  (one expert: " + brief(p.single_log_likelihood, 8) + ")"
                                 : "";
  table.row({"log-likelihood", brief(p.log_likelihood, 8) + single});
  table.row({"BIC", brief(p.bic, 8) + "  (AIC " + brief(p.aic, 8) + ", ICL " + brief(p.icl, 8) + ")"});
  table.row(
      {"parameters", brief(p.parameters, 6) + "  (effective: " + brief(p.effective_parameters, 4) + ")"});
  const std::size_t finished = finished_starts(p);
  if (!p.growth.empty())
    table.row({"experts", std::to_string(model.members.front().count()) + ", found among 1 to " +
                              std::to_string(p.growth.back().experts) + " on rows held back"});
  if (!p.starts.empty())
    table.row({"best start", "found by " + std::to_string(p.best_hits) + " of " + std::to_string(finished) +
                                 " finished starts, " + std::to_string(p.starts.size()) + " in all"});
  if (const std::string balance = balance_text(model); !balance.empty()) table.row({"balance", balance});
  if (model.conformal.known()) table.row({"intervals", conformal_text(model.conformal)});
  table.row({"status", p.status + " after " + std::to_string(p.iterations) +
                           (p.iterations == 1 ? " pass" : " passes")});
}

std::string fit_summary(const FitRecord& record, bool verbose) {
  const Model& model = record.model;
  TextTable table;
  table.column("");
  table.column("");
  const std::string of =
      model.schema.rows == record.rows_read ? "" : " of " + std::to_string(record.rows_read);
  table.row({"rows", std::to_string(model.schema.rows) + of});
  table.row({"columns used",
             std::to_string(columns_used(model)) + " of " + std::to_string(model.schema.inputs.size())});
  table.row({"model", model_line(model)});
  add_criteria(model, table);
  if (record.held_out) table.row({"held-out", metrics_line(*record.held_out)});
  table.row({"time", seconds_text(record.report.seconds)});
  std::string text = table.text(0, false) + experts_text(model, verbose ? SIZE_MAX : 16);
  if (verbose && !model.provenance.growth.empty()) text += growth_text(model);
  if (verbose && !model.provenance.starts.empty()) text += starts_text(model.provenance);
  return text;
}

}  // namespace moekit::cli
