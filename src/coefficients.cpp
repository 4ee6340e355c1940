// The coefficients of a model in the units of the data.
#include <cmath>

#include "components.hpp"
#include "gate_coefficients.hpp"
#include "moekit/diagnose.hpp"

namespace moekit {

namespace {

/// Effects of levels as deviations from the average row. Where every level of a category has its feature the
/// average of their effects is no part of the model (the features add up to zero) but of the penalty alone.
vec centred_levels(const Basis& basis, vec coefficients) {
  const std::vector<Term>& terms = basis.terms();
  for (uword begin = 0; begin < terms.size();) {
    const auto same = [&](const Term& t) {
      return t.kind == Term::Kind::level && t.column == terms[begin].column;
    };
    uword end = begin + 1;
    double shares = 0, mean = 0;
    if (same(terms[begin])) {
      for (end = begin; end < terms.size() && same(terms[end]); ++end) {
        shares += terms[end].center;
        mean += terms[end].center * coefficients[end];
      }
      if (std::abs(shares - 1) < 1e-9)
        for (uword j = begin; j < end; ++j) coefficients[j] -= mean;
    }
    begin = end;
  }
  return coefficients;
}

/// One entry a term. Factor and shift turn the standardised target's units into the target's.
void add_terms(const Schema& schema, const Basis& basis, const vec& standardised, double factor, double shift,
               Coefficient entry, std::vector<Coefficient>& to) {
  const vec centred = centred_levels(basis, standardised), in_units = basis.in_input_units(centred);
  for (uword j = 0; j < basis.size(); ++j) {
    entry.term = basis.name(schema, j);
    entry.standardised = centred[j];
    entry.estimate = factor * in_units[j];
    if (basis.terms()[j].kind == Term::Kind::intercept) entry.estimate += shift;
    to.push_back(entry);
  }
}

/// Coefficients of expert k for one target; `experts`: those of that target.
void add_expert(const Model& model, const ExpertFamily& experts, uword k, const Target& target,
                std::vector<Coefficient>& to) {
  const Mixture& m = model.members.front();
  const Unit unit = target_unit(target);
  const bool log_link = family_traits(model.family).log_link;
  const std::string name = model.schema.targets() > 1 ? target.name : "";
  const mat own = experts.coefficients(k);
  for (uword c = 0; c < own.n_cols; ++c) {
    const std::string label = target.task == Task::classification ? target.labels[c] : name;
    // Behind a logarithm the unit of the target is a shift.
    add_terms(model.schema, m.expert_basis, own.col(c), log_link ? 1 : unit.sd,
              log_link ? std::log(unit.sd) : unit.mean, {"expert", k, label, "", 0, 0}, to);
  }
  const vec noise = experts.noise_coefficients(k);
  if (!noise.is_empty())
    add_terms(model.schema, m.noise_basis, noise, 1, log_link ? 0 : std::log(unit.sd),
              {"noise", k, name, "", 0, 0}, to);
}

void add_correlations(const Model& model, uword k, std::vector<Coefficient>& to) {
  const mat correlation = model.members.front().experts->correlation(k);
  for (uword i = 0; i < correlation.n_rows; ++i)
    for (uword j = i + 1; j < correlation.n_cols; ++j)
      to.push_back({"correlation", k, model.schema.target_at(i).name, model.schema.target_at(j).name,
                    correlation(i, j), correlation(i, j)});
}

}  // namespace

std::vector<Coefficient> coefficients(const Model& model) {
  const Mixture& m = model.members.front();
  const uword targets = model.schema.targets();
  std::vector<Coefficient> out;
  add_gate_coefficients(model, out);
  std::vector<Value<ExpertFamily>> experts;  // of each target
  for (uword j = 0; j < targets; ++j) experts.emplace_back(m.experts->marginal(j));
  for (uword k = 0; k < m.count(); ++k) {
    for (uword j = 0; j < targets; ++j) add_expert(model, *experts[j], k, model.schema.target_at(j), out);
    add_correlations(model, k, out);
  }
  const std::vector<double>& errors = model.standard_errors.values;
  for (std::size_t i = 0; i < out.size() && errors.size() == out.size(); ++i)
    out[i].standard_error = errors[i];
  return out;
}

double Coefficient::z() const {
  if (part == "noise" && term == "intercept") return std::nan("");
  if (part == "weight" || part == "centre" || part == "spread") return std::nan("");
  return estimate / standard_error;
}

double Coefficient::p() const { return std::erfc(std::abs(z()) / M_SQRT2); }

}  // namespace moekit
