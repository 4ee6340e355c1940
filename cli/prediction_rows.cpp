#include "prediction_rows.hpp"

#include "moekit/error.hpp"
#include "text.hpp"

namespace moekit::cli {

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
  std::vector<double> levels;
  if (columns_.interval) levels = {(1 - *columns_.interval) / 2, (1 + *columns_.interval) / 2};
  levels.insert(levels.end(), columns_.quantiles.begin(), columns_.quantiles.end());
  levels_ = vec(levels);
}

void PredictionRows::header(CsvWriter& out) const {
  for (const std::string& name : carried_) out.text(name);
  out.text("prediction");
  if (classes_) {
    for (const std::string& label : model_.schema.target.labels) out.text("p_" + label);
  } else {
    out.text("sd");
  }
  if (columns_.interval) out.text("lower").text("upper");
  for (const double level : columns_.quantiles) out.text("q" + shortest(level));
  const uword experts = model_.members.front().count();
  if (columns_.regions) {
    out.text("expert");
    for (uword k = 1; k <= experts; ++k) out.text("gate_" + std::to_string(k));
  }
  if (columns_.components)
    for (uword k = 1; k <= experts; ++k) out.text("mean_" + std::to_string(k));
  if (columns_.density) out.text("log_density");
  out.end_row();
}

void PredictionRows::rows(const Scored& scored, CsvWriter& out) const {
  const Prediction& p = scored.prediction;
  mat quantile;
  if (levels_.n_elem) quantile = quantiles(model_, scored.rows.view(), levels_);
  for (uword i = 0; i < scored.rows.rows; ++i) {
    for (std::size_t j = 0; j < carried_.size(); ++j) out.text(scored.rows.carried[j][i]);
    if (classes_) {
      out.text(model_.schema.target.labels[p.label[i]]);
      for (uword c = 0; c < p.probability.n_cols; ++c) out.number(p.probability(i, c));
    } else {
      out.number(p.mean[i]).number(p.sd[i]);
    }
    for (uword q = 0; q < quantile.n_cols; ++q) out.number(quantile(i, q));
    if (columns_.regions) {
      out.count(p.expert[i] + 1);
      for (uword k = 0; k < p.gate.n_cols; ++k) out.number(p.gate(i, k));
    }
    if (columns_.components)
      for (uword k = 0; k < p.component_mean.n_cols; ++k) out.number(p.component_mean(i, k));
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
