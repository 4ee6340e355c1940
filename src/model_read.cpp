#include <algorithm>
#include <limits>

#include "model_json.hpp"
#include "model_names.hpp"
#include "model_node.hpp"
#include "model_read_sparse.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

/// The limit of a bank, so that a small file cannot ask for a large allocation.
constexpr std::size_t kMostExperts = 10'000;
constexpr std::size_t kMostContrasts = std::size_t{1} << 28;

/// Each text once.
void require_distinct(std::vector<std::string> texts, const Node& node) {
  std::sort(texts.begin(), texts.end());
  if (std::adjacent_find(texts.begin(), texts.end()) != texts.end()) node.fail("holds a text twice");
}

Column read_column(const Node& node) {
  Column c;
  c.name = node.at("name").text();
  c.kind = static_cast<ColumnKind>(node.at("kind").one_of(kColumnKinds));
  c.index = node.at("index").code();
  c.levels = node.at("levels").texts();
  require_distinct(c.levels, node.at("levels"));
  c.missing = node.at("missing").number();
  c.mean = node.at("mean").number();
  c.sd = node.at("sd").number();
  if (c.sd < 0) node.at("sd").fail("is negative");
  c.min = node.at("min").number();
  c.max = node.at("max").number();
  c.shares = node.at("shares").numbers();
  const bool categorical = c.kind == ColumnKind::categorical;
  if (!categorical && !c.levels.empty()) node.at("levels").fail("is not empty for a numeric column");
  if (!c.shares.empty() && c.shares.size() != (categorical ? c.levels.size() + 1 : 0))
    node.at("shares").fail("does not have one number for each level and one for missing");
  return c;
}

Target read_target(const Node& node) {
  Target t;
  t.name = node.at("name").text();
  t.task = static_cast<Task>(node.at("task").one_of(kTasks));
  t.labels = node.at("labels").texts();
  require_distinct(t.labels, node.at("labels"));
  t.shares = node.at("shares").numbers();
  if ((t.task == Task::classification) == t.labels.empty())
    node.at("labels").fail("does not agree with the task");
  if (!t.shares.empty() && t.shares.size() != t.labels.size())
    node.at("shares").fail("does not have one number for each label");
  t.mean = node.at("mean").number();
  t.sd = node.at("sd").number();
  if (!(t.sd > 0)) node.at("sd").fail("is not positive");
  t.min = node.at("min").number();
  t.max = node.at("max").number();
  t.step = node.at("step").number();
  if (t.step < 0) node.at("step").fail("is negative");
  t.distinct = node.at("distinct").whole();
  return t;
}

std::vector<Target> read_further_targets(const Node& node, const Target& first) {
  std::vector<Target> out;
  std::vector<std::string> names = {first.name};
  for (std::size_t j = 0; j < node.size(); ++j) {
    out.push_back(read_target(node[j]));
    names.push_back(out.back().name);
    if (out.back().task != first.task || first.task == Task::classification)
      node[j].at("task").fail("does not suit several targets");
  }
  if (out.empty()) node.fail("is empty");
  require_distinct(names, node);
  return out;
}

/// The columns of each kind have the places 0, 1, ... in a block, each once.
void check_places(const Schema& schema, const Node& inputs) {
  for (const ColumnKind kind : {ColumnKind::numeric, ColumnKind::categorical}) {
    std::vector<std::uint32_t> places;
    for (const Column& c : schema.inputs)
      if (c.kind == kind) places.push_back(c.index);
    std::sort(places.begin(), places.end());
    for (std::size_t i = 0; i < places.size(); ++i)
      if (places[i] != i) inputs.fail("has columns whose places are not 0, 1, 2, ...");
  }
}

Schema read_schema(const Node& node) {
  Schema s;
  const Node inputs = node.at("inputs");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    s.inputs.push_back(read_column(inputs[i]));
    names.push_back(s.inputs.back().name);
  }
  require_distinct(names, inputs);
  check_places(s, inputs);
  s.target = read_target(node.at("target"));
  if (node.has("further_targets"))
    s.further_targets = read_further_targets(node.at("further_targets"), s.target);
  s.id = node.at("id").texts();
  s.weights = node.at("weights").text();
  s.offset = node.at("offset").text();
  s.format.separator = node.at("separator").character();
  s.format.decimal = node.at("decimal").character();
  s.format.missing = node.at("missing").texts();
  s.total_weight = node.at("total_weight").number();
  s.rows = node.at("rows").whole();
  return s;
}

