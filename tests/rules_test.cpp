// Rules against regions that are known, and against a recount over the rows.
#include "moekit/rules.hpp"

#include <cmath>

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
