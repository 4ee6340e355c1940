// Rules against regions that are known, and against a recount over the rows.
#include "moekit/rules.hpp"

#include <cmath>
#include <map>

#include "cli_helpers.hpp"
#include "fit_helpers.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using namespace moekit::testing;

namespace {

/// Uniform inputs x1, x2, a category c1 of four levels, some values missing.
struct Case {
  Rows rows;
  Model model;
};

Case make_case(uword n, uword regions) {
  Rng rng(4, 9);
  Columns c;
  c.x.set_size(n, 2);
  for (double& v : c.x) v = 10 * rng.uniform();
  c.levels.set_size(n, 1);
  for (auto& l : c.levels) l = rng.below(4);
  c.level_count = {4};
  c.y.zeros(n);
  for (uword i = 0; i < n; i += 50) c.x(i, 1) = NAN;
  Case out{to_rows(c), {}};
  out.model.schema = out.rows.schema;
  out.model.family = "gaussian";
  out.model.gate_family = "softmax";
  Mixture m;
  m.gate = Value<GateFamily>(make_gate("softmax", {regions, {0}}));
  m.experts = Value<ExpertFamily>(make_experts("gaussian", {regions, {0}, {0}, 1}));
  out.model.members = {m};
  return out;
}

/// Rules of a partition that is given row by row.
template <class Region>
PartitionRules rules_for(const Case& of, const Region& region) {
  RuleFinder finder(of.model);
  for (std::size_t b = 0; b < of.rows.source.blocks(); ++b) {
    const Block block = of.rows.source.data(b).view();
    Prediction p;
    p.expert.set_size(block.rows);
    p.gate.zeros(block.rows, of.model.members[0].count());
    for (uword i = 0; i < block.rows; ++i)
      p.expert[i] = region(block.numeric_column(0)[i], block.numeric_column(1)[i], block.level_column(0)[i]);
    finder.add(block, p);
  }
  return finder.rules();
}

bool satisfied(const Rule& rule, double x1, double x2, const std::string& level) {
  for (const Condition& c : rule.conditions) {
    const double x = c.column == "x1" ? x1 : x2;
    const bool listed = std::find(c.levels.begin(), c.levels.end(), level) != c.levels.end();
    bool holds = false;
    if (c.kind == Condition::Kind::above) holds = std::isnan(x) ? c.missing : x > c.value;
    if (c.kind == Condition::Kind::at_most) holds = std::isnan(x) ? c.missing : x <= c.value;
    if (c.kind == Condition::Kind::in) holds = listed;
    if (c.kind == Condition::Kind::not_in) holds = !listed;
    if (!holds) return false;
  }
  return true;
}

uword boxes(double x1, double x2, std::uint32_t level) {
  if (x1 > 7) return level < 2 ? 0 : 1;
  if (std::isnan(x2) || x2 <= 4) return 2;
  return x1 > 2.5 ? 3 : 4;
}

}  // namespace

TEST_CASE("boxes are found again, and their figures are those of a recount") {
  const Case data = make_case(3000, 5);
  const PartitionRules found = rules_for(data, boxes);
  CHECK(found.rows == 3000);
  CHECK(found.fidelity > 0.99);
  CHECK(found.leaves >= 5);
  REQUIRE(found.regions.size() == 5);
  for (uword k = 0; k < 5; ++k) {
    const Rule& rule = found.regions[k];
    CAPTURE(rule.text());
    CHECK(rule.conditions.size() <= 4);
    double both = 0, own = 0, all = 0;
    for (std::size_t b = 0; b < data.rows.source.blocks(); ++b) {
      const Block block = data.rows.source.data(b).view();
      for (uword i = 0; i < block.rows; ++i) {
        const double x1 = block.numeric_column(0)[i], x2 = block.numeric_column(1)[i];
        const std::uint32_t code = block.level_column(0)[i];
        const bool in = boxes(x1, x2, code) == k;
        const bool by_rule = satisfied(rule, x1, x2, "level" + std::to_string(code));
        both += in && by_rule;
        own += in;
        all += by_rule;
      }
    }
    CHECK(rule.coverage == doctest::Approx(both / own).epsilon(1e-12));
    CHECK(rule.precision == doctest::Approx(both / all).epsilon(1e-12));
    CHECK(rule.lift == doctest::Approx(both / all / (own / 3000)).epsilon(1e-12));
    CHECK(rule.coverage > 0.97);
    CHECK(rule.precision > 0.97);
  }
  CHECK(found.regions[0].text().find("c1 in {level0, level1}") != std::string::npos);
  CHECK(found.regions[2].text().find("or missing") != std::string::npos);
}

