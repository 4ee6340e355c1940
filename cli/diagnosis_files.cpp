#include "diagnosis_files.hpp"

#include <algorithm>
#include <cmath>

#include "console.hpp"
#include "equations.hpp"
#include "metrics_text.hpp"
#include "prediction_rows.hpp"
#include "spread.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

/// More regions have more pairs than anybody reads.
constexpr std::size_t kMostBoundaries = 64;

bool classifies(const Model& model) { return model.schema.target.task == Task::classification; }

void numbered(CsvWriter& out, const std::string& name, uword count) {
  for (uword k = 1; k <= count; ++k) out.text(name + "_" + std::to_string(k));
}

Json coverage_json(const Metrics& metrics) {
  Json json;
  if (metrics.targets.empty()) json["coverage_90"] = json_number(metrics.coverage_90);
  for (const Metrics& each : metrics.targets) json[each.target] = coverage_json(each);
  return json;
}

/// What the family has beside or instead of a noise in units of the target.
std::vector<Spread> further_spreads(const Model& model, uword j) {
  std::vector<Spread> all = spreads(model, j);
  std::erase_if(all, [](const Spread& spread) { return spread.key == "sd"; });
  return all;
}

/// The columns in which a region differs most from the rest.
std::string what_differs(const Region& region) {
  std::vector<const RegionColumn*> order;
  for (const RegionColumn& column : region.columns)
    if (std::isfinite(column.difference)) order.push_back(&column);
  std::stable_sort(order.begin(), order.end(), [](const RegionColumn* a, const RegionColumn* b) {
    return std::abs(a->difference) > std::abs(b->difference);
  });
  std::vector<std::string> parts;
  for (const RegionColumn* column : order) {
    if (parts.size() == 3 || std::abs(column->difference) < 0.2) break;
    const char* sense = column->difference > 0 ? "high " : "low ";
    parts.push_back(column->level.empty()
                        ? sense + column->column
                        : (column->difference > 0 ? "" : "not ") + column->column + " = " + column->level);
  }
  return parts.empty() ? "like the rest" : join(parts, ", ");
}

/// The rule of a region where it describes it well, else what differs there.
std::string where_text(const Diagnosis& d, std::size_t k) {
  constexpr double kGood = 0.6;
  if (k >= d.rules.regions.size()) return what_differs(d.regions[k]);
  const Rule& rule = d.rules.regions[k];
  const bool good = !rule.conditions.empty() && std::min(rule.coverage, rule.precision) >= kGood;
  return good ? rule.text() : what_differs(d.regions[k]);
}

}  // namespace

void PartitionRows::header(CsvWriter& out) const {
  const uword experts = model_.members.front().count();
  for (const std::string& name : carried_) out.text(name);
  if (carried_.empty()) out.text("row");
  out.text("expert");
  gate_header(model_, out);
  if (has_target_) {
    numbered(out, "responsibility", experts);
    out.text("log_density");
  }
  out.text("gate_entropy").text("boundary");
  if (has_target_) out.text("outlier");
  out.end_row();
}

void PartitionRows::rows(const Scored& scored, std::uint64_t first, CsvWriter& out) const {
  const Prediction& p = scored.prediction;
  constexpr std::size_t kLetters = 21, kMost = std::size_t{4} << 20;  // of a number, with its comma
  out.reserve(std::min<std::size_t>(kMost, kLetters * scored.rows.rows * (2 * p.gate.n_cols + 6)));
  for (uword i = 0; i < scored.rows.rows; ++i) {
    for (std::size_t j = 0; j < carried_.size(); ++j) out.text(scored.rows.carried[j][i]);
    if (carried_.empty()) out.count(first + i + 1);
    out.count(p.expert[i] + 1);
    gate_cells(model_, p, i, out);
    const bool known = p.has_target && std::isfinite(p.log_density[i]);
    if (has_target_) {
      for (uword k = 0; k < p.gate.n_cols; ++k) out.number(known ? p.responsibility(i, k) : NAN);
      out.number(known ? p.log_density[i] : NAN);
    }
    const PartitionRow& row = scored.partition[i];
    out.number(row.gate_entropy).count(row.boundary);
    if (has_target_) {
      if (known) {
        out.count(row.outlier);
      } else {
        out.empty();
      }
    }
    out.end_row();
  }
}

