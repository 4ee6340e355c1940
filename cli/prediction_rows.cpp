#include "prediction_rows.hpp"

#include <algorithm>

#include "moekit/error.hpp"
#include "moekit/flags.hpp"
#include "moekit/targets.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

/// Above, a row's picks are written instead of every weight.
constexpr uword kMostGateColumns = 256;

bool by_picks(const Model& model) {
  const Mixture& m = model.members.front();
  return model.neurons.count > 0 || (m.count() > kMostGateColumns && m.routing.active(m.count()));
}

uword most_picks(const Model& model) {
  const RoutingRule& rule = model.members.front().routing;
  if (model.neurons.count > 0)
    return std::min(model.neurons.count, model.neurons.heads * model.neurons.picks);
  return rule.top_k + static_cast<uword>(std::count(rule.shared.begin(), rule.shared.end(), 1));
}

}  // namespace

void gate_header(const Model& model, CsvWriter& out) {
  if (by_picks(model)) {
    for (uword j = 1; j <= most_picks(model); ++j)
      out.text("expert_" + std::to_string(j)).text("weight_" + std::to_string(j));
    return;
  }
  for (uword k = 1; k <= model.members.front().count(); ++k) out.text("gate_" + std::to_string(k));
}

void gate_cells(const Model& model, const Prediction& p, uword row, CsvWriter& out) {
  if (!by_picks(model)) {
    for (uword k = 0; k < p.gate.n_cols; ++k) out.number(p.gate(row, k));
    return;
  }
  for (uword j = 0; j < most_picks(model); ++j) {
    const bool there = j < p.pick.n_cols && p.pick_weight(row, j) > 0;
    if (there) {
      out.count(p.pick(row, j) + 1).number(p.pick_weight(row, j));
    } else {
      out.empty();
      out.empty();
    }
  }
}

PredictionRows::PredictionRows(const Model& model, PredictColumns columns, std::vector<std::string> carried)
    : model_(model),
      columns_(std::move(columns)),
      carried_(std::move(carried)),
      classes_(model.schema.target.task == Task::classification) {
  if (classes_ && (columns_.interval || !columns_.quantiles.empty()))
    throw Error(
        Errc::usage,
        "--quantiles and --interval need a numeric target, and this model classifies; the columns p_<label> "
        "hold its uncertainty");
  if (classes_ && columns_.components)
    throw Error(Errc::usage, "--components needs a numeric target, and this model classifies; leave it out");
  if (columns_.flags)
    for (const Mixture& member : model.members)
      if (!member.shapes.known())
        throw Error(Errc::usage,
                    "--flags: the model file does not say where its regions lie; train the model again");
  levels_ = vec(columns_.quantiles);
  for (uword j = 0; targets() > 1 && j < targets(); ++j) marginals_.push_back(marginal(model, j));
}

void PredictionRows::header(CsvWriter& out) const {
  for (const std::string& name : carried_) out.text(name);
  const uword experts = model_.members.front().count();
  if (classes_) {
    out.text("prediction");
    for (const std::string& label : model_.schema.target.labels) out.text("p_" + label);
  }
  for (uword j = 0; !classes_ && j < targets(); ++j) {
    const std::string of = target_suffix(model_.schema, j);
    out.text("prediction" + of).text("sd" + of);
    if (columns_.interval) out.text("lower" + of).text("upper" + of);
    for (const double level : columns_.quantiles) out.text("q" + shortest(level) + of);
  }
  if (columns_.regions) {
    out.text("expert");
    gate_header(model_, out);
  }
  for (uword j = 0; columns_.components && j < targets(); ++j)
    for (uword k = 1; k <= experts; ++k)
      out.text("mean_" + std::to_string(k) + target_suffix(model_.schema, j));
  if (columns_.flags) {
    for (uword j = 0; !classes_ && j < targets(); ++j)
      out.text("multimodal" + target_suffix(model_.schema, j));
    out.text("out_of_region");
  }
  if (columns_.density) out.text("log_density");
  out.end_row();
}

void PredictionRows::rows(const Scored& scored, CsvWriter& out) const {
  const Prediction& p = scored.prediction;
  const Block block = scored.rows.view();
  std::vector<Extra> extra(classes_ ? 0 : targets());
  for (uword j = 0; j < extra.size(); ++j) {
    const Block own = target_block(block, j);
    if (columns_.interval) extra[j].interval = intervals(model_of(j), own, *columns_.interval);
    if (levels_.n_elem) extra[j].quantile = quantiles(model_of(j), own, levels_);
    if (columns_.flags) extra[j].peaks = multimodal(model_of(j), own);
  }
  const auto of_target = [&](uword j) -> const Prediction& { return targets() > 1 ? p.targets[j] : p; };
  arma::uvec outside;
  if (columns_.flags) outside = out_of_region(model_, block);
  for (uword i = 0; i < scored.rows.rows; ++i) {
    for (std::size_t j = 0; j < carried_.size(); ++j) out.text(scored.rows.carried[j][i]);
    if (classes_) {
      out.text(model_.schema.target.labels[p.label[i]]);
      for (uword c = 0; c < p.probability.n_cols; ++c) out.number(p.probability(i, c));
    }
    for (uword j = 0; j < extra.size(); ++j) {
      out.number(of_target(j).mean[i]).number(of_target(j).sd[i]);
      for (uword q = 0; q < extra[j].interval.n_cols; ++q) out.number(extra[j].interval(i, q));
      for (uword q = 0; q < extra[j].quantile.n_cols; ++q) out.number(extra[j].quantile(i, q));
    }
    if (columns_.regions) {
      out.count(p.expert[i] + 1);
      gate_cells(model_, p, i, out);
    }
    for (uword j = 0; columns_.components && j < extra.size(); ++j)
      for (const double mean : of_target(j).component_mean.row(i)) out.number(mean);
    for (const Extra& each : extra)
      if (columns_.flags) out.count(each.peaks[i]);
    if (columns_.flags) out.count(outside[i]);
    if (columns_.density) {
      if (p.has_target) {
        out.number(p.log_density[i]);
      } else {
        out.empty();
      }
    }
    out.end_row();
  }
}

}  // namespace moekit::cli
