#include "row_labels.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>

#include "checks.hpp"
#include "moekit/error.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

constexpr std::size_t kMostLabels = 10000;

std::vector<std::string> sorted_names(const std::map<std::string, std::uint32_t>& found) {
  std::vector<std::string> names;
  bool numbers = true;
  double value = 0;
  for (const auto& [name, index] : found) {
    names.push_back(name);
    numbers = numbers && parse_number(name, value);
  }
  if (numbers)
    std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
      double x = 0, y = 0;
      parse_number(a, x);
      parse_number(b, y);
      return x < y;
    });
  return names;
}

}  // namespace

RowLabels read_labels(const std::string& path, std::uint64_t rows) {
  std::ifstream in(path);
  if (!in) throw Error(Errc::no_input, path + ": cannot be read: " + std::strerror(errno));
  std::vector<std::string> texts;
  std::map<std::string, std::uint32_t> found;
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty())
      throw Error(Errc::data,
                  path + ":" + std::to_string(texts.size() + 1) + ": a label is lacking; give every row one");
    found.emplace(line, 0);
    if (found.size() > kMostLabels)
      throw Error(Errc::data,
                  path + ":" + std::to_string(texts.size() + 1) +
                      ": more than 10000 different labels; give groups of rows, not names of rows");
    texts.push_back(std::move(line));
    if (texts.size() > rows) break;
  }
  if (in.bad()) throw Error(Errc::io, path + ": reading failed");
  if (texts.size() != rows)
    throw Error(Errc::data, path + ": " +
                                (texts.size() > rows ? "more labels than the "
                                                     : std::to_string(texts.size()) + " labels for ") +
                                counted(rows, "row") + " of the input; give one a row");
  RowLabels labels;
  labels.names = sorted_names(found);
  for (std::uint32_t i = 0; i < labels.names.size(); ++i) found[labels.names[i]] = i;
  for (const std::string& text : texts) labels.of_row.push_back(found[text]);
  return labels;
}

}  // namespace moekit::cli
