#include "model_json.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "moekit/error.hpp"
#include "moekit/version.hpp"

namespace moekit {

namespace {

using Json = nlohmann::ordered_json;  // written in the order of the structs
using Parsed = nlohmann::json;        // read by name

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
/// The limit of a bank, so that a small file cannot ask for a large allocation.
constexpr std::size_t kMostExperts = 10'000;
constexpr std::size_t kMostContrasts = std::size_t{1} << 28;

constexpr std::string_view kTermKinds[] = {"intercept", "numeric", "missing", "level"};
constexpr std::string_view kColumnKinds[] = {"numeric", "categorical"};
constexpr std::string_view kTasks[] = {"regression", "classification", "count"};

// ------------------------------------------------------------------------------------------- writing

/// JSON text is UTF-8, but names and levels hold the bytes of somebody's file: other bytes go as hex.
bool valid_utf8(const std::string& text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto byte = [&](std::size_t at) {
      return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
    };
    const unsigned lead = byte(i);
    const std::size_t more = lead < 0x80   ? 0
                             : lead < 0xc2 ? 9
                             : lead < 0xe0 ? 1
                             : lead < 0xf0 ? 2
                             : lead < 0xf5 ? 3
                                           : 9;
    if (more == 9) return false;
    for (std::size_t j = 1; j <= more; ++j)
      if ((byte(i + j) & 0xc0) != 0x80) return false;
    const unsigned second = byte(i + 1);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f))
      return false;
    i += more + 1;
  }
  return true;
}

Json text_json(const std::string& text) {
  if (valid_utf8(text)) return text;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : text) {
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return Json{{"hex", hex}};
}

Json texts_json(const std::vector<std::string>& texts) {
  Json out = Json::array();
  for (const std::string& t : texts) out.push_back(text_json(t));
  return out;
}

double finite(double value, std::string_view what) {
  if (!std::isfinite(value))
    throw Error(Errc::internal,
                "the model cannot be saved: " + std::string(what) + " is not a finite number");
  return value;
}

Json numbers_json(std::span<const double> values, std::string_view what) {
  Json out = Json::array();
  for (const double v : values) out.push_back(finite(v, what));
  return out;
}

/// How a fit went may hold values that are not numbers (a refused start): null.
Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json column_json(const Column& c) {
  Json out;
  out["name"] = text_json(c.name);
  out["kind"] = kColumnKinds[static_cast<std::size_t>(c.kind)];
  out["index"] = c.index;
  out["levels"] = texts_json(c.levels);
  out["missing"] = finite(c.missing, "a share of missing values");
  out["mean"] = finite(c.mean, "the mean of a column");
  out["sd"] = finite(c.sd, "the spread of a column");
  out["min"] = finite(c.min, "the minimum of a column");
  out["max"] = finite(c.max, "the maximum of a column");
  out["shares"] = numbers_json(c.shares, "the share of a level");
  return out;
}

Json target_json(const Target& t) {
  Json out;
  out["name"] = text_json(t.name);
  out["task"] = kTasks[static_cast<std::size_t>(t.task)];
  out["labels"] = texts_json(t.labels);
  out["shares"] = numbers_json(t.shares, "the share of a label");
  out["mean"] = finite(t.mean, "the target's mean");
  out["sd"] = finite(t.sd, "the target's spread");
  out["min"] = finite(t.min, "the target's minimum");
  out["max"] = finite(t.max, "the target's maximum");
  out["step"] = finite(t.step, "the target's step");
  out["distinct"] = t.distinct;
  return out;
}

Json schema_json(const Schema& s) {
  Json out;
  out["inputs"] = Json::array();
  for (const Column& c : s.inputs) out["inputs"].push_back(column_json(c));
  out["target"] = target_json(s.target);
  out["id"] = texts_json(s.id);
  out["weights"] = text_json(s.weights);
  out["offset"] = text_json(s.offset);
  out["separator"] = static_cast<int>(static_cast<unsigned char>(s.format.separator));
  out["decimal"] = static_cast<int>(static_cast<unsigned char>(s.format.decimal));
  out["missing"] = texts_json(s.format.missing);
  out["total_weight"] = finite(s.total_weight, "the sum of weights");
  out["rows"] = s.rows;
  return out;
}

