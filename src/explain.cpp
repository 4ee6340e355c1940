#include "moekit/explain.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "components.hpp"
#include "picking.hpp"

namespace moekit {

namespace {

std::string number(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

/// The row alone, as often as asked.
BlockData copies(const Schema& schema, const Block& block, uword row, uword times) {
  BlockData out;
  out.rows = times;
  for (uword j = 0; j < schema.numeric_inputs(); ++j)
    out.numeric.insert(out.numeric.end(), times, block.numeric_column(j)[row]);
  for (uword j = 0; j < schema.categorical_inputs(); ++j)
    out.levels.insert(out.levels.end(), times, block.level_column(j)[row]);
  if (block.offset) out.offset.assign(times, block.offset[row]);
  return out;
}

std::string value_of(const Column& column, const Block& block, uword row) {
  if (column.kind == ColumnKind::numeric) {
    const double x = block.numeric_column(column.index)[row];
    return std::isnan(x) ? "" : number(x);
  }
  const std::uint32_t code = block.level_column(column.index)[row];
  return code < column.levels.size() ? column.levels[code] : "";
}

/// Terms of a linear predictor, gathered by input.
class ByInput {
 public:
  explicit ByInput(const Schema& schema) : schema_(schema), sums_(schema.inputs.size(), 0.0) {}
  void add(const Basis& basis, const arma::rowvec& features, const vec& coefficients, double factor) {
    for (uword j = 0; j < basis.size(); ++j) {
      const Term& term = basis.terms()[j];
      const double amount = factor * features[j] * coefficients[j];
      (term.kind == Term::Kind::intercept ? base : sums_[term.column]) += amount;
      if (term.kind != Term::Kind::intercept) used_.resize(sums_.size()), used_[term.column] = true;
    }
  }
  std::vector<InputPart> parts(const Block& row) const {
    std::vector<InputPart> out;
    for (std::size_t c = 0; c < used_.size(); ++c)
      if (used_[c]) out.push_back({schema_.inputs[c].name, value_of(schema_.inputs[c], row, 0), sums_[c]});
    std::stable_sort(out.begin(), out.end(), [](const InputPart& a, const InputPart& b) {
      return std::abs(a.amount) > std::abs(b.amount);
    });
    return out;
  }
  double total() const { return std::accumulate(sums_.begin(), sums_.end(), base); }
  double base = 0;

 private:
  const Schema& schema_;
  std::vector<double> sums_;
  std::vector<bool> used_;
};

/// Do the experts have a linear predictor on the basis? Networks have none.
bool linear(const Mixture& m) {
  const mat own = m.experts->coefficients(0);
  return own.n_rows == m.expert_basis.size() && own.n_cols > 0;
}

void explain_inputs(const Model& model, const std::vector<Posterior>& posts, const Block& one, uword label,
                    Explanation& out) {
  const Schema& schema = model.schema;
  const Unit unit = target_unit(schema.target);
  ByInput sums(schema);
  const bool classes = schema.target.task == Task::classification;
  const bool log_link = family_traits(model.family).log_link;
  for (const Mixture& m : model.members)
    if (!linear(m)) return;
  if (!classes && !log_link) {
    const double part = unit.sd / static_cast<double>(model.members.size());
    sums.base = unit.mean;
    for (std::size_t i = 0; i < model.members.size(); ++i)
      for (uword k = 0; k < model.members[i].count(); ++k)
        sums.add(model.members[i].expert_basis, posts[i].batch.expert.row(0),
                 model.members[i].experts->coefficients(k).col(0), part * posts[i].gate(0, k));
  } else {
    const Mixture& m = model.members.front();
    const arma::rowvec features = posts[0].batch.expert.row(0);
    const mat own = m.experts->coefficients(out.leading);
    const std::string expert = " of expert " + std::to_string(out.leading + 1);
    if (log_link) {
      sums.add(m.expert_basis, features, own.col(0), 1);
      sums.base += std::log(unit.sd) + (one.offset ? one.offset[0] : 0.0);
      out.of = "ln mean" + expert;
    } else {
      // Coefficients are against the last class.
      const uword last = own.n_cols, other = label == last ? 0 : last;
      if (label < last) sums.add(m.expert_basis, features, own.col(label), 1);
      if (other < last) sums.add(m.expert_basis, features, own.col(other), -1);
      out.of = "ln p(" + schema.target.labels[label] + ") / p(" + schema.target.labels[other] + ")" + expert;
    }
  }
  out.base = sums.base;
  out.total = sums.total();
  out.inputs = sums.parts(one);
}

/// Logarithms of the weights of one row before any picking, but for a constant: they tell experts apart whose
/// weights have rounded to 0 and 1.
arma::rowvec log_weights(const Mixture& m, const Posterior& post) {
  const bool routed = m.routing.active(m.count());
  if (routed && m.routing.score == RoutingRule::Score::hash) return arma::log(post.gate.row(0));
  Batch batch = post.batch;
  batch.picks = nullptr;
  mat out;
  m.gate->log_prob(batch, out);
  mat score;
  if (routed) routing_scores(m.routing, *m.gate, batch, out, score);
  return out.row(0);
}

void explain_gate(const Model& model, const Posterior& post, const Block& one, Explanation& out) {
  const Mixture& m = model.members.front();
  const arma::rowvec gate = post.gate.row(0), weight = log_weights(m, post);
  std::vector<uword> order(m.count());
  std::iota(order.begin(), order.end(), uword{0});
  std::stable_sort(order.begin(), order.end(), [&](uword a, uword b) {
    return gate[a] > gate[b] || (gate[a] == 0 && gate[b] == 0 && weight[a] > weight[b]);
  });
  out.leading = order[0];
  out.second = order.size() > 1 ? order[1] : order[0];
  out.log_odds = out.second == out.leading ? 0 : weight[out.leading] - weight[out.second];
  const mat scores = m.gate->coefficients();
  if (scores.n_rows != m.gate_basis.size() || scores.n_cols != m.count() || m.count() < 2) return;
  ByInput sums(model.schema);
  sums.add(m.gate_basis, post.batch.gate_features().row(0), scores.col(out.leading) - scores.col(out.second),
           1);
  out.gate_base = sums.base;
  out.gate = sums.parts(one);
}

/// Who has the largest weight in each row.
arma::uvec winners(const Model& model, const BlockData& rows) {
  Posterior post;
  gate_weights(model.members.front(), model.schema, rows.view(), post);
  return arma::index_max(post.gate, 1);
}

/// From x in steps towards `end`, then halving the step in which the winner changes.
void cross(const Model& model, const Column& column, const BlockData& base, double end, Explanation& out) {
  constexpr uword kSteps = 512, kHalvings = 6;
  const double x = base.numeric[column.index];
  double low = x, high = end;
  uword becomes = out.leading;
  for (uword round = 0; round < kHalvings; ++round) {
    BlockData rows = copies(model.schema, base.view(), 0, kSteps);
    double* values = rows.numeric.data() + column.index * kSteps;
    for (uword s = 0; s < kSteps; ++s)
      values[s] = low + (high - low) * static_cast<double>(s + 1) / static_cast<double>(kSteps);
    const std::vector<double> tried(values, values + kSteps);
    const arma::uvec winner = winners(model, rows);
    const arma::uvec changed = arma::find(winner != out.leading, 1);
    if (changed.is_empty()) return;
    const uword s = changed[0];
    becomes = winner[s];
    high = tried[s];
    if (s > 0) low = tried[s - 1];
  }
  out.crossings.push_back(
      {column.name, number(x), number(high), becomes, column.sd > 0 ? std::abs(high - x) / column.sd : 0.0});
}

void find_crossings(const Model& model, const Block& one, Explanation& out) {
  if (model.members.front().count() < 2) return;
  const BlockData base = copies(model.schema, one, 0, 1);
  for (const Column& column : model.schema.inputs) {
    if (column.kind == ColumnKind::numeric) {
      const double x = base.numeric[column.index];
      if (std::isnan(x) || !(column.max > column.min)) continue;
      const double reach = 0.5 * (column.max - column.min);
      cross(model, column, base, std::max(column.max, x) + reach, out);
      cross(model, column, base, std::min(column.min, x) - reach, out);
      continue;
    }
    BlockData rows = copies(model.schema, one, 0, column.levels.size());
    for (uword l = 0; l < rows.rows; ++l)
      rows.levels[column.index * rows.rows + l] = static_cast<std::uint32_t>(l);
    if (rows.rows == 0) continue;
    const arma::uvec winner = winners(model, rows);
    for (uword l = 0; l < rows.rows; ++l)
      if (winner[l] != out.leading)
        out.crossings.push_back({column.name, value_of(column, one, 0), column.levels[l], winner[l], 1});
  }
  std::stable_sort(out.crossings.begin(), out.crossings.end(),
                   [](const Crossing& a, const Crossing& b) { return a.distance < b.distance; });
}

}  // namespace

Explanation explain(const Model& model, const Block& block, uword row) {
  const BlockData held = copies(model.schema, block, row, 1);
  const Block one = held.view();
  const Prediction p = predict(model, one);
  const bool classes = model.schema.target.task == Task::classification;
  const uword label = classes ? p.label[0] : 0;
  Explanation out;
  out.prediction = classes ? p.probability(0, label) : p.mean[0];
  if (classes) out.label = model.schema.target.labels[label];
  const double part = 1.0 / static_cast<double>(model.members.size());
  const Unit unit = target_unit(model.schema.target);
  std::vector<Posterior> posts(model.members.size());
  for (std::size_t i = 0; i < model.members.size(); ++i) {
    const Mixture& m = model.members[i];
    gate_weights(m, model.schema, one, posts[i]);
    mat mean, sd;
    arma::cube probability;
    if (classes)
      m.experts->class_probabilities(posts[i].batch, probability);
    else
      m.experts->moments(posts[i].batch, mean, sd);
    for (uword k = 0; k < m.count(); ++k) {
      const double weight = part * posts[i].gate(0, k);
      const double answer = classes ? probability(0, label, k) : unit.user(mean(0, k));
      out.experts.push_back({i, k, weight, answer, weight * answer});
    }
  }
  std::stable_sort(out.experts.begin(), out.experts.end(),
                   [](const ExpertPart& a, const ExpertPart& b) { return a.weight > b.weight; });
  explain_gate(model, posts[0], one, out);
  explain_inputs(model, posts, one, label, out);
  find_crossings(model, one, out);
  return out;
}

}  // namespace moekit
