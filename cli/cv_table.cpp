#include "cv_table.hpp"

#include <algorithm>
#include <cmath>

#include "text.hpp"

namespace moekit::cli {

CvTable::CvTable(const Schema& schema, std::uint32_t folds, std::vector<CvResult> results,
                 const std::vector<std::uint32_t>& cluster)
    : classes_(schema.target.task == Task::classification),
      task_(task_name(schema.target.task)),
      grouped_(!cluster.empty()),
      rows_(results.front().scores.nll.size()),
      folds_(folds) {
  for (uword j = 0; j < schema.targets(); ++j) targets_.push_back(schema.target_at(j).name);
  const HeldOutScores& one = results.front().scores;
  for (const CvResult& result : results) {
    const HeldOutScores& s = result.scores;
    Row row{result.experts,
            result.found,
            weighted_mean(s.nll, s.weight, cluster),
            weighted_mean(s.loss, s.weight, cluster),
            paired_difference(s.nll, one.nll, s.weight, cluster),
            result.seconds};
    if (classes_) {
      row.error.value = 1 - row.error.value;  // of wrong answers: accuracy
    } else {
      row.error = root(row.error);
    }
    table_.push_back(row);
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < table_.size(); ++i)
    if (table_[i].nll.value < table_[best].nll.value) best = i;
  const double error = std::isfinite(table_[best].nll.error) ? table_[best].nll.error : 0;
  while (chosen_ < best && !(table_[chosen_].nll.value <= table_[best].nll.value + error)) ++chosen_;
}

/// "4", or "auto: 3-5".
std::string CvTable::Row::experts_text() const {
  if (experts > 0) return std::to_string(experts);
  const auto [least, most] = std::minmax_element(found.begin(), found.end());
  return "auto: " + std::to_string(*least) + (*least < *most ? "-" + std::to_string(*most) : "");
}

Json CvTable::json() const {
  Json results = Json::array();
  const auto put = [](Json& entry, const std::string& key, const Estimate& estimate) {
    entry[key] = json_number(estimate.value);
    entry[key + "_se"] = json_number(estimate.error);
  };
  for (const Row& row : table_) {
    Json entry{{"experts", row.experts_json()}};
    if (row.experts == 0) entry["found"] = row.found;
    put(entry, "nll", row.nll);
    put(entry, classes_ ? "accuracy" : "rmse", row.error);
    if (classes_) put(entry, "log_loss", row.nll);
    put(entry, "nll_less_one_expert", row.gain);
    entry["seconds"] = json_number(row.seconds);
    results.push_back(std::move(entry));
  }
  Json json{{"n", rows_}, {"folds", folds_}};
  json["target"] = targets_.size() == 1 ? Json(targets_[0]) : Json(targets_);
  json["task"] = task_;
  json["standard_errors"] = grouped_ ? "groups" : "rows";
  json["results"] = std::move(results);
  json["choice"] = table_[chosen_].experts_json();
  json["rule"] = "fewest experts whose nll is within one standard error of the best";
  return json;
}

std::string CvTable::text(const Console& console) const {
  TextTable table;
  using enum TextTable::Align;
  table.column("");
  for (const char* heading :
       {"experts", "nll", "+-", classes_ ? "accuracy" : "rmse", "+-", "nll - K=1", "+-", "time"})
    table.column(heading, right);
  for (std::size_t i = 0; i < table_.size(); ++i) {
    const Row& row = table_[i];
    std::vector<std::string> cells = {i == chosen_ ? "*" : "", row.experts_text()};
    for (const Estimate* estimate : {&row.nll, &row.error, &row.gain}) {
      const bool own = estimate == &row.gain && i == 0;
      cells.push_back(own ? "-" : brief(estimate->value, 5));
      cells.push_back(own ? "" : brief(estimate->error, 2));
    }
    cells.push_back(seconds_text(row.seconds));
    table.row(std::move(cells));
  }
  std::string out = console.out_heading("Held-out figures for '" + join(targets_, "' and '") + "', " +
                                        std::to_string(folds_) + " folds, " + counted(rows_, "row")) +
                    "\n";
  const std::string lines = table.text();
  for (std::size_t begin = 0; begin < lines.size();) {
    const std::size_t end = lines.find('\n', begin);
    const std::string line = lines.substr(begin, end - begin);
    out += (line.starts_with("*") ? console.out_highlight(line) : line) + "\n";
    begin = end + 1;
  }
  return out +
         wrapped(
             "* the choice: fewest experts whose nll is within one standard error of the best. +- is a "
             "standard error over " +
                 std::string(grouped_ ? "groups" : "rows") +
                 "; nll - K=1 compares with one expert row by row.",
             80, 0, 0) +
         "\n";
}

}  // namespace moekit::cli