/// A feature may only ask for what a row of this schema has.
void check_term(const Term& term, const Schema& schema, const Node& node) {
  if (!(term.scale > 0)) node.at("scale").fail("is not positive");
  if (!(term.width > 0)) node.at("width").fail("is not positive");
  if (term.degree < 1 || term.degree > kMostDegree) node.at("degree").fail("is out of range");
  if (term.kind == Term::Kind::intercept) return;
  if (term.column >= schema.inputs.size()) node.at("column").fail("is beyond the last input");
  const Column& column = schema.inputs[term.column];
  if ((column.kind == ColumnKind::categorical) != (term.kind == Term::Kind::level))
    node.at("kind").fail("does not agree with the kind of the column");
  // One code beyond the last level stands for a missing value.
  if (term.kind == Term::Kind::level && term.level > column.levels.size())
    node.at("level").fail("is beyond the last level");
}

Basis read_basis(const Node& node, const Schema& schema) {
  std::vector<Term> terms;
  for (std::size_t j = 0; j < node.size(); ++j) {
    const Node from = node[j];
    Term t;
    t.kind = static_cast<Term::Kind>(from.at("kind").one_of(kTermKinds));
    t.column = from.at("column").code();
    t.level = from.at("level").code();
    t.center = from.at("center").number();
    t.scale = from.at("scale").number();
    if (bends(t)) {
      t.knot = from.at("knot").number();
      t.width = from.at("width").number();
      t.degree = from.at("degree").code();
    }
    if ((j == 0) != (t.kind == Term::Kind::intercept))
      from.fail("is out of place: the intercept comes first");
    check_term(t, schema, from);
    terms.push_back(t);
  }
  if (terms.empty()) node.fail("is empty");
  return Basis(std::move(terms));
}

void read_fields(const Node& node, const std::vector<Field>& fields) {
  for (const Field& f : fields) {
    const Node from = node.at(std::string(f.name).c_str());
    if (from.size() != f.values.size())
      from.fail("has " + std::to_string(from.size()) + " numbers where " + std::to_string(f.values.size()) +
                " belong");
    for (std::size_t i = 0; i < f.values.size(); ++i) {
      f.values[i] = from[i].number();
      if (f.kind == Field::Kind::positive && !(f.values[i] > 0)) from[i].fail("is not positive");
    }
  }
}

/// Builds a family; what it refuses (an unknown name, a size beyond memory) is a fault of the file.
template <class Make>
auto built(const Node& node, const Make& make) {
  try {
    return make();
  } catch (const Error& e) {
    node.fail(std::string("cannot be used: ") + e.what());
  } catch (const std::exception& e) {
    node.fail("has an impossible size");
  }
}

std::vector<double> positive_numbers(const Node& node) {
  std::vector<double> out = node.numbers();
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!(out[i] > 0)) node[i].fail("is not positive");
  return out;
}

RegionShapes read_shapes(const Node& node, const Schema& schema, std::size_t experts) {
  RegionShapes s;
  const Node columns = node.at("columns"), regions = node.at("regions");
  for (std::size_t j = 0; j < columns.size(); ++j) {
    s.columns.push_back(columns[j].code());
    if (s.columns[j] >= schema.inputs.size()) columns[j].fail("is beyond the last input");
    const Column& column = schema.inputs[s.columns[j]];
    if (column.kind != ColumnKind::numeric || !(column.sd > 0))
      columns[j].fail("is not a numeric input with a spread");
  }
  if (regions.size() != experts) regions.fail("does not have an entry for each expert");
  s.mean.set_size(experts, columns.size());
  s.sd.set_size(experts, columns.size());
  for (std::size_t k = 0; k < experts; ++k) {
    const std::vector<double> mean = regions[k].at("mean").numbers(),
                              sd = positive_numbers(regions[k].at("sd"));
    if (mean.size() != columns.size() || sd.size() != columns.size())
      regions[k].fail("does not have a number for each column");
    for (std::size_t j = 0; j < columns.size(); ++j) {
      s.mean(k, j) = mean[j];
      s.sd(k, j) = sd[j];
    }
  }
  s.distance = node.at("distance").number();
  s.deviation = node.at("deviation").number();
  return s;
}

