#include "moekit/rules.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "row_sample.hpp"
#include "rules/tree.hpp"

namespace moekit {

namespace {

using namespace rules;

constexpr int kMostConditions = 4;
/// Nobody reads more rules, and a shallow tree cannot tell more regions apart.
constexpr uword kMostRegions = 256;
constexpr std::size_t kMostRows = 20'000, kMostNumbers = 8'000'000;
constexpr std::uint64_t kSampleStream = 0x72756c6573;

std::string number(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// What the rows on a path have in common, for one input.
struct Span {
  bool used = false;
  std::vector<bool> codes;
  bool missing = true;
};

/// Codes of every input that the path to a node lets through.
std::vector<Span> path_to(const RowTable& table, const std::vector<Node>& tree, int node) {
  std::vector<Span> spans(table.inputs.size());
  for (int child = node, at = tree[node].parent; at >= 0; child = at, at = tree[at].parent) {
    const Split& split = tree[at].split;
    Span& span = spans[split.input];
    if (!span.used) span.codes.assign(table.inputs[split.input].codes, true);
    span.used = true;
    const bool left = tree[at].left == child;
    for (std::size_t c = 0; c < span.codes.size(); ++c)
      span.codes[c] = span.codes[c] && split.left[c] == left;
    span.missing = span.missing && split.missing_left == left;
  }
  return spans;
}

/// A condition as rows of codes: who satisfies it.
struct Test {
  std::size_t input = 0;
  std::vector<bool> codes;
  bool missing = false;
  Condition condition;
  bool holds(const RowTable& table, std::size_t row) const {
    const std::uint16_t code = table.inputs[input].code[row];
    return code == RowTable::kMissing ? missing : codes[code];
  }
};

void add_bounds(const RowTable::Input& input, std::size_t j, const Span& span, std::vector<Test>& to) {
  const auto first = std::find(span.codes.begin(), span.codes.end(), true);
  const auto from = static_cast<std::size_t>(first - span.codes.begin());
  std::size_t end = span.codes.size();
  while (end > from && !span.codes[end - 1]) --end;
  const auto add = [&](Condition::Kind kind, double value, std::size_t low, std::size_t high) {
    Test test{j, std::vector<bool>(span.codes.size(), false), span.missing, {}};
    for (std::size_t c = low; c < high; ++c) test.codes[c] = true;
    test.condition = {input.column->name, kind, value, {}, span.missing && input.has_missing};
    to.push_back(std::move(test));
  };
  if (from > 0 && from < span.codes.size())
    add(Condition::Kind::above, input.cuts[from - 1], from, span.codes.size());
  if (end < span.codes.size() && end > 0) add(Condition::Kind::at_most, input.cuts[end - 1], 0, end);
}

void add_set(const RowTable::Input& input, std::size_t j, const Span& span, std::vector<Test>& to) {
  Test test{j, span.codes, span.missing, {}};
  const auto inside = static_cast<std::size_t>(std::count(span.codes.begin(), span.codes.end(), true));
  const bool in = 2 * inside <= span.codes.size();
  test.condition = {input.column->name,
                    in ? Condition::Kind::in : Condition::Kind::not_in,
                    0,
                    {},
                    span.missing && input.has_missing};
  for (std::size_t c = 0; c < span.codes.size(); ++c)
    if (span.codes[c] == in) test.condition.levels.push_back(input.column->levels[c]);
  to.push_back(std::move(test));
}

std::vector<Test> tests_of(const RowTable& table, const std::vector<Node>& tree, int node) {
  std::vector<Test> tests;
  const std::vector<Span> spans = path_to(table, tree, node);
  for (std::size_t j = 0; j < spans.size(); ++j)
    if (spans[j].used)
      (table.inputs[j].numeric() ? add_bounds : add_set)(table.inputs[j], j, spans[j], tests);
  return tests;
}

/// How a set of tests describes a region.
struct Fit {
  double coverage = 0, precision = 0;
  double f1() const {
    return coverage + precision > 0 ? 2 * coverage * precision / (coverage + precision) : 0;
  }
};

Fit fit_of(const RowTable& table, const std::vector<Test>& tests, std::uint32_t region, double of_region) {
  double satisfied = 0, hits = 0;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    if (!std::all_of(tests.begin(), tests.end(), [&](const Test& t) { return t.holds(table, i); })) continue;
    satisfied += table.weight[i];
    if (table.region[i] == region) hits += table.weight[i];
  }
  return {of_region > 0 ? hits / of_region : 0, satisfied > 0 ? hits / satisfied : 0};
}

/// Tests that bring nothing are left out, one by one.
void simplify(const RowTable& table, std::uint32_t region, double of_region, std::vector<Test>& tests) {
  constexpr double kSame = 1e-3;
  const double before = fit_of(table, tests, region, of_region).f1();
  for (;;) {
    std::size_t best = tests.size();
    double most = before - kSame;
    for (std::size_t t = 0; t < tests.size() && tests.size() > 1; ++t) {
      std::vector<Test> fewer = tests;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(t));
      const double f1 = fit_of(table, fewer, region, of_region).f1();
      if (f1 > most) {
        most = f1;
        best = t;
      }
    }
    if (best == tests.size()) return;
    tests.erase(tests.begin() + static_cast<std::ptrdiff_t>(best));
  }
}

Rule rule_of(const RowTable& table, const std::vector<Node>& tree, std::uint32_t region) {
  const double all = tree[0].total(), of_region = tree[0].weight[region];
  Rule rule;
  if (!(of_region > 0)) return rule;
  int best = 0;
  double most = 0;
  for (std::size_t n = 0; n < tree.size(); ++n) {
    const double own = tree[n].weight[region], total = tree[n].total();
    const double f1 = Fit{own / of_region, total > 0 ? own / total : 0}.f1();
    if (f1 > most * (1 + 1e-9)) {
      most = f1;
      best = static_cast<int>(n);
    }
  }
  std::vector<Test> tests = tests_of(table, tree, best);
  simplify(table, region, of_region, tests);
  const Fit fit = fit_of(table, tests, region, of_region);
  for (const Test& test : tests) rule.conditions.push_back(test.condition);
  rule.coverage = fit.coverage;
  rule.precision = fit.precision;
  rule.lift = fit.precision * all / of_region;
  return rule;
}

/// "age > 42.5", "3 < age <= 7" for two bounds, "income in {A, B}".
std::string condition_text(const Condition& c, const Condition* upper) {
  std::string text;
  if (c.kind == Condition::Kind::above)
    text = upper ? number(c.value) + " < " + c.column + " <= " + number(upper->value)
                 : c.column + " > " + number(c.value);
  else if (c.kind == Condition::Kind::at_most)
    text = c.column + " <= " + number(c.value);
  else {
    std::string levels;
    for (const std::string& level : c.levels) levels += (levels.empty() ? "" : ", ") + level;
    text = c.column + (c.kind == Condition::Kind::in ? " in {" : " not in {") + levels + "}";
  }
  return c.missing ? "(" + text + " or missing)" : text;
}

}  // namespace

