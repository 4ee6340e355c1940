#include <algorithm>

#include "gates/families.hpp"
#include "moekit/error.hpp"

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
    {"softmax", make_softmax_gate, {}, linear_numbers},
    {"gaussian", make_gaussian_gate, {}, quadratic_numbers},
    {"tree", make_tree_gate, {.hierarchy = true}, linear_numbers},
    {"constant", make_constant_gate, {.inputs = false}, few_numbers},
};

const Row& row_of(std::string_view family) {
  for (const Row& row : kFamilies)
    if (row.name == family) return row;
  std::string known;
  for (const Row& row : kFamilies) known += (known.empty() ? "" : ", ") + std::string(row.name);
  throw Error(Errc::usage, "there is no gate '" + std::string(family) + "'; known: " + known);
}

}  // namespace

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

std::unique_ptr<GateFamily> make_gate(std::string_view family, const GateShape& shape) {
  return row_of(family).make(shape);
}

GateTraits gate_traits(std::string_view family) { return row_of(family).traits; }

double gate_numbers(std::string_view family, const GateShape& shape) {
  return row_of(family).numbers(static_cast<double>(shape.groups.size()), static_cast<double>(shape.experts));
}

std::vector<std::string> gate_families() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies) names.emplace_back(row.name);
  return names;
}

}  // namespace moekit
