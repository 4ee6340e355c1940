// Names and values of a table that would be markup, formulas, commands to a terminal or invisible: they do no
// harm in any file or text that the program writes, and come back as they were where programs read them.
#include <set>

#include "cli_helpers.hpp"

using namespace moekit::testing;

namespace {

const std::vector<std::string> kInputs = {"<script>alert(1)</script>",
                                          "a\"b'c",
                                          "a,b;c",
                                          "line\nfeed",
                                          "=HYPERLINK(\"http://x\",\"y\")",
                                          "@SUM(A1)",
                                          "-5+1",
                                          std::string(10'000, 'x'),
                                          "\u0633\u0644\u0627\u0645",
                                          "over\u202eride",
                                          "esc\x1b[31mred",
                                          "zero\u200bwidth",
                                          "tab\there"};
const std::vector<std::string> kLevels = {"<img src=x onerror=alert(2)>",
                                          "=cmd|' /C calc'!A0",
                                          "\u202eevil\u202c",
                                          "\x1b[2Jclear\x07",
                                          "l\u2028p\u2029",
                                          "\"quoted\"",
                                          "multi\r\nline",
                                          "\u05e9\u05dc\u05d5\u05dd",
                                          "</script><!--"};
const std::string kCategory = "cat\u202e", kId = "id\x1b]0;t\x07", kTarget = "y=\x1b[1m";

std::string cell(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

/// Two regions by the sign of the formula's column, so that it stands first in their rules.
std::string table() {
  std::string csv;
  for (const std::string& name : kInputs) csv += cell(name) + ",";
  csv += cell(kCategory) + "," + cell(kId) + "," + cell(kTarget) + "\n";
  for (int i = 0; i < 240; ++i) {
    const auto value = [&](std::size_t j) {
      return static_cast<double>((i * (7 + 2 * j) + j) % 101) / 10 - 5;
    };
    for (std::size_t j = 0; j < kInputs.size(); ++j) csv += std::to_string(value(j)) + ",";
    const std::size_t level = static_cast<std::size_t>(i) % kLevels.size();
    const double y = value(4) > 0 ? 20 + 3 * value(1) : -2 * value(1) + static_cast<double>(level % 3);
    csv += cell(kLevels[level]) + "," + cell("id\x1b[31m\u202e" + std::to_string(i)) + "," +
           std::to_string(y) + "\n";
  }
  return csv;
}

/// RFC 4180.
std::vector<std::vector<std::string>> parsed(const std::string& csv) {
  std::vector<std::vector<std::string>> rows(1);
  std::string text;
  bool quoted = false;
  for (std::size_t i = 0; i < csv.size(); ++i) {
    const char c = csv[i];
    if (quoted && c == '"' && i + 1 < csv.size() && csv[i + 1] == '"')
      text += csv[++i];
    else if (c == '"')
      quoted = !quoted;
    else if (quoted || (c != ',' && c != '\n'))
      text += c;
    else {
      rows.back().push_back(std::move(text));
      text.clear();
      if (c == '\n' && i + 1 < csv.size()) rows.emplace_back();
    }
  }
  return rows;
}

/// Nothing but letters and line ends; no marks of direction, no spaces without width.
void check_shown(const std::string& text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20) CHECK(c == '\n');
  for (const char* mark : {"\x7f", "\u202e", "\u202c", "\u200b", "\u2028", "\u2029"}) CHECK(!has(text, mark));
}

}  // namespace

TEST_CASE("hostile names: terminal, CSV files, JSON, page and pictures") {
  const Workshop w;
  w.write("t.csv", table());
  const std::string arguments = " --target $'y=\\x1b[1m' --id $'id\\x1b]0;t\\x07' --restarts 2 -v ";
  const Ran soft = w.shell("moekit train t.csv --experts 2 -o soft.moe" + arguments);
  CAPTURE(soft.err);
  REQUIRE(soft.code == 0);
  REQUIRE(w.shell("moekit train t.csv --experts 2 --gate tree -o tree.moe" + arguments).code == 0);
  check_shown(soft.err);
  for (const std::string model : {"soft", "tree"}) {
    CAPTURE(model);
    for (const std::string& command :
         {"inspect " + model + ".moe", "inspect " + model + ".moe --json",
          "diagnose " + model + ".moe t.csv --svg -o " + model,
          "diagnose " + model + ".moe t.csv --json -o " + model, "explain " + model + ".moe t.csv --row 17",
          "explain " + model + ".moe t.csv --row 17 --json", "evaluate " + model + ".moe t.csv"}) {
      CAPTURE(command);
      const Ran ran = w.run(command);
      CAPTURE(ran.err);
      REQUIRE(ran.code == 0);
      check_shown(ran.out);
      check_shown(ran.err);
      if (has(command, "--json")) json_of(ran.out);
    }
  }
  for (const char* json : {"", " --json"}) {
    const Ran ran = w.run(std::string("compare soft.moe tree.moe t.csv") + json);
    REQUIRE(ran.code == 0);
    check_shown(ran.out);
  }
  const Ran folds =
      w.shell("moekit cv t.csv --target $'y=\\x1b[1m' --drop $'id\\x1b]0;t\\x07' --experts 1 --folds 2");
  REQUIRE(folds.code == 0);
  check_shown(folds.out);
  check_shown(folds.err);
  const Ran refused = w.run("train t.csv --target nothing -o n.moe");
  CHECK(refused.code == 65);
  check_shown(refused.err);

  const auto partition = parsed(w.read("soft/partition.csv"));
  REQUIRE(partition.size() == 241);
  CHECK(partition[0][0] == kId);
  CHECK(partition[5][0] == "id\x1b[31m\u202e4");
  std::set<std::string> columns, levels;
  for (const auto& row : parsed(w.read("soft/regions.csv"))) {
    columns.insert(row[1]);
    if (row[1] == kCategory) levels.insert(row[2]);
  }
  for (const std::string& name : kInputs) CHECK(columns.contains(name));
  CHECK(levels == std::set<std::string>(kLevels.begin(), kLevels.end()));
  std::set<std::string> terms;
  for (const auto& row : parsed(w.read("soft/coefficients.csv"))) terms.insert(row[3]);
  for (const std::string& name : kInputs) CHECK(terms.contains(name));
  for (const std::string& level : kLevels) CHECK(terms.contains(kCategory + " = " + level));
  for (const std::string model : {"soft", "tree"})
    for (const char* file : {"partition", "experts", "coefficients", "regions", "rules", "gate"}) {
      const auto rows = parsed(w.read(model + "/" + file + ".csv"));
      for (const auto& row : rows) CHECK(row.size() == rows[0].size());
      // Names come back as they were; words of ours are no formulas.
      if (std::string(file) == "rules")
        for (const auto& row : rows) CHECK(std::string("=+-@\t\r").find(row[1].front()) == std::string::npos);
    }
  CHECK(has(w.read("soft/rules.csv"), "(=HYPERLINK"));
  const auto summary = json_of(w.read("soft/summary.json"));
  CHECK(summary["rules"]["fidelity"].get<double>() > 0.9);

  for (const char* picture : {"soft/map.svg", "soft/shares.svg", "soft/calibration.svg"}) {
    check_shown(w.read(picture));
    CHECK(!has(w.read(picture), "<script"));
    CHECK(!has(w.read(picture), "<img"));
  }
  const std::string page = w.read("soft/report.html"), data = page.substr(page.find("id=\"data\""));
  CHECK(!has(page, "<script>alert"));
  CHECK(!has(page, "<img src=x"));
  for (const char* mark : {"\u202e", "\u202c", "\\u202e", "\u200b", "\u2028", "\x1b", "</script><!--"})
    CHECK(!has(data.substr(0, data.find("</script>")), mark));
}
