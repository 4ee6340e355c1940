#pragma once
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "moekit/model.hpp"
#include "moekit/rng.hpp"
#include "shapes.hpp"

/// Models made by hand, without fit(), and blocks of rows for them.
namespace moekit::testing {

/// A private folder that goes away with its owner.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "moekit-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(path_), std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

/// Sets the parameters `values` so that the matrix that `read` returns, linear in them, comes nearest to
/// `wanted`: a test needs not know how a family keeps its coefficients.
template <class Read>
void solve_parameters(std::span<double> values, const mat& wanted, const Read& read) {
  mat map(wanted.n_elem, values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::fill(values.begin(), values.end(), 0.0);
    values[i] = 1;
    map.col(i) = arma::vectorise(read());
  }
  const vec solution = arma::pinv(map) * arma::vectorise(wanted);
  std::copy(solution.begin(), solution.end(), values.begin());
}

inline Field& field(std::vector<Field>& fields, std::string_view name) {
  for (Field& f : fields)
    if (f.name == name) return f;
  std::abort();
}

/// theta: p x K, any representative; only differences of columns matter.
inline void set_gate(GateFamily& gate, const mat& theta) {
  std::vector<Field> fields = gate.fields();
  if (gate.count() < 2) return;
  const mat centred = theta.each_col() - arma::mean(theta, 1);
  solve_parameters(field(fields, "contrasts").values, centred, [&] {
    const mat now = gate.coefficients();
    return mat(now.each_col() - arma::mean(now, 1));
  });
}

/// coefficients: p x outputs.
inline void set_expert(ExpertFamily& experts, uword k, const mat& coefficients) {
  std::vector<Field> fields = experts.fields(k);
  solve_parameters(field(fields, "coefficients").values, coefficients,
                   [&] { return experts.coefficients(k); });
}

inline void set_noise(ExpertFamily& experts, uword k, double noise) {
  std::vector<Field> fields = experts.fields(k);
  field(fields, "noise").values[0] = noise;
}

/// d numeric inputs x1, x2, ... with mean j and sd 1 + j / 2, and a category "colour" of three levels if
/// asked.
inline Schema test_schema(uword d, bool category, Task task) {
  Schema s;
  for (uword j = 0; j < d; ++j) {
    Column c;
    c.name = "x" + std::to_string(j + 1);
    c.index = static_cast<std::uint32_t>(j);
    c.mean = static_cast<double>(j);
    c.sd = 1 + 0.5 * static_cast<double>(j);
    c.min = c.mean - 3 * c.sd, c.max = c.mean + 3 * c.sd;
    s.inputs.push_back(c);
  }
  if (category) {
    Column c;
    c.name = "colour";
    c.kind = ColumnKind::categorical;
    c.levels = {"blue", "green", "red"};
    c.shares = {0.5, 0.25, 0.25, 0};
    s.inputs.push_back(c);
  }
  s.target.name = "y";
  s.target.task = task;
  if (task == Task::regression) s.target.mean = 10, s.target.sd = 2.5, s.target.min = 0, s.target.max = 20;
  s.rows = 100, s.total_weight = 100;
  return s;
}

inline Basis test_basis(const Schema& schema) {
  std::vector<Term> terms{Term{}};
  for (std::uint32_t j = 0; j < schema.inputs.size(); ++j) {
    const Column& c = schema.inputs[j];
    if (c.kind == ColumnKind::numeric) terms.push_back({Term::Kind::numeric, j, 0, c.mean, c.sd});
    for (std::uint32_t l = 0; l < c.levels.size(); ++l)
      terms.push_back({Term::Kind::level, j, l, c.shares[l], 1});
  }
  return Basis(std::move(terms));
}

inline mat random_matrix(Rng& rng, uword rows, uword columns, double size) {
  mat out(rows, columns);
  for (double& v : out) v = size * rng.normal();
  return out;
}

inline Mixture test_member(const Schema& schema, const std::string& family, uword experts,
                           std::uint64_t seed) {
  Rng rng(seed, 77);
  Mixture m;
  m.gate_basis = m.expert_basis = test_basis(schema);
  const uword p = m.gate_basis.size(), classes = schema.target.labels.size();
  m.gate = Value<GateFamily>(make_gate("softmax", {experts, m.gate_basis.groups()}));
  m.experts = Value<ExpertFamily>(make_experts(family, {experts, m.expert_basis.groups(), {0}, classes}));
  set_gate(*m.gate, random_matrix(rng, p, experts, 1.0));
  for (uword k = 0; k < experts; ++k) {
    set_expert(*m.experts, k, random_matrix(rng, p, classes ? classes - 1 : 1, 0.7));
    if (!classes) set_noise(*m.experts, k, 0.05 + 0.4 * rng.uniform());
  }
  m.share.assign(experts, 1.0 / static_cast<double>(experts));
  return m;
}

inline Model test_regression(uword d = 2, uword experts = 3, uword members = 1, bool category = false) {
  Model model;
  model.schema = test_schema(d, category, Task::regression);
  model.family = "gaussian", model.gate_family = "softmax";
  for (uword b = 0; b < members; ++b)
    model.members.push_back(test_member(model.schema, model.family, experts, b + 1));
  return model;
}

inline Model test_classification(uword d = 2, uword experts = 3, uword classes = 2, uword members = 1) {
  Model model;
  model.schema = test_schema(d, false, Task::classification);
  for (uword c = 0; c < classes; ++c) {
    model.schema.target.labels.push_back("class " + std::to_string(c));
    model.schema.target.shares.push_back(1.0 / static_cast<double>(classes));
  }
  model.family = "logistic", model.gate_family = "softmax";
  for (uword b = 0; b < members; ++b)
    model.members.push_back(test_member(model.schema, model.family, experts, b + 1));
  return model;
}

/// Rows drawn around the training means; targets are spread widely, not from the model.
inline BlockData test_rows(const Model& model, uword n, std::uint64_t seed = 1, bool weights = false) {
  Rng rng(seed, 5);
  BlockData rows;
  rows.rows = n;
  const Target& target = model.schema.target;
  for (const Column& c : model.schema.inputs)
    for (uword i = 0; i < n; ++i) {
      if (c.kind == ColumnKind::numeric)
        rows.numeric.push_back(c.mean + c.sd * rng.normal());
      else
        rows.levels.push_back(static_cast<std::uint32_t>(rng.below(c.levels.size())));
    }
  for (uword i = 0; i < n; ++i) {
    if (target.task == Task::classification)
      rows.target.push_back(static_cast<double>(rng.below(target.labels.size())));
    else
      rows.target.push_back(target.mean + target.sd * 1.5 * rng.normal());
    if (weights) rows.weight.push_back(rng.uniform() * 3);
  }
  return rows;
}

}  // namespace moekit::testing
