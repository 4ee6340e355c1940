#include <CLI/CLI.hpp>

#include "app.hpp"
#include "block_file_text.hpp"
#include "equations.hpp"
#include "fit_report.hpp"
#include "moekit/model_io.hpp"
#include "output.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

struct InspectArgs {
  std::string model;
  bool json = false;
};

std::string hexadecimal(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

Json inspect_json(const Model& model) {
  Json json = fit_report_json({model, {}, model.schema.rows, model.provenance.notes, std::nullopt});
  // What only the moment of the fit knew.
  for (const char* key : {"seconds", "rows_read", "held_out"}) json.erase(key);
  json["fingerprint"] = hexadecimal(model.provenance.fingerprint);
  json["coefficients"] = Json::array();
  for (const Coefficient& c : coefficients(model))
    json["coefficients"].push_back({{"part", c.part},
                                    {"expert", c.expert + 1},
                                    {"output", c.output.empty() ? Json(nullptr) : Json(c.output)},
                                    {"term", c.term},
                                    {"estimate", json_number(c.estimate)},
                                    {"standardised", json_number(c.standardised)},
                                    {"standard_error", json_number(c.standard_error)},
                                    {"z", json_number(c.z())},
                                    {"p", json_number(c.p())}});
  return json;
}

std::string options_text(const Provenance& provenance, std::size_t width) {
  std::string text;
  for (const auto& [name, value] : provenance.options)
    text += (text.empty() ? "--" : " --") + name + (value == "true" ? "" : " " + value);
  if (provenance.seed) text += " --seed " + std::to_string(provenance.seed);
  return text.empty() ? "" : "options         " + wrapped(text, width, 16, 16) + "\n";
}

std::string inspect_text(const Model& model, const std::string& name, const Console& console) {
  const bool all = console.verbose();
  const auto width = static_cast<std::size_t>(output_width());
  const Provenance& p = model.provenance;
  std::string text = console.out_heading(name) + ": " + model_line(model) + ", " +
                     std::string(task_name(model.schema.target.task)) + " of " + target_names(model.schema) +
                     "\n";
  text += "\n" + console.out_heading("Columns") + "\n" + types_text(model.schema, all ? SIZE_MAX : 30);
  TextTable fit;
  fit.column("");
  fit.column("");
  fit.row({"rows", std::to_string(model.schema.rows)});
  add_criteria(model, fit);
  fit.row({"made by", "moekit " + p.version + ", data fingerprint " + hexadecimal(p.fingerprint)});
  text += "\n" + console.out_heading("Fit") + "\n" + fit.text(0, false) + options_text(p, width);
  for (const std::string& note : p.notes) text += wrapped("note: " + note, width, 0, 6) + "\n";
  text += "\n" + console.out_heading("Experts") + "\n" +
          experts_text(model, all ? SIZE_MAX : 16, output_blocks());
  text += equations_text(model, width, all ? SIZE_MAX : 8, all ? SIZE_MAX : 16);
  if (!p.growth.empty())
    text += "\n" + console.out_heading("Growth") + ": mean log-likelihood of rows held back\n" +
            growth_text(model);
  if (!p.starts.empty() && all) text += "\n" + console.out_heading("Starts") + "\n" + starts_text(p);
  return text;
}

int run_inspect(const InspectArgs& args, Console& console) {
  if (is_block_file(args.model)) {
    const BlockFileInfo info = block_file_info(args.model);
    write_standard_output(args.json ? json_text(block_file_json(info))
                                    : console.out_heading(args.model) + ": block file, " +
                                          counted(info.rows, "row") + "\n\n" +
                                          block_file_text(info, console.verbose() ? SIZE_MAX : 30));
    return 0;
  }
  const Model model = load_model(args.model);
  write_standard_output(args.json ? json_text(inspect_json(model))
                                  : inspect_text(model, args.model, console));
  return 0;
}

}  // namespace

void add_inspect(CLI::App& program, Command& command) {
  auto args = std::make_shared<InspectArgs>();
  CLI::App* sub = add_command(program, "inspect", "What is in a model file, or in a block file.",
                              "  moekit inspect mcycle.moe\n"
                              "  moekit inspect vowels.moe -v\n"
                              "  moekit inspect mcycle.moe --json\n",
                              command.common);
  sub->add_option("MODEL", args->model, "model file that train wrote, or a block file")->required();
  sub->add_flag("--json", args->json, "one JSON object instead of a text")->group("Output");
  sub->callback(
      [args, &command] { command.run = [args](Console& console) { return run_inspect(*args, console); }; });
}

}  // namespace moekit::cli
