#include "report_data.hpp"

#include <algorithm>
#include <cmath>

#include "diagnosis_files.hpp"
#include "moekit/flags.hpp"
#include "report_json.hpp"
#include "report_model.hpp"
#include "report_slices.hpp"
#include "spread.hpp"
#include "svg.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

/// Inputs whose values and maps the report shows, and those whose effects: the most telling ones.
constexpr std::size_t kInputsShown = 40, kEffectsShown = 12;
constexpr std::size_t kRegionsListed = 256, kTypicalShown = 6, kRuleWidth = 400;
constexpr double kTypicalLeast = 0.1;  // standardised difference

bool classifies(const Model& model) { return model.schema.target.task == Task::classification; }

Json row_number(double value, const Target& target) {
  if (!std::isfinite(value)) return nullptr;
  if (target.task != Task::classification) return plotted(value);
  return short_name(target.labels[static_cast<std::size_t>(value)]);
}

double input_value(const Column& column, const ReportRow& row) {
  if (column.kind == ColumnKind::numeric) return row.numeric[column.index];
  const std::uint32_t code = row.levels[column.index];
  return code < column.levels.size() ? code : std::nan("");
}

/// From the rows that were sampled; a few wild values do not squeeze all others into a corner.
Range range_of(const Column& column, const std::vector<ReportRow>& rows) {
  if (column.kind == ColumnKind::categorical)
    return {-0.5, static_cast<double>(std::min(column.levels.size(), kMostDrawn)) - 0.5};
  std::vector<double> values;
  for (const ReportRow& row : rows)
    if (const double x = input_value(column, row); std::isfinite(x)) values.push_back(x);
  if (values.empty()) values = {column.min, column.max};
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double level) {
    return values[static_cast<std::size_t>(level * static_cast<double>(values.size() - 1))];
  };
  Range out = {values.front(), values.back()};
  const double low = quantile(0.005), high = quantile(0.995), width = high - low;
  if (width > 0) {
    out.low = std::max(out.low, low - width);
    out.high = std::min(out.high, high + width);
  }
  if (!std::isfinite(out.low) || !std::isfinite(out.high)) return {-0.5, 0.5};  // no value at all
  double margin = 0.03 * out.high - 0.03 * out.low;
  if (!(margin > 0)) margin = std::max(0.5, 1e-6 * std::abs(out.low));  // one value: whatever shows it
  return {out.low - margin, out.high + margin};
}

Json inputs_json(const Schema& schema, const std::vector<Telling>& telling,
                 const std::vector<Range>& ranges) {
  Json out = Json::array();
  for (std::size_t i = 0; i < std::min(kInputsShown, telling.size()); ++i) {
    const Column& column = schema.inputs[telling[i].input];
    Json entry = {{"input", telling[i].input},
                  {"name", short_name(column.name)},
                  {"kind", column.kind == ColumnKind::numeric ? "numeric" : "categorical"},
                  {"telling", telling[i].share},
                  {"low", plotted(ranges[telling[i].input].low)},
                  {"high", plotted(ranges[telling[i].input].high)}};
    for (std::size_t l = 0; l < std::min(column.levels.size(), kMostDrawn); ++l)
      entry["levels"].push_back(short_name(column.levels[l]));
    out.push_back(std::move(entry));
  }
  return out;
}

bool two_levels(const Schema& schema, const std::string& name) {
  const Column* column = schema.find(name);
  return column && column->levels.size() == 2;
}

/// What sets a region apart: the columns, or levels, with the largest standardised differences.
Json typical_json(const Schema& schema, const Region& region) {
  std::vector<const RegionColumn*> order;
  for (const RegionColumn& c : region.columns)
    if (std::isfinite(c.difference)) order.push_back(&c);
  std::stable_sort(order.begin(), order.end(), [](const RegionColumn* a, const RegionColumn* b) {
    return std::abs(a->difference) > std::abs(b->difference);
  });
  Json out = Json::array();
  std::vector<std::string> said;  // categories: their other levels say little that is new
  for (const RegionColumn* c : order) {
    if (out.size() == kTypicalShown || std::abs(c->difference) < kTypicalLeast) break;
    if (!c->level.empty()) {
      if (std::ranges::count(said, c->column) == (two_levels(schema, c->column) ? 1 : 2)) continue;
      said.push_back(c->column);
    }
    Json entry = {{"column", short_name(c->column)}, {"mean", json_number(c->mean)}};
    if (c->level.empty()) {
      entry["q05"] = json_number(c->q05);
      entry["q50"] = json_number(c->q50);
      entry["q95"] = json_number(c->q95);
    } else {
      entry["level"] = short_name(c->level);
    }
    entry["difference"] = json_number(c->difference);
    out.push_back(std::move(entry));
  }
  return out;
}