Conformal read_conformal(const Node& node, const Schema& schema) {
  Conformal c;
  if (schema.target.task == Task::classification) node.fail("does not suit the task");
  c.rows = node.at("rows").whole();
  if (c.rows == 0) node.at("rows").fail("is not positive");
  c.heaviest = node.at("heaviest").number();
  if (!(c.heaviest > 0 && c.heaviest <= 1)) node.at("heaviest").fail("is not a share");
  const Node scores = node.at("scores");
  c.scores = scores.numbers();
  if (c.scores.empty()) scores.fail("is empty");
  if (c.scores.front() < 0 || !std::is_sorted(c.scores.begin(), c.scores.end()))
    scores.fail("does not rise from 0 on");
  return c;
}

GateTraits traits_of_gate(const Model& model, const Node& node) {
  return built(node, [&] { return gate_traits(model.gate_family); });
}

Mixture read_member(const Node& node, const Model& model, std::size_t bytes) {
  Mixture m;
  m.gate_basis = read_basis(node.at("gate_basis"), model.schema);
  m.expert_basis = read_basis(node.at("expert_basis"), model.schema);
  m.noise_basis = read_basis(node.at("noise_basis"), model.schema);
  const Node gate = node.at("gate"), experts = node.at("experts");
  const std::size_t count = experts.size(), classes = model.schema.target.labels.size();
  if (count == 0 || count > kMostExperts)
    experts.fail("does not have between 1 and " + std::to_string(kMostExperts) + " experts");
  // Every coefficient takes at least two bytes of the file, so nothing is allocated that it does not hold.
  const std::size_t outputs =
      std::max<std::size_t>(std::max<std::size_t>(classes, 2) - 1, model.schema.targets());
  if (m.expert_basis.size() > bytes / count / outputs || m.gate_basis.size() > bytes / count ||
      m.noise_basis.size() > bytes / count)
    experts.fail("has an impossible size");
  // Classification keeps a table of contrasts (classes x classes) for every expert.
  if (classes * classes > kMostContrasts / count) experts.fail("has an impossible size");
  const double of_neuron = static_cast<double>(m.expert_basis.size() + std::max<std::size_t>(classes, 1));
  if (of_neuron * static_cast<double>(model.neurons.count) > static_cast<double>(bytes))
    experts.fail("has an impossible size");
  if (network_numbers(model, static_cast<double>(m.expert_basis.size()),
                      static_cast<double>(std::max<std::size_t>(classes, 1))) *
          static_cast<double>(count) >
      static_cast<double>(bytes / 2))
    experts.fail("has an impossible size");
  m.experts = Value<ExpertFamily>(built(experts, [&] {
    return make_experts(model.family,
                        {count, m.expert_basis.groups(), m.noise_basis.groups(),
                         std::max<std::size_t>(classes, 1), model.schema.targets(), model.full_covariance,
                         model.hidden, model.neurons, model.schema.most_mean()});
  }));
  if ((m.experts->classes() > 0) != (model.schema.target.task == Task::classification))
    experts.fail("of the family '" + model.family + "' do not suit the task");
  for (std::size_t k = 0; k < count; ++k) read_fields(experts[k], m.experts->fields(k));
  if (model.neurons.count > 0) read_arrays(node, *m.experts);
  const GateShape shape{count, m.gate_basis.groups()};
  if (built(gate, [&] { return gate_numbers(model.gate_family, shape); }) > static_cast<double>(bytes / 2))
    gate.fail("has an impossible size");
  m.gate = Value<GateFamily>(built(gate, [&] { return make_gate(model.gate_family, shape); }));
  read_fields(gate, m.gate->fields());
  m.share = node.at("share").numbers();
  if (!m.share.empty() && m.share.size() != count)
    node.at("share").fail("does not have a number for each expert");
  if (node.has("routing")) {
    m.routing = read_routing(node.at("routing"), count);
    if (m.routing.score == RoutingRule::Score::sigmoid && !gate_traits(model.gate_family).logits)
      node.at("routing").fail("does not suit the gate");
  }
  if (node.has("shapes")) m.shapes = read_shapes(node.at("shapes"), model.schema, count);
  return m;
}