TEST_CASE("tests of one category are one condition: boxes behind a chain of levels are found") {
  const Case data = make_case(3000, 6);
  const auto behind = [](double x1, double x2, std::uint32_t level) -> uword {
    if (level < 3) return level;
    const bool high = !std::isnan(x2) && x2 > 4;
    return x1 > 5 ? (high ? 3 : 4) : x1 > 2 ? (high ? 4 : 3) : 5;
  };
  const PartitionRules found = rules_for(data, behind);
  CHECK(found.fidelity > 0.99);
  for (const Rule& rule : found.regions) CHECK(rule.conditions.size() <= 4);
  CHECK(found.regions[1].text() == "c1 in {level1}");
  CHECK(found.regions[5].coverage > 0.97);
}

TEST_CASE("where regions are no boxes the fidelity says so; an empty region has no rule") {
  const Case data = make_case(4000, 4);
  const auto stripes = [](double x1, double x2, std::uint32_t) {
    const double along = std::isnan(x2) ? 0 : x1 + x2;
    return static_cast<uword>(along) % 3;
  };
  const PartitionRules found = rules_for(data, stripes);
  CHECK(found.fidelity < 0.7);
  CHECK(found.fidelity > 0.3);
  CHECK(found.regions[3].conditions.empty());
  CHECK(found.regions[3].text() == "nowhere");
  const PartitionRules one = rules_for(data, [](double, double, std::uint32_t) { return uword{0}; });
  CHECK(one.fidelity == 1);
  CHECK(one.regions[0].text() == "everywhere");
  CHECK(one.regions[0].coverage == 1);
}