std::string experts_csv(const Model& model, const Diagnosis& d) {
  const bool classes = classifies(model);
  CsvWriter out;
  out.text("expert").text("share").text("effective_rows").text("rows_won");
  if (classes) {
    for (const std::string& label : model.schema.target.labels) out.text("share_" + label);
    out.text("error_rate");
  }
  std::vector<std::vector<Spread>> further;  // of each target
  for (uword j = 0; !classes && j < model.schema.targets(); ++j) {
    const std::string of = target_suffix(model.schema, j);
    for (const char* name : {"target_mean", "target_sd", "noise", "rmse"}) out.text(name + of);
    further.push_back(further_spreads(model, j));
    for (const Spread& spread : further.back()) out.text(spread.key + of);
  }
  out.end_row();
  for (std::size_t k = 0; k < d.regions.size(); ++k) {
    const Region& r = d.regions[k];
    // Without a target nothing is known about it.
    const auto known = [&](double value) { return d.has_target ? value : NAN; };
    out.count(k + 1).number(r.share).number(r.effective_rows).number(r.rows_won);
    if (classes) {
      for (std::size_t c = 0; c < model.schema.target.labels.size(); ++c)
        out.number(c < r.class_shares.size() ? known(r.class_shares[c]) : NAN);
      out.number(known(r.targets[0].error));
    } else {
      for (std::size_t j = 0; j < r.targets.size(); ++j) {
        const RegionTarget& t = r.targets[j];
        out.number(known(t.mean)).number(known(t.sd)).number(t.noise).number(known(t.error));
        for (const Spread& spread : further[j]) out.number(spread.of_expert[k]);
      }
    }
    out.end_row();
  }
  return out.take();
}

std::string coefficients_csv(const Diagnosis& d) {
  CsvWriter out;
  for (const char* name :
       {"part", "expert", "output", "term", "estimate", "standardised", "standard_error", "z", "p"})
    out.text(name);
  out.end_row();
  for (const Coefficient& c : d.coefficients)
    out.text(c.part)
        .count(c.expert + 1)
        .text(c.output)
        .text(c.term)
        .number(c.estimate)
        .number(c.standardised)
        .number(c.standard_error)
        .number(c.z())
        .number(c.p())
        .end_row();
  return out.take();
}

std::string regions_csv(const Diagnosis& d) {
  CsvWriter out;
  for (const char* name : {"region", "column", "level", "mean", "sd", "q05", "q25", "q50", "q75", "q95",
                           "difference", "missing"})
    out.text(name);
  out.end_row();
  for (std::size_t k = 0; k < d.regions.size(); ++k)
    for (const RegionColumn& c : d.regions[k].columns) {
      const bool level = !c.level.empty();
      out.count(k + 1).text(c.column).text(c.level).number(c.mean);
      for (const double value : {c.sd, c.q05, c.q25, c.q50, c.q75, c.q95}) out.number(level ? NAN : value);
      out.number(c.difference).number(c.missing).end_row();
    }
  return out.take();
}

namespace {

/// A rule is words for people, who may open the file in a spreadsheet: it never looks like a formula there.
std::string rule_cell(const Rule& rule) {
  const std::string text = rule.text();
  const bool formula = text.find_first_of("=+-@\t\r") == 0;
  return formula ? "(" + text + ")" : text;
}

}  // namespace

std::string rules_csv(const Diagnosis& d) {
  CsvWriter out;
  for (const char* name : {"region", "rule", "conditions", "coverage", "precision", "lift"}) out.text(name);
  out.end_row();
  for (std::size_t k = 0; k < d.rules.regions.size(); ++k) {
    const Rule& rule = d.rules.regions[k];
    out.count(k + 1).text(rule_cell(rule)).count(rule.conditions.size());
    out.number(rule.coverage).number(rule.precision).number(rule.lift).end_row();
  }
  return out.take();
}