Start read_start(const Node& node) {
  Start s;
  s.kind = node.at("kind").text();
  s.log_likelihood = node.at("log_likelihood").number_or_nan();
  s.score = node.at("score").number_or_nan();
  s.finished = node.at("finished").flag();
  s.refused = node.at("refused").flag();
  s.reason = node.at("reason").text();
  s.difference = node.at("difference").number_or_nan();
  s.iterations = node.at("iterations").integer();
  return s;
}

Provenance read_provenance(const Node& node) {
  Provenance p;
  p.version = node.at("version").text();
  const Node options = node.at("options");
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i].size() != 2) options[i].fail("is not a pair of name and value");
    p.options.emplace_back(options[i][0].text(), options[i][1].text());
  }
  p.seed = node.at("seed").whole();
  p.fingerprint = node.at("fingerprint").whole();
  p.status = node.at("status").text();
  p.iterations = node.at("iterations").integer();
  for (const NamedNumber& n : kProvenanceNumbers) p.*n.value = node.at(n.name).number_or_nan();
  p.best_hits = node.at("best_hits").integer();
  const Node starts = node.at("starts"), trace = node.at("trace");
  for (std::size_t i = 0; i < starts.size(); ++i) p.starts.push_back(read_start(starts[i]));
  const Node growth = node.at("growth");
  for (std::size_t i = 0; i < growth.size(); ++i)
    p.growth.push_back({growth[i].at("experts").code(), growth[i].at("held_out").number_or_nan(),
                        growth[i].at("standard_error").number_or_nan()});
  for (std::size_t i = 0; i < trace.size(); ++i) p.trace.push_back(trace[i].number_or_nan());
  p.notes = node.at("notes").texts();
  return p;
}

StandardErrors read_standard_errors(const Node& node, const Model& model) {
  StandardErrors s;
  s.kind = static_cast<ErrorKind>(node.at("kind").one_of(kErrorKinds));
  s.penalised = node.at("penalised").flag();
  s.replicates = node.at("replicates").integer();
  const Node values = node.at("values");
  if (values.size() != coefficients(model).size()) values.fail("does not have a number for each coefficient");
  for (std::size_t i = 0; i < values.size(); ++i) {
    s.values.push_back(values[i].number_or_nan());
    if (s.values.back() <= 0) values[i].fail("is not positive");
  }
  return s;
}

}  // namespace

std::string printable(const std::string& text) {
  constexpr std::size_t kMost = 60;
  std::string out;
  for (const char c : text.substr(0, kMost)) {
    const auto u = static_cast<unsigned char>(c);
    out += u < 0x20 || u == 0x7f ? '?' : c;
  }
  return text.size() > kMost ? out + "..." : out;
}

Model model_from_json(const std::string& text, const std::string& name) {
  Parsed parsed;
  try {
    parsed = Parsed::parse(text);
  } catch (const Parsed::exception& e) {
    throw Error(Errc::model_format, name + ": damaged model: " + printable(e.what()) + "; take another copy");
  }
  const Node node(parsed, name, "");
  Model model;
  model.family = node.at("family").text();
  model.gate_family = node.at("gate_family").text();
  if (node.has("hidden")) {
    const Node hidden = node.at("hidden");
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      model.hidden.push_back(hidden[i].code());
      if (model.hidden[i] == 0) hidden[i].fail("is not positive");
    }
  }
  if (node.has("neurons")) model.neurons = read_neurons(node.at("neurons"), model, text.size());
  if (traits_of_gate(model, node.at("gate_family")).product_keys != (model.neurons.count > 0))
    node.at("gate_family").fail("does not agree with the neurons");
  model.schema = read_schema(node.at("schema"));
  if (model.schema.targets() > 1) model.full_covariance = node.at("full_covariance").flag();
  const Node members = node.at("members");
  if (members.size() == 0) members.fail("is empty");
  for (std::size_t i = 0; i < members.size(); ++i)
    model.members.push_back(read_member(members[i], model, text.size()));
  if (node.has("conformal")) model.conformal = read_conformal(node.at("conformal"), model.schema);
  model.provenance = read_provenance(node.at("provenance"));
  if (node.has("standard_errors"))
    model.standard_errors = read_standard_errors(node.at("standard_errors"), model);
  return model;
}

}  // namespace moekit
