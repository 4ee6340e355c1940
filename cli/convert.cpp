#include <CLI/CLI.hpp>

#include "app.hpp"
#include "block_file_text.hpp"
#include "interrupt.hpp"
#include "moekit/block_file.hpp"
#include "moekit/error.hpp"
#include "output.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct ConvertArgs {
  std::string data, output;
  std::vector<std::string> drop, text;
  FormatArgs format;
};

int run_convert(const ConvertArgs& args, const Common& common, Console& console) {
  if (args.output == "-")
    throw Error(Errc::usage, "-o -: a block file is read in any order, so it needs a name");
  check_output(args.output, {args.data});
  ConvertOptions options;
  options.format = csv_format(args.format);
  options.drop = column_names(args.drop, args.data, options.format);
  options.text = column_names(args.text, args.data, options.format);
  Compute compute;
  compute.threads = common.threads;
  // The file grows under another name, which a signal must not leave behind.
  const UninterruptedSection section;
  options.on_rows = [&console](std::uint64_t rows) {
    check_interrupted();
    console.progress("convert: " + std::to_string(rows) + " rows");
  };
  const BlockFileInfo info = convert_table(args.data, args.output, options, compute);
  console.clear_progress();
  console.print(args.output + ": " + counted(info.rows, "row") + ", " + counted(info.bytes, "byte") + "\n" +
                block_file_text(info, console.verbose() ? SIZE_MAX : 30));
  return 0;
}

}  // namespace

void add_convert(CLI::App& program, Command& command) {
  auto args = std::make_shared<ConvertArgs>();
  CLI::App* sub = add_command(program, "convert",
                              "Import a table once into a block file: read fast, and larger than memory.",
                              "  moekit convert data/diamonds.csv.gz -o diamonds.mkb\n"
                              "  moekit convert data/pb52_jacobs4.csv --text Speaker -o vowels.mkb\n"
                              "  cat data/mcycle.csv | moekit convert - -o mcycle.mkb\n",
                              command.common);
  sub->add_option("DATA", args->data, "CSV or TSV, plain, .gz or .zst; - is standard input")->required();
  sub->add_option("-o,--output", args->output, "the block file")
      ->type_name("OUT.mkb")
      ->required()
      ->group("Output");
  add_list(*sub, "--drop", args->drop, "columns to leave out")->type_name("A,B")->group("Reading data");
  add_list(*sub, "--text", args->text,
           "columns whose spelling is kept even where it is that of numbers: identifiers, codes such as 007")
      ->type_name("A,B")
      ->group("Reading data");
  add_format(*sub, args->format, "found");
  sub->callback([args, &command] {
    command.run = [args, &command](Console& console) { return run_convert(*args, command.common, console); };
  });
}

}  // namespace moekit::cli