TEST_CASE("large tables are sampled, always the same rows") {
  const Case data = make_case(50'000, 5);
  const PartitionRules a = rules_for(data, boxes), b = rules_for(data, boxes);
  CHECK(a.rows <= 20'000);
  CHECK(a.rows > 5'000);
  CHECK(a.fidelity > 0.98);
  for (uword k = 0; k < 5; ++k) CHECK(a.regions[k].text() == b.regions[k].text());
}

TEST_CASE("diagnose writes rules and boundaries; the boundary is where two gate weights are equal") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --restarts 3 -q -o m.moe").code == 0);
  const Ran ran = w.run("diagnose m.moe data/mcycle.csv -o d");
  REQUIRE(ran.code == 0);
  CHECK(ran.out.find("rules name the expert of") != std::string::npos);
  CHECK(ran.out.find("times <= ") != std::string::npos);
  const std::vector<std::string> rules = lines_of(w.read("d/rules.csv"));
  CHECK(rules[0] == "region,rule,conditions,coverage,precision,lift");
  CHECK(rules.size() == 5);
  CHECK(json_of(w.read("d/summary.json"))["rules"]["fidelity"].get<double>() > 0.95);
  const std::vector<std::string> gate = lines_of(w.read("d/gate.csv"));
  CHECK(gate[0] == "region,other,term,coefficient");
  REQUIRE(gate.size() == 1 + 6 * 2);
  const double intercept = std::stod(cells_of(gate[1])[3]), slope = std::stod(cells_of(gate[2])[3]);
  std::ostringstream at;
  at.precision(17);
  at << "times\n" << -intercept / slope << "\n";
  w.write("at.csv", at.str());
  const std::vector<std::string> row = cells_of(lines_of(w.run("predict m.moe at.csv --regions -q").out)[1]);
  CHECK(std::stod(row[3]) == doctest::Approx(std::stod(row[4])).epsilon(1e-9));
}

namespace {

/// Does the row of a table satisfy a rule as rules.csv writes it?
bool satisfied(std::string rule, const std::map<std::string, std::string>& row) {
  if (rule.front() == '(' && rule.back() == ')') rule = rule.substr(1, rule.size() - 2);
  for (std::size_t at = 0, end = 0; at < rule.size(); at = end + 5) {
    end = std::min(rule.find(" and ", at), rule.size());
    const std::string condition = rule.substr(at, end - at);
    std::istringstream words(condition);
    std::string first, sign, second;
    words >> first >> sign >> second;
    const auto number = [&](const std::string& name) { return std::stod(row.at(name)); };
    bool holds = false;
    if (sign == "<") {  // 3 < x <= 7
      std::string other, bound;
      words >> other >> bound;
      holds = number(second) > std::stod(first) && number(second) <= std::stod(bound);
    } else if (sign == ">") {
      holds = number(first) > std::stod(second);
    } else if (sign == "<=") {
      holds = number(first) <= std::stod(second);
    } else {  // in {A, B}; not in {A, B}
      const std::string levels = condition.substr(condition.find('{'));
      holds = (levels.find(row.at(first)) != std::string::npos) == (sign == "in");
    }
    if (!holds) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("rules name fitted regions that are boxes, and rules.csv holds against partition.csv") {
  // Regions by thresholds on two of five inputs and by a category; a line of its own in each.
  const Workshop w;
  Rng rng(2, 8);
  std::string csv = "x1,x2,x3,x4,x5,c,y\n";
  std::vector<std::map<std::string, std::string>> table;
  for (int i = 0; i < 1500; ++i) {
    std::map<std::string, std::string> row;
    double x[5];
    for (int j = 0; j < 5; ++j) {
      x[j] = 10 * rng.uniform();
      csv += (row["x" + std::to_string(j + 1)] = std::to_string(x[j])) + ",";
    }
    const bool vowel = rng.below(5) < 2;
    row["c"] = vowel ? "A" : rng.below(2) ? "B" : "C";
    double y = 20 + 2 * x[1];
    if (x[1] > 6.2) y = vowel ? 3 * x[0] : -25 - x[2];
    if (x[1] <= 6.2 && x[3] > 4) y = -5 - 2 * x[4];
    csv += row["c"] + "," + std::to_string(y + 0.3 * rng.normal()) + "\n";
    table.push_back(std::move(row));
  }
  w.write("t.csv", csv);
  for (const std::string gate : {"softmax", "tree"}) {
    CAPTURE(gate);
    REQUIRE(w.run("train t.csv --target y --experts 4 --restarts 3 --gate " + gate + " -q -o m.moe").code ==
            0);
    REQUIRE(w.run("diagnose m.moe t.csv -q -o d").code == 0);
    CHECK(json_of(w.read("d/summary.json"))["rules"]["fidelity"].get<double>() > 0.97);
    const std::vector<std::string> partition = lines_of(w.read("d/partition.csv"));
    REQUIRE(partition.size() == 1501);
    std::istringstream rules(w.read("d/rules.csv"));
    std::string line;
    std::getline(rules, line);
    for (int k = 1; std::getline(rules, line); ++k) {
      const std::size_t open = line.find('"'), close = line.rfind('"');
      std::string rule =
          open == std::string::npos ? cells_of(line)[1] : line.substr(open + 1, close - open - 1);
      CAPTURE(rule);
      const std::vector<std::string> cells =
          cells_of(open == std::string::npos ? line : "0,r" + line.substr(close + 1));
      double both = 0, own = 0, all = 0;
      for (std::size_t i = 0; i < table.size(); ++i) {
        const bool in = cells_of(partition[i + 1])[1] == std::to_string(k), named = satisfied(rule, table[i]);
        both += in && named, own += in, all += named;
      }
      CHECK(std::stod(cells[3]) == doctest::Approx(both / own).epsilon(1e-12));
      CHECK(std::stod(cells[4]) == doctest::Approx(both / all).epsilon(1e-12));
      CHECK(std::stod(cells[5]) == doctest::Approx(both / all / (own / 1500)).epsilon(1e-12));
      CHECK(both / own > 0.95);
      CHECK(both / all > 0.95);
    }
  }
}

TEST_CASE("names do no harm in the terminal") {
  const Workshop w;
  w.write("bad.csv", "\"x\x1b[31m\",\"y\u202e\",z\n1,2,a\n2,4,b\x07\n3,5,a\n4,9,a\n5,10,b\x07\n");
  const Ran train = w.run("train bad.csv --target z --experts 1 -o b.moe");
  REQUIRE(train.code == 0);
  REQUIRE(w.run("diagnose b.moe bad.csv -o d").code == 0);
  for (const std::string& text :
       {train.err, w.run("inspect b.moe").out, w.run("diagnose b.moe bad.csv -o d").out}) {
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find('\x07') == std::string::npos);
    CHECK(text.find("\u202e") == std::string::npos);
  }
}
