#include "report_slices.hpp"

#include <algorithm>
#include <cmath>

#include "moekit/targets.hpp"
#include "report_json.hpp"
#include "typical_row.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kCurvePoints = 200, kEffectPoints = 33;

bool classifies(const Model& model) { return model.schema.target.task == Task::classification; }

/// Values along an axis: of a category its levels.
std::vector<double> points_along(const Column& column, const Range& range, std::size_t count) {
  std::vector<double> out;
  if (column.kind == ColumnKind::categorical) {
    for (std::size_t l = 0; l < std::min(column.levels.size(), kMostDrawn); ++l)
      out.push_back(static_cast<double>(l));
    return out;
  }
  for (std::size_t i = 0; i < count; ++i)
    out.push_back(std::lerp(range.low, range.high, static_cast<double>(i) / static_cast<double>(count - 1)));
  return out;
}

void append(Json& list, const mat& values, uword column) {
  for (uword i = 0; i < values.n_rows; ++i) list.push_back(plotted(values(i, column)));
}

Json lists(std::size_t count) { return std::vector<Json>(count, Json::array()); }

/// The model with every expert asked about every row: under routing the others' answers mean nothing.
Model unrouted(const Model& model) {
  Model out = model;
  for (Mixture& member : out.members) member.routing = {};
  return out;
}

/// Along the input for one target (j) that is a number.
Json number_curves(const Model& model, const Column& column, const std::vector<double>& x) {
  const Model all = unrouted(model);
  const uword experts = std::min(model.members.front().count(), kRegionsDrawn);
  Json mean = Json::array(), low = Json::array(), high = Json::array(), expert = lists(experts);
  const TypicalRow base = typical_row(model.schema);
  in_blocks(
      model.schema, x.size(),
      [&](std::size_t i) {
        TypicalRow row = base;
        row.set(column, x[i]);
        return row;
      },
      [&](const Block& block, std::size_t) {
        const Prediction p = predict(model, block);
        const mat reach = intervals(model, block, 0.9);
        append(mean, mat(p.mean), 0);
        append(low, reach, 0);
        append(high, reach, 1);
        const mat answers = predict(all, block).component_mean;
        for (uword k = 0; k < experts; ++k) append(expert[k], answers, k);
      });
  return {{"target", short_name(model.schema.target.name)},
          {"mean", std::move(mean)},
          {"low", std::move(low)},
          {"high", std::move(high)},
          {"experts", std::move(expert)}};
}

}  // namespace

std::vector<Telling> telling_inputs(const Model& model, const Diagnosis& diagnosis) {
  const std::vector<Column>& inputs = model.schema.inputs;
  std::vector<Telling> out;
  std::size_t entry = 0;
  for (std::size_t j = 0; j < inputs.size(); ++j) {
    const bool numeric = inputs[j].kind == ColumnKind::numeric;
    const std::size_t entries = numeric ? 1 : inputs[j].levels.size();
    double between = 0, all = 0;
    for (std::size_t e = entry; e < entry + entries; ++e) {
      double share = 0, overall = 0;  // between regions, of a variance of 1; of the level
      for (const Region& r : diagnosis.regions) {
        const double off = (1 - r.share) * r.columns[e].difference;  // mean in the region - mean, in sd
        share += r.share * off * off;
        overall += r.share * r.columns[e].mean;
      }
      const double variance = numeric ? 1 : overall * (1 - overall);
      if (std::isfinite(share)) between += variance * share;
      all += variance;
    }
    entry += entries;
    out.push_back({j, all > 0 ? between / all : 0});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Telling& a, const Telling& b) { return a.share > b.share; });
  return out;
}