Json regions_json(const Model& model, const Diagnosis& d) {
  Json out = Json::array();
  std::vector<std::vector<Spread>> spread_of;
  for (uword j = 0; j < model.schema.targets(); ++j) spread_of.push_back(spreads(model, j));
  for (std::size_t k = 0; k < std::min(kRegionsListed, d.regions.size()); ++k) {
    const Region& r = d.regions[k];
    Json entry = {{"region", k + 1},
                  {"share", json_number(r.share)},
                  {"effective_rows", json_number(r.effective_rows)},
                  {"rows_won", json_number(r.rows_won)},
                  {"dead", std::find(d.dead.begin(), d.dead.end(), k) != d.dead.end()}};
    Json& targets = entry["targets"] = Json::array();
    for (uword j = 0; j < r.targets.size(); ++j) {
      const RegionTarget& t = r.targets[j];
      Json of = {{"target", short_name(model.schema.target_at(j).name)}};
      if (d.has_target && !classifies(model)) {
        of["mean"] = json_number(t.mean);
        of["sd"] = json_number(t.sd);
      }
      for (const Spread& spread : spread_of[j])
        of[spread.key == "sd" ? "noise" : spread.key] = json_number(spread.of_expert[k]);
      if (d.has_target) of["error"] = json_number(t.error);
      targets.push_back(std::move(of));
    }
    if (d.has_target && classifies(model))
      for (std::size_t c = 0; c < std::min(kMostDrawn, r.class_shares.size()); ++c)
        entry["class_shares"].push_back(json_number(r.class_shares[c]));
    if (k < d.rules.regions.size() && !d.rules.regions[k].conditions.empty()) {
      const Rule& rule = d.rules.regions[k];
      entry["rule"] = {{"text", shorten(rule.text(), kRuleWidth)},
                       {"coverage", json_number(rule.coverage)},
                       {"precision", json_number(rule.precision)},
                       {"lift", json_number(rule.lift)}};
    }
    entry["typical"] = typical_json(model.schema, r);
    out.push_back(std::move(entry));
  }
  return out;
}

/// One list a column, so that names are written once.
Json sample_json(const Model& model, const std::vector<ReportRow>& rows,
                 const std::vector<Telling>& telling) {
  const Schema& schema = model.schema;
  Json row = Json::array(), region = Json::array();
  std::vector<double> gate, entropy, density;
  for (const ReportRow& r : rows) {
    row.push_back(r.row + 1);
    region.push_back(r.expert + 1);
    gate.push_back(r.gate);
    entropy.push_back(r.entropy);
    density.push_back(r.log_density);
  }
  Json out = {{"row", std::move(row)}, {"region", std::move(region)}};
  out["gate"] = plotted(gate);
  out["entropy"] = plotted(entropy);
  out["log_density"] = plotted(density);
  Json& inputs = out["inputs"] = Json::array();
  for (std::size_t i = 0; i < std::min(kInputsShown, telling.size()); ++i) {
    std::vector<double> values;
    for (const ReportRow& r : rows) values.push_back(input_value(schema.inputs[telling[i].input], r));
    inputs.push_back(plotted(values));
  }
  Json& targets = out["targets"] = Json::array();
  for (uword j = 0; j < schema.targets(); ++j) {
    std::vector<double> y, mean, sd;
    for (const ReportRow& r : rows) {
      y.push_back(r.target[j]);
      mean.push_back(r.mean[j]);
      sd.push_back(r.sd[j]);
    }
    targets.push_back({{"target", plotted(y)}, {"prediction", plotted(mean)}, {"sd", plotted(sd)}});
  }
  return out;
}

