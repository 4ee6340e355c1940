#include "moekit/explain.hpp"

#include <CLI/CLI.hpp>
#include <cmath>

#include "app.hpp"
#include "json_output.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "moekit/targets.hpp"
#include "output.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

struct ExplainArgs {
  std::string model, data;
  std::uint64_t row = 0;
  bool json = false;
  ReadingArgs reading;
};

Json parts_json(const std::vector<InputPart>& parts) {
  Json list = Json::array();
  for (const InputPart& part : parts)
    list.push_back({{"column", part.column},
                    {"value", part.value.empty() ? Json(nullptr) : Json(part.value)},
                    {"amount", json_number(part.amount)}});
  return list;
}

Json explanation_json(const Explanation& e) {
  Json json{{"prediction", json_number(e.prediction)}};
  if (!e.label.empty()) json["label"] = e.label;
  json["experts"] = Json::array();
  for (const ExpertPart& part : e.experts)
    json["experts"].push_back({{"member", part.member + 1},
                               {"expert", part.expert + 1},
                               {"weight", json_number(part.weight)},
                               {"answer", json_number(part.answer)},
                               {"contribution", json_number(part.contribution)}});
  json["inputs"] = {{"of", e.of.empty() ? Json("prediction") : Json(e.of)},
                    {"base", json_number(e.base)},
                    {"total", json_number(e.total)},
                    {"parts", parts_json(e.inputs)}};
  json["gate"] = {{"leading", e.leading + 1},
                  {"second", e.second + 1},
                  {"log_odds", json_number(e.log_odds)},
                  {"base", json_number(e.gate_base)},
                  {"parts", parts_json(e.gate)}};
  json["crossings"] = Json::array();
  for (const Crossing& c : e.crossings)
    json["crossings"].push_back({{"column", c.column},
                                 {"from", c.from},
                                 {"to", c.to},
                                 {"expert", c.expert + 1},
                                 {"distance", json_number(c.distance)}});
  return json;
}

/// "age = 40: +3.2, sex = Male: -0.4".
std::string parts_text(const std::vector<InputPart>& parts, std::size_t most) {
  std::vector<std::string> texts;
  for (const InputPart& part : parts) {
    if (texts.size() == most) {
      texts.push_back("... (" + counted(parts.size() - most, "more input") + ")");
      break;
    }
    texts.push_back(part.column + " = " + (part.value.empty() ? "missing" : part.value) + ": " +
                    (part.amount < 0 ? "" : "+") + brief(part.amount, 4));
  }
  return join(texts, ", ");
}

std::string explanation_text(const Model& model, const Explanation& e, bool all) {
  const std::size_t most = all ? SIZE_MAX : 8, width = static_cast<std::size_t>(output_width());
  const auto line = [&](const std::string& text) { return wrapped(text, width, 0, 4) + "\n"; };
  std::string text = line(
      "'" + model.schema.target.name + "': prediction " +
      (e.label.empty() ? brief(e.prediction, 6) : e.label + " with probability " + brief(e.prediction, 4)));
  TextTable table;
  using enum TextTable::Align;
  if (model.members.size() > 1) table.column("member", right);
  for (const char* heading : {"expert", "weight", "answers", "contributes"}) table.column(heading, right);
  std::size_t shown = 0;
  double rest = 0;
  for (const ExpertPart& part : e.experts) {
    if (shown++ >= most) {
      rest += part.contribution;
      continue;
    }
    std::vector<std::string> cells = {std::to_string(part.expert + 1), percent(part.weight),
                                      brief(part.answer, 5), brief(part.contribution, 5)};
    if (model.members.size() > 1) cells.insert(cells.begin(), std::to_string(part.member + 1));
    table.row(std::move(cells));
  }
  text += table.text(2);
  if (e.experts.size() > most)
    text +=
        line("  ... and " + counted(e.experts.size() - most, "more expert") + ", together " + brief(rest, 5));
  if (!e.inputs.empty())
    text +=
        line("inputs: " + (e.of.empty() ? std::string("the prediction") : e.of) + " is " + brief(e.total, 6) +
             " = " + brief(e.base, 6) + " for the average row, then " + parts_text(e.inputs, most));
  if (model.members.front().count() < 2) return text;
  std::string gate = "gate: expert " + std::to_string(e.leading + 1);
  if (std::isfinite(e.log_odds))
    gate += " rather than " + std::to_string(e.second + 1) + " by log odds of " + brief(e.log_odds, 4);
  else
    gate += " alone";
  if (!e.gate.empty())
    gate += " = " + brief(e.gate_base, 4) + " for the average row, then " + parts_text(e.gate, most);
  text += line(gate);
  if (e.crossings.empty())
    text += "no single input, changed within reach, would hand the row to another expert\n";
  for (std::size_t i = 0; i < std::min<std::size_t>(e.crossings.size(), all ? SIZE_MAX : 3); ++i) {
    const Crossing& c = e.crossings[i];
    double to = 0;
    text += line("boundary: " + c.column + " from " + (c.from.empty() ? "missing" : c.from) + " to " +
                 (parse_number(c.to, to) ? brief(to, 5) : c.to) + " would hand the row to expert " +
                 std::to_string(c.expert + 1));
  }
  return text;
}

/// Row number `row`, counted from 1 as in partition.csv.
BlockData find_row(RowReader& reader, const ExplainArgs& args, uword& at) {
  std::uint64_t seen = 0;
  for (BlockData block; reader.next(block);) {
    if (args.row <= seen + block.rows) {
      at = args.row - seen - 1;
      return block;
    }
    seen += block.rows;
  }
  throw Error(Errc::data, args.data + ": has " + counted(seen, "row") + ", so there is no row " +
                              std::to_string(args.row) + "; give a smaller --row");
}

int run_explain(const ExplainArgs& args, Console& console) {
  const Model model = load_model(args.model);
  RowOptions options = row_options(args.reading, model);
  options.positive_target = false;  // the target is not looked at
  RowReader reader(args.data, model.schema, options);
  for (const std::string& note : reader.notes()) console.note(note);
  uword at = 0;
  const BlockData block = find_row(reader, args, at);
  Json json{{"row", args.row}};
  std::string text = "row " + std::to_string(args.row) + "\n";
  for (uword j = 0; j < model.schema.targets(); ++j) {
    const Model one = model.schema.targets() > 1 ? marginal(model, j) : model;
    const Explanation e = explain(one, target_block(block.view(), j), at);
    json["targets"][one.schema.target.name] = explanation_json(e);
    text += explanation_text(one, e, console.verbose());
  }
  write_standard_output(args.json ? json_text(json) : text);
  return 0;
}

}  // namespace

void add_explain(CLI::App& program, Command& command) {
  auto args = std::make_shared<ExplainArgs>();
  CLI::App* sub = add_command(program, "explain", "How one row was scored.",
                              "  moekit explain mcycle.moe data/mcycle.csv --row 17\n"
                              "  moekit explain vowels.moe data/pb52_jacobs4.csv --row 3 --json\n",
                              command.common);
  sub->add_option("MODEL", args->model, "model file that train wrote")->required();
  add_data(*sub, args->data);
  sub->add_option("--row", args->row, "which row, counted from 1 behind the header")
      ->type_name("N")
      ->check(whole_number(1, UINT64_MAX))
      ->required()
      ->group("Output");
  sub->add_flag("--json", args->json, "one JSON object instead of a text")->group("Output");
  add_reading(*sub, args->reading, "the model's");
  sub->callback(
      [args, &command] { command.run = [args](Console& console) { return run_explain(*args, console); }; });
}

}  // namespace moekit::cli
