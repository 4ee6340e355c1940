#include <cmath>
#include <nlohmann/json.hpp>

#include "float_text.hpp"
#include "model_json.hpp"
#include "model_names.hpp"
#include "moekit/error.hpp"
#include "moekit/version.hpp"

namespace moekit {

namespace {

using Json = nlohmann::ordered_json;  // written in the order of the structs

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
  for (const Target& t : s.further_targets) out["further_targets"].push_back(target_json(t));
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
    if (bends(t)) {
      term["knot"] = finite(t.knot, "the knot of a feature");
      term["width"] = finite(t.width, "the width of a feature");
      term["degree"] = t.degree;
    }
    out.push_back(term);
  }
  return out;
}

Json fields_json(const std::vector<Field>& fields) {
  Json out = Json::object();
  for (const Field& f : fields) out[std::string(f.name)] = numbers_json(f.values, f.name);
  return out;
}

Json shapes_json(const RegionShapes& shapes) {
  Json out;
  out["columns"] = shapes.columns;
  out["regions"] = Json::array();
  for (uword k = 0; k < shapes.mean.n_rows; ++k) {
    Json region = {{"mean", Json::array()}, {"sd", Json::array()}};
    for (uword j = 0; j < shapes.mean.n_cols; ++j) {
      region["mean"].push_back(finite(shapes.mean(k, j), "the middle of a region"));
      region["sd"].push_back(finite(shapes.sd(k, j), "the spread of a region"));
    }
    out["regions"].push_back(region);
  }
  out["distance"] = finite(shapes.distance, "the distance of training rows");
  out["deviation"] = finite(shapes.deviation, "the deviation of training rows");
  return out;
}

Json conformal_json(const Conformal& c) {
  Json out;
  out["rows"] = c.rows;
  out["heaviest"] = finite(c.heaviest, "the weight of a calibration row");
  out["scores"] = numbers_json(c.scores, "a calibration score");
  return out;
}

Json routing_json(const RoutingRule& rule) {
  Json out;
  out["score"] = kGateScores[static_cast<std::size_t>(rule.score)];
  out["top_k"] = rule.top_k;
  out["bias"] = numbers_json(rule.bias, "the bias of an expert");
  out["shared"] = rule.shared;
  out["hash_order"] = rule.hash_order;
  return out;
}

Json member_json(Mixture member) {  // a copy: fields() hands out writable spans
  Json out;
  out["gate_basis"] = basis_json(member.gate_basis);
  out["expert_basis"] = basis_json(member.expert_basis);
  out["noise_basis"] = basis_json(member.noise_basis);
  out["gate"] = fields_json(member.gate->fields());
  out["experts"] = Json::array();
  for (uword k = 0; k < member.count(); ++k) out["experts"].push_back(fields_json(member.experts->fields(k)));
  for (const FloatField& f : member.experts->float_fields())
    out["arrays"][std::string(f.name)] = float_text(f.values, f.name);
  out["share"] = numbers_json(member.share, "the share of an expert");
  if (member.routing.active(member.count())) out["routing"] = routing_json(member.routing);
  if (member.shapes.known()) out["shapes"] = shapes_json(member.shapes);
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
  out["growth"] = Json::array();
  for (const GrowthStep& g : p.growth)
    out["growth"].push_back({{"experts", g.experts},
                             {"held_out", number_or_null(g.held_out)},
                             {"standard_error", number_or_null(g.standard_error)}});
  out["trace"] = Json::array();
  for (const double v : p.trace) out["trace"].push_back(number_or_null(v));
  out["notes"] = texts_json(p.notes);
  return out;
}

Json standard_errors_json(const StandardErrors& errors) {
  Json out;
  out["kind"] = kErrorKinds[static_cast<std::size_t>(errors.kind)];
  out["penalised"] = errors.penalised;
  out["replicates"] = errors.replicates;
  out["values"] = Json::array();
  for (const double v : errors.values) out["values"].push_back(number_or_null(v));
  return out;
}

}  // namespace

std::string model_to_json(const Model& model) {
  Json out;
  out["program"] = std::string("moekit ") + kVersion;
  out["family"] = model.family;
  out["gate_family"] = model.gate_family;
  if (!model.hidden.empty()) out["hidden"] = model.hidden;
  if (model.neurons.count > 0)
    out["neurons"] = {{"count", model.neurons.count},
                      {"heads", model.neurons.heads},
                      {"picks", model.neurons.picks},
                      {"key_width", model.neurons.key_width}};
  if (model.schema.targets() > 1) out["full_covariance"] = model.full_covariance;
  out["schema"] = schema_json(model.schema);
  out["members"] = Json::array();
  for (const Mixture& m : model.members) out["members"].push_back(member_json(m));
  if (model.conformal.known()) out["conformal"] = conformal_json(model.conformal);
  out["provenance"] = provenance_json(model.provenance);
  if (model.standard_errors.kind != ErrorKind::none)
    out["standard_errors"] = standard_errors_json(model.standard_errors);
  return out.dump(1);
}

}  // namespace moekit