std::string gate_csv(const Diagnosis& d) {
  CsvWriter out;
  for (const char* name : {"region", "other", "term", "coefficient"}) out.text(name);
  out.end_row();
  // Scores are against the last expert, which has none of its own.
  std::vector<std::vector<const Coefficient*>> score;
  for (const Coefficient& c : d.coefficients) {
    if (c.part != "gate") continue;
    score.resize(std::max<std::size_t>(score.size(), c.expert + 1));
    score[c.expert].push_back(&c);
  }
  if (score.size() + 1 > kMostBoundaries) return out.take();
  for (std::size_t a = 0; a < score.size(); ++a)
    for (std::size_t b = a + 1; b <= score.size(); ++b)
      for (std::size_t t = 0; t < score[a].size(); ++t)
        out.count(a + 1)
            .count(b + 1)
            .text(score[a][t]->term)
            .number(score[a][t]->estimate - (b < score.size() ? score[b][t]->estimate : 0))
            .end_row();
  return out.take();
}

Json summary_json(const Model& model, const Diagnosis& d) {
  const Provenance& p = model.provenance;
  Json json;
  json["rows"] = d.rows;
  json["has_target"] = d.has_target;
  json["experts"] = experts_of(model);
  Json& utilisation = json["utilisation"] = Json::array();
  for (std::size_t k = 0; k < d.regions.size(); ++k) {
    const Region& r = d.regions[k];
    utilisation.push_back({{"expert", k + 1},
                           {"share", json_number(r.share)},
                           {"effective_rows", json_number(r.effective_rows)},
                           {"rows_won", json_number(r.rows_won)}});
  }
  json["load_balance"] = {{"cv_squared", json_number(d.load_cv2)},
                          {"max_over_mean", json_number(d.max_over_mean)}};
  json["gate_entropy"] = json_number(d.gate_entropy);
  json["gate_entropy_max"] = std::log(static_cast<double>(d.regions.size()));
  json["ensemble"] = {{"members", model.members.size()}, {"spread", json_number(d.member_spread)}};
  json["boundary_share"] = json_number(d.boundary_share);
  json["outlier_share"] = d.has_target ? json_number(d.outlier_share) : Json(nullptr);
  json["rules"] = {
      {"fidelity", json_number(d.rules.fidelity)}, {"leaves", d.rules.leaves}, {"rows", d.rules.rows}};
  json["dead_experts"] = Json::array();
  for (const uword k : d.dead) json["dead_experts"].push_back(k + 1);
  json["routing"] = {{"picks", d.routing.picks},
                     {"load_cv_squared", json_number(d.routing.load_cv2)},
                     {"max_over_mean", json_number(d.routing.max_over_mean)},
                     {"load_entropy", json_number(d.routing.load_entropy)},
                     {"dead", d.routing.dead.size()},
                     {"mutual_information", json_number(d.routing.mutual_information)},
                     {"label_entropy", json_number(d.routing.label_entropy)}};
  json["fit"] = {{"status", p.status},
                 {"log_likelihood", json_number(p.log_likelihood)},
                 {"log_likelihood_one_expert", json_number(p.single_log_likelihood)},
                 {"parameters", json_number(p.parameters)},
                 {"effective_parameters", json_number(p.effective_parameters)},
                 {"aic", json_number(p.aic)},
                 {"bic", json_number(p.bic)},
                 {"icl", json_number(p.icl)}};
  json["metrics"] = d.has_target ? metrics_json(d.metrics) : Json(nullptr);
  Json calibration = nullptr;
  if (d.has_target && classifies(model)) calibration = {{"ece", json_number(d.metrics.ece)}};
  if (d.has_target && !classifies(model)) calibration = coverage_json(d.metrics);
  json["calibration"] = std::move(calibration);
  return json;
}