std::string Rule::text() const {
  if (conditions.empty()) return coverage > 0 ? "everywhere" : "nowhere";
  std::string all;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const Condition& c = conditions[i];
    const bool two = c.kind == Condition::Kind::above && i + 1 < conditions.size() &&
                     conditions[i + 1].kind == Condition::Kind::at_most &&
                     conditions[i + 1].column == c.column && conditions[i + 1].missing == c.missing;
    all += (all.empty() ? "" : " and ") + condition_text(c, two ? &conditions[i + 1] : nullptr);
    if (two) ++i;
  }
  return all;
}

struct RuleFinder::State {
  explicit State(std::size_t capacity) : sample(kSampleStream, capacity) {}
  RowSample<Kept> sample;
  std::uint64_t seen = 0;
};

namespace {

/// A product-key network is one region, whose rows differ in the neurons they use: nothing to tell apart.
bool sought(const Model& model) {
  return model.neurons.count == 0 && model.members.front().count() <= kMostRegions;
}

}  // namespace

RuleFinder::RuleFinder(const Model& model) : model_(model) {
  const std::size_t inputs = std::max<std::size_t>(1, model.schema.inputs.size());
  state_ = std::make_shared<State>(std::clamp<std::size_t>(kMostNumbers / inputs, 500, kMostRows));
}

void RuleFinder::add(const Block& block, const Prediction& prediction) {
  State& s = *state_;
  if (!sought(model_)) return;
  const uword numeric = model_.schema.numeric_inputs(), categorical = model_.schema.categorical_inputs();
  for (uword i = 0; i < block.rows; ++i) {
    Kept row;
    row.key = s.sample.key(s.seen++);
    row.weight = block.weight ? block.weight[i] : 1.0;
    if (!s.sample.wants(row.key) || !(row.weight > 0)) continue;
    row.region = static_cast<std::uint32_t>(prediction.region(i));
    row.numeric.reserve(numeric);
    row.levels.reserve(categorical);
    for (uword j = 0; j < numeric; ++j) row.numeric.push_back(block.numeric_column(j)[i]);
    for (uword j = 0; j < categorical; ++j) row.levels.push_back(block.level_column(j)[i]);
    s.sample.add(std::move(row));
  }
}

PartitionRules RuleFinder::rules() const {
  if (!sought(model_)) return {};
  const uword regions = model_.members.front().count();
  const RowTable table(model_.schema, state_->sample.rows(), regions);
  const std::vector<Node> tree = grow_tree(table, kMostConditions);
  PartitionRules out;
  out.rows = table.rows();
  double right = 0;
  for (const Node& node : tree)
    if (node.left < 0) {
      ++out.leaves;
      right += node.weight[node.majority()];
    }
  const double all = tree[0].total();
  out.fidelity = all > 0 ? right / all : 0;
  for (uword k = 0; k < regions; ++k)
    out.regions.push_back(rule_of(table, tree, static_cast<std::uint32_t>(k)));
  return out;
}

}  // namespace moekit
