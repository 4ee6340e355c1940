#include "moekit/fit_identity.hpp"

#include <cstdio>
#include <type_traits>

#include "moekit/archive.hpp"

namespace moekit {

namespace {

using Identity = std::vector<std::pair<std::string, std::string>>;

std::string hexadecimal(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

template <class T>
std::string text_of(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<int>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    char text[40];
    std::snprintf(text, sizeof text, "%.17g", value);
    return text;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value.empty() ? "default" : value;
  } else {
    return std::to_string(value);
  }
}

template <class T>
std::string text_of(const std::vector<T>& values) {
  std::string all;
  for (const T& value : values) all += (all.empty() ? "" : ",") + text_of(value);
  return all.empty() ? "none" : all;
}

std::string text_of(const BasisKind& kind) {
  const std::string form = std::to_string(static_cast<int>(kind.form));
  return "kind " + form + ":" + std::to_string(kind.degree) + ":" + std::to_string(kind.bins);
}

/// What schemas say beyond the rows: kinds of columns, means and spreads.
std::uint64_t schema_hash(const Schema& schema) {
  Archive all;
  const auto target = [&](Target t) {
    all(t.name, t.task, t.labels, t.shares, t.mean, t.sd, t.min, t.max, t.step);
  };
  for (Column c : schema.inputs)
    all(c.name, c.kind, c.index, c.levels, c.missing, c.mean, c.sd, c.min, c.max, c.shares);
  target(schema.target);
  for (const Target& t : schema.further_targets) target(t);
  return hash_bytes(0, all.bytes());
}

void add_gradient_options(const GradientOptions& g, Identity& out) {
  out.insert(out.end(), {{"--epochs", text_of(g.epochs)},
                         {"--batch-size", text_of(g.batch_size)},
                         {"--learning-rate", text_of(g.learning_rate)},
                         {"the schedule of the learning rate", text_of(g.cosine)},
                         {"--weight-decay", text_of(g.weight_decay)},
                         {"--clip", text_of(g.clip)},
                         {"--patience", text_of(g.patience)},
                         {"--loss", text_of(g.loss)},
                         {"--balance", text_of(g.balance)},
                         {"--balance-weight", text_of(g.balance_weight)},
                         {"--z-loss", text_of(g.z_loss)},
                         {"--noisy-top-k", text_of(g.noisy)},
                         {"--expert-choice", text_of(g.expert_choice)},
                         {"--capacity", text_of(g.capacity)},
                         {"the reseeding of experts", text_of(g.reseed)}});
}

}  // namespace

Identity fit_identity(const FitOptions& o, const Schema& schema, const Source& source,
                      std::uint64_t fingerprint, const Compute& compute) {
  Identity out = {{"the number of rows", text_of(source.rows())},
                  {"the hash of the rows", hexadecimal(fingerprint)},
                  {"the hash of the columns", hexadecimal(schema_hash(schema))},
                  {"--seed", text_of(o.seed)},
                  {"--experts", o.grow ? "auto" : text_of(o.experts)},
                  {"--family", family_of(o, schema)},
                  {"the covariance of several targets", text_of(full_covariance_of(o, schema))},
                  {"--gate", o.gate},
                  {"the experts' features (--expert)", text_of(o.expert_basis)},
                  {"the gate's features (--gate-basis)", text_of(o.gate_basis)},
                  {"--noise", text_of(o.noise_basis)},
                  {"--gate-columns", text_of(o.gate_columns)},
                  {"--expert-columns", text_of(o.expert_columns)},
                  {"the kind of --ridge", text_of(o.ridge_mode)},
                  {"--ridge", text_of(o.ridge)},
                  {"--lasso", text_of(o.lasso)},
                  {"--ensemble", text_of(o.ensemble)},
                  {"--restarts", text_of(o.restarts)},
                  {"--max-iterations", text_of(o.max_iterations)},
                  {"--tolerance", text_of(o.tolerance)},
                  {"--fit", text_of(o.method)},
                  {"the hidden layers of --expert", text_of(o.hidden)},
                  {"--heads", text_of(o.neurons.heads)},
                  {"--picks", text_of(o.neurons.picks)},
                  {"--key-width", text_of(o.neurons.key_width)},
                  {"--top-k", text_of(o.top_k)},
                  {"--gate-score", text_of(o.gate_score)},
                  {"--shared-experts", text_of(o.shared_experts)}};
  Archive regions;
  std::vector<std::uint32_t> region = o.initial_region;
  regions(region);
  out.emplace_back("the hash of the starting regions", hexadecimal(hash_bytes(0, regions.bytes())));
  out.emplace_back("the hash of the validation rows",
                   o.validation ? hexadecimal(moekit::fingerprint(schema, *o.validation, compute)) : "none");
  add_gradient_options(o.gradient, out);
  return out;
}

}  // namespace moekit
