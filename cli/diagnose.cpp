#include "moekit/diagnose.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>

#include "app.hpp"
#include "diagnosis_files.hpp"
#include "figures.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "output.hpp"
#include "report_data.hpp"
#include "report_page.hpp"
#include "routing_text.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct DiagnoseArgs {
  std::string model, data, directory;
  std::vector<std::string> id;
  std::string label;
  bool json = false, svg = false;
  ReadingArgs reading;
};

/// The folder of the results; removed again when it is new and nothing came into it.
class Folder {
 public:
  explicit Folder(const std::string& path) : path_(path) {
    std::error_code failure;
    created_ = std::filesystem::create_directory(path_, failure);
    if (failure)
      throw Error(Errc::cannot_create, path_ + ": the directory can't be created: " + failure.message());
    if (!std::filesystem::is_directory(path_, failure))
      throw Error(Errc::cannot_create, path_ + ": is not a directory; name another for the results");
  }
  ~Folder() {
    std::error_code ignored;
    if (created_) std::filesystem::remove(path_, ignored);  // only goes when it is empty
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (std::filesystem::path(path_) / name).string(); }

 private:
  std::string path_;
  bool created_ = false;
};

/// The routing for people, where rows do not go to every expert.
std::string routing_part(const Model& model, const Diagnosis& diagnosis) {
  constexpr std::size_t kMost = 12;
  const Mixture& m = model.members.front();
  if (!m.routing.active(m.count()) && model.neurons.count == 0) return {};
  return "\n" + routing_text(diagnosis.routing, 1, static_cast<std::size_t>(output_width()), kMost);
}

/// The groups of rows that --label names.
class Groups {
 public:
  /// Goes through the file once, to know the names before the first row is routed.
  Groups(const DiagnoseArgs& args, const Model& model, RowOptions options) : column_(args.label) {
    if (column_.empty()) return;
    constexpr std::size_t kMost = 1000;
    if (args.data == "-")
      throw Error(Errc::usage, "--label needs a file, which is read twice; standard input cannot be");
    options.id = {column_};
    RowReader reader(args.data, model.schema, options);
    for (BlockData block; reader.next(block); block = {})
      for (const std::string& text : block.carried.front()) {
        if (code_.emplace(text, 0).second && code_.size() > kMost)
          throw Error(Errc::data, args.data + ": --label: '" + column_ + "' holds over " +
                                      std::to_string(kMost) + " different values, so it names no groups");
      }
    for (auto& [text, code] : code_) {
      code = static_cast<std::uint32_t>(names_.size());
      names_.push_back(text);
    }
  }
  const std::vector<std::string>& names() const { return names_; }
  /// Of the rows of a block, which carries the column as its last.
  std::vector<std::uint32_t> of(const BlockData& rows) const {
    std::vector<std::uint32_t> out;
    if (column_.empty()) return out;
    for (const std::string& text : rows.carried.back()) out.push_back(code_.at(text));
    return out;
  }

 private:
  std::string column_;
  std::map<std::string, std::uint32_t> code_;
  std::vector<std::string> names_;
};

