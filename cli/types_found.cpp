#include "types_found.hpp"

#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kLevelsWidth = 44;

std::string range(double min, double max) { return brief(min, 6) + " .. " + brief(max, 6); }

std::string levels_text(const std::vector<std::string>& levels, std::string_view noun) {
  return shorten(counted(levels.size(), noun) + ": " + join(levels, ", "), kLevelsWidth);
}

std::string target_text(const Target& target) {
  if (target.task == Task::classification)
    return shorten(std::to_string(target.labels.size()) +
                       (target.labels.size() == 1 ? " class: " : " classes: ") + join(target.labels, ", "),
                   kLevelsWidth);
  return range(target.min, target.max);
}

Json target_json(const Target& target) {
  Json json{{"name", target.name}, {"task", std::string(task_name(target.task))}};
  if (target.task == Task::classification) {
    json["labels"] = target.labels;
  } else {
    json["mean"] = json_number(target.mean);
    json["sd"] = json_number(target.sd);
    json["min"] = json_number(target.min);
    json["max"] = json_number(target.max);
  }
  return json;
}

}  // namespace

namespace {

/// Of a name within a line for people.
constexpr std::size_t kLongestName = 120;

}  // namespace

std::string target_names(const Schema& schema) {
  std::vector<std::string> names;
  for (uword j = 0; j < schema.targets(); ++j)
    names.push_back("'" + harmless(shorten(schema.target_at(j).name, kLongestName)) + "'");
  return join(names, " and ");
}

std::string target_suffix(const Schema& schema, uword j) {
  return schema.targets() > 1 ? "_" + schema.target_at(j).name : "";
}

std::string types_text(const Schema& schema, std::size_t most) {
  TextTable table;
  table.column("column");
  table.column("kind");
  table.column("missing", TextTable::Align::right);
  table.column("values");
  std::size_t shown = 0;
  for (const Column& column : schema.inputs) {
    if (shown++ == most) break;
    const bool numeric = column.kind == ColumnKind::numeric;
    std::string values = numeric ? range(column.min, column.max) : levels_text(column.levels, "level");
    if (numeric && column.missing >= 1) values = "none present";
    table.row({shorten(column.name, 24), numeric ? "numeric" : "categorical",
               column.missing > 0 ? percent(column.missing) : "-", values});
  }
  for (uword j = 0; j < schema.targets(); ++j) {
    const Target& target = schema.target_at(j);
    table.row({shorten(target.name, 24), "target, " + std::string(task_name(target.task)), "",
               target_text(target)});
  }
  if (!schema.weights.empty()) table.row({shorten(schema.weights, 24), "weight", "", ""});
  for (const std::string& id : schema.id) table.row({shorten(id, 24), "id", "", ""});
  return table.text() + more_line(schema.inputs.size(), most, "input");
}

Json types_json(const Schema& schema) {
  Json inputs = Json::array();
  for (const Column& column : schema.inputs) {
    Json entry{{"name", column.name}};
    entry["kind"] = column.kind == ColumnKind::numeric ? "numeric" : "categorical";
    entry["missing"] = json_number(column.missing);
    if (column.kind == ColumnKind::numeric) {
      entry["mean"] = json_number(column.mean);
      entry["sd"] = json_number(column.sd);
      entry["min"] = json_number(column.min);
      entry["max"] = json_number(column.max);
    } else {
      entry["levels"] = column.levels;
    }
    inputs.push_back(std::move(entry));
  }
  Json json{{"inputs", std::move(inputs)}, {"target", target_json(schema.target)}};
  for (const Target& target : schema.further_targets) json["further_targets"].push_back(target_json(target));
  json["id"] = schema.id;
  json["weights"] = schema.weights.empty() ? Json(nullptr) : Json(schema.weights);
  return json;
}

}  // namespace moekit::cli