Json curves(const Model& model, std::size_t input, const Range& range) {
  const Column& column = model.schema.inputs[input];
  const std::vector<double> x = points_along(column, range, kCurvePoints);
  const uword experts = std::min(model.members.front().count(), kRegionsDrawn);
  Json out = {{"input", input}, {"x", plotted(x)}};
  Json& gate = out["gate"] = lists(experts);
  const std::size_t classes = std::min(model.schema.target.labels.size(), kMostDrawn);
  Json probability = lists(classes);
  const TypicalRow base = typical_row(model.schema);
  in_blocks(
      model.schema, x.size(),
      [&](std::size_t i) {
        TypicalRow row = base;
        row.set(column, x[i]);
        return row;
      },
      [&](const Block& block, std::size_t) {
        const Prediction p = predict(model, block);
        for (uword k = 0; k < experts; ++k) append(gate[k], p.gate, k);
        for (uword c = 0; c < classes; ++c) append(probability[c], p.probability, c);
      });
  if (classifies(model)) {
    for (std::size_t c = 0; c < classes; ++c)
      out["classes"].push_back(
          {{"label", short_name(model.schema.target.labels[c])}, {"probability", probability[c]}});
    return out;
  }
  if (model.schema.targets() == 1) {
    out["targets"].push_back(number_curves(model, column, x));
    return out;
  }
  for (uword j = 0; j < model.schema.targets(); ++j)
    out["targets"].push_back(number_curves(marginal(model, j), column, x));
  return out;
}

namespace {

/// Where the rows of the effects of one input stand: all points for region 0, then for region 1, ...
struct EffectRows {
  const Column& column;
  const std::vector<TypicalRow>& typical;  // by region
  const std::vector<double>& x;
  std::size_t count() const { return typical.size() * x.size(); }
  uword region(std::size_t i) const { return i / x.size(); }
  TypicalRow row(std::size_t i) const {
    TypicalRow out = typical[region(i)];
    out.set(column, x[i % x.size()]);
    return out;
  }
};

/// effects[region] of numbers: the expert's mean.
Json number_effects(const Model& model, const EffectRows& rows) {
  Json out = lists(rows.typical.size());
  in_blocks(
      model.schema, rows.count(), [&](std::size_t i) { return rows.row(i); },
      [&](const Block& block, std::size_t first) {
        const Prediction p = predict(model, block);
        for (uword i = 0; i < block.rows; ++i) {
          const uword k = rows.region(first + i);
          out[k].push_back(plotted(p.component_mean(i, k)));
        }
      });
  return out;
}

/// effects[class][region]: the expert's probability of the class.
std::vector<Json> class_effects(const Model& model, const EffectRows& rows, std::size_t classes) {
  std::vector<Json> out(classes, lists(rows.typical.size()));
  const Mixture& mixture = model.members.front();
  Batch batch;
  arma::cube probability;
  in_blocks(
      model.schema, rows.count(), [&](std::size_t i) { return rows.row(i); },
      [&](const Block& block, std::size_t first) {
        mixture.prepare(model.schema, block, batch);
        mixture.experts->class_probabilities(batch, probability);
        for (uword i = 0; i < block.rows; ++i) {
          const uword k = rows.region(first + i);
          for (std::size_t c = 0; c < classes; ++c) out[c][k].push_back(plotted(probability(i, c, k)));
        }
      });
  return out;
}

}  // namespace

Json partial_effects(const Model& model, const Diagnosis& diagnosis, const std::vector<std::size_t>& inputs,
                     const std::vector<Range>& ranges) {
  const Model all = unrouted(model);
  const uword experts = std::min(model.members.front().count(), kRegionsDrawn);
  std::vector<TypicalRow> typical;
  for (uword k = 0; k < experts; ++k) typical.push_back(typical_row(model.schema, diagnosis.regions[k]));
  std::vector<Model> marginals;
  for (uword j = 0; model.schema.targets() > 1 && j < model.schema.targets(); ++j)
    marginals.push_back(marginal(all, j));
  Json out = Json::array();
  for (const std::size_t input : inputs) {
    const Column& column = model.schema.inputs[input];
    const std::vector<double> x = points_along(column, ranges[input], kEffectPoints);
    const EffectRows rows{column, typical, x};
    Json entry = {{"input", input}, {"x", plotted(x)}};
    Json& of = entry["of"] = Json::array();
    const auto add = [&](const std::string& name, Json regions) {
      of.push_back({{"name", short_name(name)}, {"regions", std::move(regions)}});
    };
    if (classifies(model)) {
      const std::vector<std::string>& labels = model.schema.target.labels;
      std::vector<Json> effects = class_effects(all, rows, std::min(labels.size(), kMostDrawn));
      for (std::size_t c = 0; c < effects.size(); ++c) add(labels[c], std::move(effects[c]));
    } else if (marginals.empty()) {
      add(model.schema.target.name, number_effects(all, rows));
    } else {
      for (const Model& each : marginals) add(each.schema.target.name, number_effects(each, rows));
    }
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace moekit::cli