int run_diagnose(const DiagnoseArgs& args, const Common& common, Console& console) {
  const Model model = load_model(args.model);
  RowOptions options = row_options(args.reading, model);
  options.id = column_names(args.id, args.data, options.format.value_or(model.schema.format));
  const Groups groups(args, model, options);
  if (!args.label.empty()) {
    if (args.id.empty()) options.id = model.schema.id;
    std::erase(options.id, args.label);
    options.id.push_back(args.label);
  }
  RowReader reader(args.data, model.schema, options);
  for (const std::string& note : reader.notes()) console.note(note);
  const Folder folder(args.directory);
  check_output(folder.file("partition.csv"), {args.model, args.data});

  const PartitionRows partition(model, reader.carried(), reader.has_target());
  Output output(folder.file("partition.csv"));
  CsvWriter header;
  partition.header(header);
  output.stream() << header.str();
  Diagnoser diagnoser(model, groups.names());
  ReportData report(model, reader.carried(), common.seed);
  Compute compute;
  compute.threads = common.threads;
  std::uint64_t rows = 0;
  scan_rows(
      reader, model, compute,
      [&](Scored& scored) {
        describe(diagnoser, groups.of(scored.rows), scored);
        report.measure(scored);
        CsvWriter lines;
        partition.rows(scored, scored.rows.first, lines);
        scored.text = lines.take();
      },
      [&](Scored& scored) {
        output.stream() << scored.text;
        report.add(scored);
        diagnoser.add(scored.rows.view(), scored.prediction, scored.diagnosis);
        rows += scored.rows.rows;
        console.progress("diagnose: " + std::to_string(rows) + " rows");
      });
  if (rows == 0) throw Error(Errc::data, args.data + ": has no rows; give rows to diagnose");
  const Diagnosis diagnosis = diagnoser.diagnosis(compute);
  console.clear_progress();

  const std::string summary = json_text(summary_json(model, diagnosis));
  // The large file reaches the disk, and the one it replaces goes, while the page is made.
  Json shown;
  std::string page;
  parallel_for(2, compute, [&](std::size_t task) {
    if (task == 0) {
      output.finish();
    } else {
      shown = report.json(diagnosis, compute);
      page = report_page(shown);
    }
  });
  write_text(folder.file("experts.csv"), experts_csv(model, diagnosis));
  write_text(folder.file("coefficients.csv"), coefficients_csv(diagnosis));
  write_text(folder.file("regions.csv"), regions_csv(diagnosis));
  write_text(folder.file("rules.csv"), rules_csv(diagnosis));
  write_text(folder.file("gate.csv"), gate_csv(diagnosis));
  write_text(folder.file("summary.json"), summary);
  write_text(folder.file("routing.json"), json_text(routing_json(diagnosis.routing, 1)));
  write_text(folder.file("report.html"), page);
  if (args.svg)
    for (const Figure& figure : figures(shown)) write_text(folder.file(figure.name + ".svg"), figure.svg);
  if (console.verbose()) console.print(counted(rows, "row") + " scored by " + args.model + "\n");
  write_standard_output(args.json ? summary
                                  : diagnosis_text(model, diagnosis) + routing_part(model, diagnosis));
  return 0;
}

}  // namespace

void add_diagnose(CLI::App& program, Command& command) {
  auto args = std::make_shared<DiagnoseArgs>();
  CLI::App* sub = add_command(
      program, "diagnose", "The partition: who is responsible where, and what it does there.",
      "  moekit diagnose mcycle.moe data/mcycle.csv -o mcycle-diagnosis\n"
      "  moekit diagnose vowels.moe data/pb52_jacobs4.csv -o vowels-diagnosis --id Speaker --json\n",
      command.common);
  sub->add_option("MODEL", args->model, "model file that train wrote")->required();
  add_data(*sub, args->data);
  sub->add_option(
         "-o,--output", args->directory,
         "directory for partition.csv, experts.csv, coefficients.csv, regions.csv, rules.csv, gate.csv, "
         "summary.json, routing.json and report.html; created if needed")
      ->type_name("DIR")
      ->required()
      ->group("Output");
  sub->add_flag("--json", args->json, "summary.json on standard output too, instead of a text")
      ->group("Output");
  sub->add_flag("--svg", args->svg,
                "the main plots as pictures too: map.svg or curves.svg, shares.svg, "
                "calibration.svg")
      ->group("Output");
  add_list(*sub, "--id", args->id, "columns to carry to partition.csv (default: those of training)")
      ->type_name("A,B")
      ->group("Output");
  sub->add_option(
         "--label", args->label,
         "column whose values are compared with the routing: what do the experts learn? (default: the "
         "classes of the target)")
      ->type_name("COLUMN")
      ->group("Output");
  add_reading(*sub, args->reading, "the model's");
  sub->callback([args, &command] {
    command.run = [args, &command](Console& console) { return run_diagnose(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