Json look_json(const Model& model, const TopRows& of, const std::vector<Telling>& telling) {
  const Schema& schema = model.schema;
  constexpr std::size_t kInputs = 4;
  Json out = Json::array();
  for (const ReportRow& r : of.rows()) {
    Json entry = {{"row", r.row + 1},
                  {"id", r.id},
                  {"region", r.expert + 1},
                  {"gate", plotted(r.gate)},
                  {"log_density", plotted(r.log_density)},
                  {"responsible", r.responsible + 1},
                  {"extrapolation", plotted(r.extrapolation)}};
    Json target = Json::array(), prediction = Json::array(), sd = Json::array(), inputs = Json::array();
    for (uword j = 0; j < schema.targets(); ++j) {
      target.push_back(row_number(r.target[j], schema.target_at(j)));
      prediction.push_back(row_number(r.mean[j], schema.target_at(j)));
      sd.push_back(plotted(r.sd[j]));
    }
    for (std::size_t i = 0; i < std::min(kInputs, telling.size()); ++i) {
      const Column& column = schema.inputs[telling[i].input];
      const double value = input_value(column, r);
      const bool level = column.kind == ColumnKind::categorical && std::isfinite(value);
      inputs.push_back(level ? Json(short_name(column.levels[static_cast<std::size_t>(value)]))
                             : plotted(value));
    }
    entry["target"] = std::move(target);
    entry["prediction"] = std::move(prediction);
    entry["sd"] = std::move(sd);
    entry["inputs"] = std::move(inputs);
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

ReportData::ReportData(const Model& model, std::vector<std::string> carried, std::uint64_t seed)
    : model_(model), carried_(std::move(carried)), blank_(model), sums_(model), sample_(model, seed) {}

void ReportData::measure(Scored& scored) const {
  bool known = true;
  for (const Mixture& member : model_.members) known = known && member.shapes.known();
  if (known) scored.extrapolation = extrapolation(model_, scored.rows.view());
  const auto sums = std::make_shared<ReportSums>(blank_);
  sums->add(scored);
  scored.sums = sums;
}

void ReportData::add(const Scored& scored) {
  sums_.merge(*scored.sums);
  sample_.add(scored, rows_);
  look_.add(model_, scored, rows_);
  rows_ += scored.rows.rows;
}

Json ReportData::json(const Diagnosis& diagnosis, const Compute& compute) const {
  const std::vector<ReportRow> rows = sample_.rows();
  const std::vector<Telling> telling = telling_inputs(model_, diagnosis);
  std::vector<Range> ranges;
  for (const Column& column : model_.schema.inputs) ranges.push_back(range_of(column, rows));
  std::vector<std::size_t> shown;
  for (std::size_t i = 0; i < std::min(kInputsShown, telling.size()); ++i) shown.push_back(telling[i].input);

  Json out;
  out["model"] = model_json(model_);
  out["summary"] = summary_json(model_, diagnosis);
  out["inputs"] = inputs_json(model_.schema, telling, ranges);
  out["region_count"] = diagnosis.regions.size();
  out["regions"] = regions_json(model_, diagnosis);
  out["experts"] = expert_texts(model_, diagnosis.coefficients, kRegionsDrawn);
  out["coefficients"] = coefficients_json(diagnosis.coefficients);
  out["gate"] = gate_json(model_, diagnosis.coefficients);
  out["colours"] = Json::array();
  for (std::size_t k = 0; k < out["regions"].size(); ++k) out["colours"].push_back(region_colour(k));
  out["entropy"] = sums_.entropy();
  out["calibration"] = sums_.calibration();
  out["confusion"] = sums_.confusion();
  out["maps"] = gate_maps(model_, shown, ranges, compute);
  out["curves"] = model_.schema.inputs.size() == 1 ? curves(model_, 0, ranges[0]) : Json(nullptr);
  shown.resize(std::min(shown.size(), kEffectsShown));
  out["effects"] = partial_effects(model_, diagnosis, shown, ranges);
  out["sample"] = sample_json(model_, rows, telling);
  Json names = Json::array();
  for (const std::string& name : carried_) names.push_back(short_name(name));
  out["look"] = {{"ids", std::move(names)},
                 {"outliers", look_json(model_, look_.outliers, telling)},
                 {"far", look_json(model_, look_.far, telling)},
                 {"wrong", look_json(model_, look_.wrong, telling)},
                 {"other_region", look_json(model_, look_.other_region, telling)}};
  return out;
}

}  // namespace moekit::cli