Json basis_json(const Basis& basis) {
  Json out = Json::array();
  for (const Term& t : basis.terms()) {
    Json term;
    term["kind"] = kTermKinds[static_cast<std::size_t>(t.kind)];
    term["column"] = t.column;
    term["level"] = t.level;
    term["center"] = finite(t.center, "the centre of a feature");
    term["scale"] = finite(t.scale, "the scale of a feature");
    out.push_back(term);
  }
  return out;
}

Json fields_json(const std::vector<Field>& fields) {
  Json out = Json::object();
  for (const Field& f : fields) out[std::string(f.name)] = numbers_json(f.values, f.name);
  return out;
}

Json member_json(Mixture member) {  // a copy: fields() hands out writable spans
  Json out;
  out["gate_basis"] = basis_json(member.gate_basis);
  out["expert_basis"] = basis_json(member.expert_basis);
  out["gate"] = fields_json(member.gate->fields());
  out["experts"] = Json::array();
  for (uword k = 0; k < member.count(); ++k) out["experts"].push_back(fields_json(member.experts->fields(k)));
  out["share"] = numbers_json(member.share, "the share of an expert");
  return out;
}

Json start_json(const Start& s) {
  Json out;
  out["kind"] = text_json(s.kind);
  out["log_likelihood"] = number_or_null(s.log_likelihood);
  out["score"] = number_or_null(s.score);
  out["finished"] = s.finished;
  out["refused"] = s.refused;
  out["reason"] = text_json(s.reason);
  out["difference"] = number_or_null(s.difference);
  out["iterations"] = s.iterations;
  return out;
}

/// The numbers of Provenance by name, for both directions.
struct NamedNumber {
  const char* name;
  double Provenance::*value;
};
constexpr NamedNumber kProvenanceNumbers[] = {
    {"log_likelihood", &Provenance::log_likelihood},
    {"parameters", &Provenance::parameters},
    {"effective_parameters", &Provenance::effective_parameters},
    {"aic", &Provenance::aic},
    {"bic", &Provenance::bic},
    {"icl", &Provenance::icl},
    {"single_log_likelihood", &Provenance::single_log_likelihood},
};

Json provenance_json(const Provenance& p) {
  Json out;
  out["version"] = text_json(p.version);
  out["options"] = Json::array();
  for (const auto& [key, value] : p.options) out["options"].push_back({text_json(key), text_json(value)});
  out["seed"] = p.seed;
  out["fingerprint"] = p.fingerprint;
  out["status"] = text_json(p.status);
  out["iterations"] = p.iterations;
  for (const NamedNumber& n : kProvenanceNumbers) out[n.name] = number_or_null(p.*n.value);
  out["best_hits"] = p.best_hits;
  out["starts"] = Json::array();
  for (const Start& s : p.starts) out["starts"].push_back(start_json(s));
  out["trace"] = Json::array();
  for (const double v : p.trace) out["trace"].push_back(number_or_null(v));
  out["notes"] = texts_json(p.notes);
  return out;
}

// ------------------------------------------------------------------------------------------- reading

/// A value of the file with its place, so that every refusal says where. Nothing is used unchecked.
class Node {
 public:
  Node(const Parsed& value, const std::string& file, std::string place)
      : value_(&value), file_(&file), place_(std::move(place)) {}

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(Errc::model_format, *file_ + ": damaged model: " + (place_.empty() ? "the file" : place_) +
                                        " " + problem + "; take another copy or train again");
  }
  Node at(const char* key) const {
    if (!value_->is_object()) fail("is not an object");
    const auto found = value_->find(key);
    if (found == value_->end()) fail("lacks '" + std::string(key) + "'");
    return {*found, *file_, place_.empty() ? key : place_ + "." + key};
  }
  std::size_t size() const {
    if (!value_->is_array()) fail("is not a list");
    return value_->size();
  }
  Node operator[](std::size_t i) const {
    return {(*value_)[i], *file_, place_ + "[" + std::to_string(i) + "]"};
  }

  std::uint64_t whole(std::uint64_t most = std::numeric_limits<std::uint64_t>::max()) const {
    if (!value_->is_number_unsigned()) fail("is not a whole number");
    const auto v = value_->get<std::uint64_t>();
    if (v > most) fail("is larger than " + std::to_string(most));
    return v;
  }
  std::uint32_t code() const {
    return static_cast<std::uint32_t>(whole(std::numeric_limits<std::uint32_t>::max()));
  }
  int integer() const { return static_cast<int>(whole(std::numeric_limits<int>::max())); }
  char character() const { return static_cast<char>(static_cast<unsigned char>(whole(255))); }
  bool flag() const {
    if (!value_->is_boolean()) fail("is neither true nor false");
    return value_->get<bool>();
  }
  double number() const {
    if (!value_->is_number()) fail("is not a number");
    const auto v = value_->get<double>();
    if (!std::isfinite(v)) fail("is not a finite number");
    return v;
  }
  double number_or_nan() const { return value_->is_null() ? kNaN : number(); }
  std::vector<double> numbers() const {
    std::vector<double> out(size());
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = (*this)[i].number();
    return out;
  }
  std::string text() const;
  std::vector<std::string> texts() const {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < size(); ++i) out.push_back((*this)[i].text());
    return out;
  }
  template <std::size_t N>
  std::size_t one_of(const std::string_view (&names)[N]) const {
    const std::string name = text();
    std::string known;
    for (std::size_t i = 0; i < N; ++i) {
      if (names[i] == name) return i;
      known += (i ? ", " : "") + std::string(names[i]);
    }
    fail("is '" + printable(name) + "', not one of " + known);
  }

 private:
  const Parsed* value_;
  const std::string* file_;
  std::string place_;
};

