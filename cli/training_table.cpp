#include "training_table.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "moekit/error.hpp"
#include "moekit/rng.hpp"
#include "text.hpp"
#include "types_found.hpp"

namespace moekit::cli {

namespace {

// Streams of random numbers; the library's own are small numbers.
constexpr std::uint64_t kValidationStream = 0x76616c6964, kConformalStream = 0x636f6e66;

/// Numeric order if all texts are numbers, else by bytes.
void sort_labels(std::vector<std::string>& names) {
  std::vector<std::pair<double, std::string>> numbers;
  for (const std::string& name : names) {
    double value = 0;
    if (!parse_number(name, value)) {
      std::sort(names.begin(), names.end());
      return;
    }
    numbers.emplace_back(value, name);
  }
  std::sort(numbers.begin(), numbers.end());
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = numbers[i].second;
}

}  // namespace

Table read_training_table(const FitArgs& args, const ReadOptions& options, const Common& common,
                          Console& console) {
  Compute compute;
  compute.threads = common.threads;
  Table table = read_table(args.data, options, compute);
  const std::string name = args.data == "-" ? "standard input" : args.data;
  const std::uint64_t used = table.rows().rows();
  std::string rows = name + ": " + counted(table.rows_read, "row");
  if (used != table.rows_read) rows += ", " + std::to_string(used) + " used";
  console.print(rows + "\n" + types_text(table.schema, console.verbose() ? SIZE_MAX : 30));
  for (const std::string& note : table.notes) console.note(note);
  if (used == 0)
    throw Error(Errc::data, name + ": no row is left to fit to; check the target '" +
                                table.schema.target.name + "' and the weights");
  return table;
}

std::vector<std::string> carried_texts(const Table& table, const std::string& column) {
  const auto at = std::find(table.carried.begin(), table.carried.end(), column);
  if (at == table.carried.end()) throw Error(Errc::internal, "column '" + column + "' was not carried");
  const std::size_t index = static_cast<std::size_t>(at - table.carried.begin());
  std::vector<std::string> texts;
  texts.reserve(table.source.rows());
  for (std::size_t b = 0; b < table.source.blocks(); ++b) {
    const auto& block = table.source.data(b).carried[index];
    texts.insert(texts.end(), block.begin(), block.end());
  }
  return texts;
}

Grouping group_rows(const Table& table, const std::string& file, const std::string& column) {
  const std::vector<std::string> texts = carried_texts(table, column);
  Grouping grouping;
  grouping.names = texts;
  std::sort(grouping.names.begin(), grouping.names.end());
  grouping.names.erase(std::unique(grouping.names.begin(), grouping.names.end()), grouping.names.end());
  sort_labels(grouping.names);
  std::map<std::string, std::uint32_t> number;
  for (const std::string& name : grouping.names) number.emplace(name, number.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) {
      const auto& lines = table.source.data(i / kBlockRows).line;
      // A table in memory need not know its lines.
      const std::string where =
          lines.empty() ? ": used row " + std::to_string(i + 1) : ":" + std::to_string(lines[i % kBlockRows]);
      throw Error(Errc::data, (file == "-" ? "standard input" : file) + where + ": column '" + column +
                                  "' is empty; every row needs a value there");
    }
    grouping.of_row.push_back(number.at(texts[i]));
  }
  return grouping;
}

Split split_rows(std::uint64_t rows, double fraction, const std::string& option, std::uint64_t seed) {
  const auto held = static_cast<std::uint64_t>(std::llround(fraction * static_cast<double>(rows)));
  if (held == 0 || held >= rows)
    throw Error(Errc::usage, option + ": a share of " + shortest(fraction) + " of " + counted(rows, "row") +
                                 " leaves one part empty; choose another share");
  const std::uint64_t stream = option == "--conformal" ? kConformalStream : kValidationStream;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> key(rows);
  for (std::uint64_t i = 0; i < rows; ++i) key[i] = {Rng(seed, stream, i).next(), i};
  std::nth_element(key.begin(), key.begin() + static_cast<std::ptrdiff_t>(held), key.end());
  std::vector<bool> is_held(rows, false);
  for (std::uint64_t i = 0; i < held; ++i) is_held[key[i].second] = true;
  Split split;
  for (std::uint64_t i = 0; i < rows; ++i) (is_held[i] ? split.held : split.train).push_back(i);
  return split;
}

OnIteration progress_of_fit(Console& console, const std::string& before) {
  return [&console, before](const Iteration& at) {
    std::string line = before;
    if (at.start < 0) {
      line += "preparing";
    } else {
      line += "start " + std::to_string(at.start + 1) + " of " + std::to_string(at.starts) + ", pass " +
              std::to_string(at.index) + ", log-likelihood " + brief(at.log_likelihood, 8);
    }
    console.progress(line);
    return Next::proceed;
  };
}

}  // namespace moekit::cli
