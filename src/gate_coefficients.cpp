#include "gate_coefficients.hpp"

#include <cmath>

namespace moekit {

namespace {

std::string part_name(GateForm::Kind kind) {
  switch (kind) {
    case GateForm::Kind::score:
      return "gate";
    case GateForm::Kind::node:
      return "node";
    case GateForm::Kind::weight:
      return "weight";
    case GateForm::Kind::centre:
      return "centre";
    case GateForm::Kind::spread:
      return "spread";
  }
  return {};
}

std::string side(const std::vector<uword>& experts) {
  std::string text;
  for (const uword k : experts) text += (text.empty() ? "" : " ") + std::to_string(k + 1);
  return text;
}

/// Factor from a feature's raw value to what its name says.
double raw_unit(const Term& term) {
  if (term.kind == Term::Kind::hinge) return term.width;
  return term.kind == Term::Kind::power ? std::pow(term.width, term.degree) : 1.0;
}

/// Values of the features themselves (a centre, a spread) in the units of the data.
vec as_values(const Basis& basis, const vec& values, bool centre) {
  vec out = values;
  for (uword j = 0; j < basis.size(); ++j) {
    const Term& term = basis.terms()[j];
    out[j] = raw_unit(term) * ((centre ? term.center : 0.0) + term.scale * values[j]);
  }
  return out;
}

}  // namespace

void add_gate_coefficients(const Model& model, std::vector<Coefficient>& to) {
  const Mixture& m = model.members.front();
  const Basis& basis = m.gate_basis;
  for (const GateForm& form : m.gate->forms()) {
    Coefficient entry{part_name(form.kind), form.index, "", "", 0, 0};
    if (form.kind == GateForm::Kind::weight) {
      entry.term = "weight";
      entry.estimate = entry.standardised = form.values[0];
      to.push_back(entry);
      continue;
    }
    const bool linear = form.kind == GateForm::Kind::score || form.kind == GateForm::Kind::node;
    if (form.kind == GateForm::Kind::node) entry.output = side(form.left) + " | " + side(form.right);
    const vec in_units = linear ? basis.in_input_units(form.values)
                                : as_values(basis, form.values, form.kind == GateForm::Kind::centre);
    for (uword j = linear ? 0 : 1; j < basis.size(); ++j) {
      entry.term = basis.name(model.schema, j);
      entry.standardised = form.values[j];
      entry.estimate = in_units[j];
      to.push_back(entry);
    }
  }
}

}  // namespace moekit