namespace {

constexpr std::size_t kMostRegions = 12;

/// A line for each region; its rule takes at most `room` characters, with 0 there are no rules.
std::string regions_table(const Model& model, const Diagnosis& d, std::size_t room) {
  const bool classes = classifies(model);
  TextTable table;
  using enum TextTable::Align;
  for (const char* heading : {"expert", "share"}) table.column(heading, right);
  table.column("");
  table.column("rows", right);
  const bool blocks = output_blocks();
  double largest = 0;
  for (const Region& r : d.regions) largest = std::max(largest, r.share);
  std::vector<std::vector<Spread>> all;  // of each target
  for (uword j = 0; !classes && j < model.schema.targets(); ++j) {
    const std::string of =
        model.schema.targets() > 1 ? shorten(model.schema.target_at(j).name, 12) + " " : "";
    if (d.has_target) table.column(of + "mean", right);
    all.push_back(spreads(model, j));
    for (const Spread& spread : all.back())
      table.column(spread.key == "sd" ? "noise" : spread.heading, right);
    if (d.has_target) table.column("rmse", right);
  }
  if (d.has_target && classes) table.column("error", right);
  if (room > 0) table.column("where");
  for (std::size_t k = 0; k < std::min(kMostRegions, d.regions.size()); ++k) {
    const Region& r = d.regions[k];
    std::vector<std::string> cells = {std::to_string(k + 1), percent(r.share),
                                      bar(r.share, largest, kBarWidth, blocks),
                                      brief_amount(r.effective_rows)};
    for (std::size_t j = 0; j < all.size(); ++j) {
      if (d.has_target) cells.push_back(brief(r.targets[j].mean, 4));
      for (const Spread& spread : all[j]) cells.push_back(brief(spread.of_expert[k], 4));
      if (d.has_target) cells.push_back(brief(r.targets[j].error, 4));
    }
    if (d.has_target && classes) cells.push_back(percent(r.targets[0].error));
    if (room > 0) cells.push_back(shorten(where_text(d, k), room));
    table.row(std::move(cells));
  }
  return table.text();
}

/// What the table leaves of a terminal's line for the rules.
std::size_t room_for_rules(const Model& model, const Diagnosis& d) {
  constexpr std::size_t kLeast = 20, kUsual = 44;
  if (!output_is_terminal()) return kUsual;
  const std::string bare = regions_table(model, d, 0);
  const auto width = static_cast<std::size_t>(output_width());
  const std::size_t used = display_width(bare.substr(0, bare.find('\n'))) + 2;
  return std::clamp(width > used ? width - used : 0, kLeast, kUsual);
}

}  // namespace

std::string diagnosis_text(const Model& model, const Diagnosis& d) {
  std::string text = counted(d.rows, "row") + ", " + counted(d.regions.size(), "expert") + ", target " +
                     target_names(model.schema) + (d.has_target ? "" : " (not in the data)") + "\n" +
                     regions_table(model, d, room_for_rules(model, d));
  constexpr std::size_t kMostEquations = 6, kMostTerms = 4;
  if (d.regions.size() > kMostRegions)
    text += "... and " + counted(d.regions.size() - kMostRegions, "more expert") + "\n";
  text += expert_equations_text(model, static_cast<std::size_t>(output_width()), kMostTerms, kMostEquations);
  text += "boundary " + percent(d.boundary_share) + " of rows, gate entropy " +
          brief_amount(d.gate_entropy, 3) + ", largest share " + brief(d.max_over_mean, 3) +
          " times the mean\n";
  if (model.members.size() > 1)
    text += "ensemble of " + counted(model.members.size(), "member") + ", mean spread between them " +
            brief(d.member_spread, 4) + "; the partition is that of the first\n";
  if (d.rules.regions.size() > 1)
    text += "rules name the expert of " + percent(d.rules.fidelity) + " of rows" +
            (d.rules.fidelity < 0.9 ? ": the regions are not boxes, take them as hints" : "") + "\n";
  if (d.has_target)
    text += "outliers " + percent(d.outlier_share) + " of rows; " + metrics_line(d.metrics) + "\n";
  if (!d.dead.empty()) {
    std::vector<std::string> dead;
    for (const uword k : d.dead) dead.push_back(std::to_string(k + 1));
    text += "idle experts: " + join(dead, ", ") + "\n";
  }
  return text;
}

}  // namespace moekit::cli