std::string Node::text() const {
  if (value_->is_string()) return value_->get<std::string>();
  if (!value_->is_object()) fail("is not a text");
  const std::string hex = at("hex").text();
  const auto digit = [&](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    fail("is not made of hexadecimal digits");
  };
  if (hex.size() % 2) fail("is not made of pairs of hexadecimal digits");
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    out += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  return out;
}

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

Mixture read_member(const Node& node, const Model& model, std::size_t bytes) {
  Mixture m;
  m.gate_basis = read_basis(node.at("gate_basis"), model.schema);
  m.expert_basis = read_basis(node.at("expert_basis"), model.schema);
  const Node gate = node.at("gate"), experts = node.at("experts");
  const std::size_t count = experts.size(), classes = model.schema.target.labels.size();
  if (count == 0 || count > kMostExperts)
    experts.fail("does not have between 1 and " + std::to_string(kMostExperts) + " experts");
  // Every coefficient takes at least two bytes of the file, so nothing is allocated that it does not hold.
  const std::size_t outputs = std::max<std::size_t>(classes, 2) - 1;
  if (m.expert_basis.size() > bytes / count / outputs || m.gate_basis.size() > bytes / count)
    experts.fail("has an impossible size");
  // Classification keeps a table of contrasts (classes x classes) for every expert.
  if (classes * classes > kMostContrasts / count) experts.fail("has an impossible size");
  m.experts = Value<ExpertFamily>(built(experts, [&] {
    return make_experts(model.family, count, m.expert_basis.size(), std::max<std::size_t>(classes, 1));
  }));
  if ((m.experts->classes() > 0) != (model.schema.target.task == Task::classification))
    experts.fail("of the family '" + model.family + "' do not suit the task");
  for (std::size_t k = 0; k < count; ++k) read_fields(experts[k], m.experts->fields(k));
  m.gate = Value<GateFamily>(
      built(gate, [&] { return make_gate(model.gate_family, count, m.gate_basis.size()); }));
  read_fields(gate, m.gate->fields());
  m.share = node.at("share").numbers();
  if (!m.share.empty() && m.share.size() != count)
    node.at("share").fail("does not have a number for each expert");
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
  for (std::size_t i = 0; i < trace.size(); ++i) p.trace.push_back(trace[i].number_or_nan());
  p.notes = node.at("notes").texts();
  return p;
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

std::string model_to_json(const Model& model) {
  Json out;
  out["program"] = std::string("moekit ") + kVersion;
  out["family"] = model.family;
  out["gate_family"] = model.gate_family;
  out["schema"] = schema_json(model.schema);
  out["members"] = Json::array();
  for (const Mixture& m : model.members) out["members"].push_back(member_json(m));
  out["provenance"] = provenance_json(model.provenance);
  return out.dump(1);
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
  model.schema = read_schema(node.at("schema"));
  const Node members = node.at("members");
  if (members.size() == 0) members.fail("is empty");
  for (std::size_t i = 0; i < members.size(); ++i)
    model.members.push_back(read_member(members[i], model, text.size()));
  model.provenance = read_provenance(node.at("provenance"));
  return model;
}

}  // namespace moekit
