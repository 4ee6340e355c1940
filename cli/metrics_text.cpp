#include "metrics_text.hpp"

#include "text.hpp"

namespace moekit::cli {

namespace {

struct Entry {
  const char* key;
  double value;
  const char* meaning;
};

std::vector<Entry> entries(const Metrics& m) {
  std::vector<Entry> list;
  const bool classes = m.task == Task::classification;
  if (!m.targets.empty()) return {{"nll", m.nll, "mean of -ln density of all targets together"}};
  list.push_back(
      {"nll", m.nll, classes ? "mean of -ln probability of the true class" : "mean of -ln density"});
  if (classes) {
    list.push_back({"accuracy", m.accuracy, "share of rows whose most probable class is the true one"});
    list.push_back({"log_loss", m.log_loss, "the same as nll, by its usual name"});
    if (m.auc) list.push_back({"auc", *m.auc, "area under the ROC curve"});
    if (m.auc_error > 0)
      list.push_back({"auc_error", m.auc_error, "auc is at most so far off: rows were counted in fine bins"});
    list.push_back({"brier", m.brier, "squared distance of the probabilities to the label"});
    list.push_back({"ece", m.ece, "calibration error, 15 bins of the top probability"});
    return list;
  }
  list.push_back({"rmse", m.rmse, "root mean squared error"});
  list.push_back({"mae", m.mae, "mean absolute error"});
  list.push_back({"r2", m.r2, "share of the variance explained"});
  list.push_back({"coverage_90", m.coverage_90, "share of rows inside the central 90 % interval"});
  list.push_back({"crps", m.crps, "continuous ranked probability score"});
  if (m.nll_grid)
    list.push_back({"nll_grid", *m.nll_grid, "nll of the target's grid cells: the target is rounded"});
  return list;
}

}  // namespace

Json metrics_json(const Metrics& metrics) {
  Json json;
  json["n"] = metrics.rows;
  json["task"] = std::string(task_name(metrics.task));
  for (const Entry& entry : entries(metrics)) json[entry.key] = json_number(entry.value);
  for (const Metrics& each : metrics.targets) json["targets"][each.target] = metrics_json(each);
  return json;
}

std::string metrics_text(const Metrics& metrics) {
  TextTable table;
  table.column("");
  table.column("", TextTable::Align::right);
  table.column("");
  table.row({"rows", std::to_string(metrics.rows), ""});
  for (const Entry& entry : entries(metrics)) table.row({entry.key, brief(entry.value, 5), entry.meaning});
  for (const Metrics& each : metrics.targets) {
    table.row({"'" + shorten(each.target, 24) + "'", "", ""});
    for (const Entry& entry : entries(each))
      table.row({"  " + std::string(entry.key), brief(entry.value, 5), entry.meaning});
  }
  return table.text(0, false);
}

std::string conformal_note(const Conformal& conformal, double level) {
  if (!conformal.known() || conformal.enough(level)) return {};
  return "intervals of " + brief(100 * level, 8) + " % need more calibration rows than the " +
         std::to_string(conformal.rows) +
         " of this model: they reach as far as the widest of these and hold " +
         percent(conformal.highest_level());
}

std::string metrics_line(const Metrics& metrics) {
  std::string line = counted(metrics.rows, "row") + ", nll " + brief(metrics.nll, 5);
  if (metrics.task == Task::classification) return line + ", accuracy " + brief(metrics.accuracy, 4);
  for (const Metrics& each : metrics.targets)
    line += ", rmse of '" + shorten(each.target, 24) + "' " + brief(each.rmse, 5);
  if (!metrics.targets.empty()) return line;
  if (metrics.nll_grid) line += ", nll_grid " + brief(*metrics.nll_grid, 5);
  return line + ", rmse " + brief(metrics.rmse, 5);
}

}  // namespace moekit::cli
