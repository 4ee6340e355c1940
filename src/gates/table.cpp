#include <algorithm>

#include "gates/families.hpp"
#include "moekit/error.hpp"
#include "sparse/network.hpp"

namespace moekit {

namespace {

double linear_numbers(double p, double experts) { return p * experts; }
double quadratic_numbers(double p, double experts) { return p * (p + 1) / 2 * experts; }
double few_numbers(double, double experts) { return experts; }

struct Row {
  std::string_view name;
  std::unique_ptr<GateFamily> (*make)(const GateShape& shape);
  GateTraits traits;
  double (*numbers)(double p, double experts);
};
constexpr Row kFamilies[] = {
    {"softmax", make_softmax_gate, {.logits = true}, linear_numbers},
    {"gaussian", make_gaussian_gate, {}, quadratic_numbers},
    {"tree", make_tree_gate, {.hierarchy = true}, linear_numbers},
    {"constant", make_constant_gate, {.inputs = false}, few_numbers},
    // The choice is inside the one expert, so nothing is left to the mixture's own gate.
    {"product-key", make_constant_gate, {.inputs = false, .product_keys = true}, few_numbers},
};

const Row& row_of(std::string_view family) {
  for (const Row& row : kFamilies)
    if (row.name == family) return row;
  std::string known;
  for (const Row& row : kFamilies) known += std::string(row.name) + ", ";
  throw Error(Errc::usage, "there is no gate '" + std::string(family) + "'; known: " + known + "mlp:H");
}

/// "mlp:64,32": a network's name says how wide it is.
constexpr std::string_view kNetwork = "mlp:";
bool is_network(std::string_view family) { return family.starts_with(kNetwork); }
std::vector<uword> network_widths(std::string_view family) {
  return parse_widths(family.substr(kNetwork.size()), "gate");
}

}  // namespace

void GateFamily::state(Archive& archive) {
  for (const Field& f : fields()) archive.fixed(f.values);
}

mat GateFamily::coefficients() const {
  const std::vector<GateForm> all = forms();
  mat out;
  for (const GateForm& form : all) {
    if (form.kind != GateForm::Kind::score) return {};
    if (out.is_empty()) out.zeros(form.values.n_elem, count());
    out.col(form.index) = form.values;
  }
  if (!out.is_empty()) out.each_col() -= vec(arma::mean(out, 1));
  return out;
}

void GateFamily::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  mat each;
  for (uword k = 0; k < count(); ++k) {
    scores(batch, k, each);
    const vec own = each.t() * weight.col(k);
    for (uword j = 0; j < own.n_elem; ++j) gradient[j] += own[j];
  }
}

void GateFamily::add_logit_gradient(const Batch&, const mat&, std::span<double>) const {
  throw Error(Errc::internal, "a " + std::string(name()) + " gate has no logits");
}

void GateFamily::randomise(Rng rng) { randomise_fields(fields(), rng); }

std::unique_ptr<GateFamily> make_gate(std::string_view family, const GateShape& shape) {
  if (is_network(family)) return make_mlp_gate(shape, network_widths(family));
  return row_of(family).make(shape);
}

GateTraits gate_traits(std::string_view family) {
  if (is_network(family)) return {.logits = true, .network = true};
  return row_of(family).traits;
}

double gate_numbers(std::string_view family, const GateShape& shape) {
  if (is_network(family)) {
    double numbers = 0, inputs = static_cast<double>(shape.groups.size());
    for (const uword width : network_widths(family)) {
      numbers += inputs * static_cast<double>(width);
      inputs = static_cast<double>(width) + 1;
    }
    return numbers + inputs * static_cast<double>(shape.experts);
  }
  return row_of(family).numbers(static_cast<double>(shape.groups.size()), static_cast<double>(shape.experts));
}

std::vector<std::string> gate_families() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies)
    if (!row.traits.product_keys) names.emplace_back(row.name);
  return names;
}

}  // namespace moekit
