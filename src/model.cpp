#include "moekit/model.hpp"

#include <cmath>

#include "picking.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

void Mixture::prepare(const Schema& schema, const Block& block, Batch& batch) const {
  batch.rows = block.rows;
  batch.weight = block.weight;
  batch.offset = block.offset;
  const bool in_short = experts->short_ramps() && !expert_basis.runs().empty();
  if (in_short) {
    expert_basis.features(schema, block, batch.expert, batch.ramps);
  } else {
    expert_basis.features(schema, block, batch.expert);
    batch.ramps = {};
  }
  batch.kept.value.reset();
  batch.answers = nullptr;
  if (gate_basis == expert_basis && !in_short)
    batch.gate.reset();
  else
    gate_basis.features(schema, block, batch.gate);
  if (noise_basis.size() < 2)
    batch.noise.ones(block.rows, 1);
  else if (noise_basis == expert_basis)
    batch.noise = batch.expert;
  else
    noise_basis.features(schema, block, batch.noise);
  const uword targets = schema.targets();
  batch.target.set_size(block.rows);
  batch.targets.set_size(targets > 1 ? block.rows : 0, targets > 1 ? targets : 0);
  for (uword j = 0; j < targets; ++j) {
    const Target& target = schema.target_at(j);
    const bool standardise = target.task == Task::regression;
    double* to = targets > 1 ? batch.targets.colptr(j) : batch.target.memptr();
    for (uword i = 0; i < block.rows; ++i) {
      const double y = block.target ? block.target_column(j)[i] : std::nan("");
      to[i] = standardise ? (y - target.mean) / target.sd : y;
    }
  }
  if (targets > 1) batch.target = batch.targets.col(0);
}

double Mixture::effective_parameters() const {
  return gate->effective_parameters() + experts->effective_parameters();
}

std::vector<Field> Mixture::fields() {
  std::vector<Field> all = gate->fields();
  for (uword k = 0; k < count(); ++k)
    for (const Field& f : experts->fields(k)) all.push_back(f);
  return all;
}

void Mixture::select(std::span<const uword> from) {
  gate->select(from);
  experts->select(from);
  routing.select(from);
  std::vector<double> next;
  if (!share.empty())
    for (const uword k : from) next.push_back(share[k]);
  share = std::move(next);
  shapes.select(from);
}

namespace {

/// Is every expert of a softmax of scores asked? Then out.gate are those scores.
bool plain_softmax(const Mixture& mixture, Posterior& out) {
  if (mixture.routing.active(mixture.count()) || !mixture.gate->logits(out.batch, out.gate)) return false;
  out.batch.picks = nullptr;
  out.gate_before.reset();
  return true;
}

/// Of scores that are no softmax: sigmoids, made to add up to 1; of a hash, which has no scores, the picks.
void keep_scores(const Mixture& mixture, Posterior& out) {
  if (mixture.routing.score == RoutingRule::Score::hash) {
    out.gate_before = arma::exp(out.gate);
    return;
  }
  mixture.gate->logits(out.batch, out.gate_before);
  out.gate_before = 1 / (1 + arma::exp(-out.gate_before));
  const vec sum = arma::sum(out.gate_before, 1);
  out.gate_before.each_col() /= arma::clamp(sum, 1e-300, arma::datum::inf);
}

/// out.gate: n x K, logarithms of the gate's weights under the routing.
void log_gate(const Mixture& mixture, Posterior& out) {
  const RoutingRule& rule = mixture.routing;
  const bool routed = rule.active(mixture.count());
  out.batch.picks = nullptr;
  out.gate_before.reset();
  // What picks are weighed with is normalised over them: scores serve as well as weights.
  if (!routed || rule.score != RoutingRule::Score::softmax || !mixture.gate->logits(out.batch, out.gate))
    mixture.gate->log_prob(out.batch, out.gate);
  if (!routed) return;
  const bool softmax = rule.score == RoutingRule::Score::softmax;
  if (out.keep_before && softmax) {
    out.gate_before.set_size(arma::size(out.gate));
    out.log_likelihood.set_size(out.gate.n_rows);
    simd::softmax_rows(out.gate.memptr(), out.gate.n_rows, out.gate.n_cols, out.gate_before.memptr(),
                       out.log_likelihood.memptr());
  }
  route(rule, *mixture.gate, out.batch, out.gate, out.picks);
  if (out.keep_before && !softmax) keep_scores(mixture, out);
  out.batch.picks = &out.picks;
}

/// Of the picks alone: out.gate from logarithms, responsibilities and log-likelihoods.
void posterior_of_picks(Posterior& out) {
  thread_local std::vector<double> joint;
  joint.resize(out.picks.rows.size());
  for_picks(out.picks,
            [&](uword at, uword i, uword k) { joint[at] = out.gate(i, k) + out.log_density(i, k); });
  log_sums(out.picks, out.batch.rows, joint.data(), out.log_likelihood);
  out.responsibility.zeros();
  for_picks(out.picks, [&](uword at, uword i, uword k) {
    out.responsibility(i, k) = std::exp(joint[at] - out.log_likelihood[i]);
  });
}

/// out.gate: its exponentials, which are 0 beside the picks.
void weights_of_picks(Posterior& out) {
  thread_local std::vector<double> kept;
  kept.resize(out.picks.rows.size());
  for_picks(out.picks, [&](uword at, uword i, uword k) { kept[at] = std::exp(out.gate(i, k)); });
  out.gate.zeros();
  for_picks(out.picks, [&](uword at, uword i, uword k) { out.gate(i, k) = kept[at]; });
}

}  // namespace

void posterior(const Mixture& mixture, const Schema& schema, const Block& block, Posterior& out) {
  mixture.prepare(schema, block, out.batch);
  const uword n = block.rows, k = mixture.count();
  out.responsibility.set_size(n, k);
  out.log_likelihood.set_size(n);
  if (plain_softmax(mixture, out)) {
    mixture.experts->log_density(out.batch, out.log_density);
    simd::posterior_rows(out.gate.memptr(), out.log_density.memptr(), n, k, out.responsibility.memptr(),
                         out.log_likelihood.memptr());
    return;
  }
  log_gate(mixture, out);
  mixture.experts->log_density(out.batch, out.log_density);
  if (out.batch.picks) {
    posterior_of_picks(out);
    weights_of_picks(out);
    return;
  }
  out.log_density += out.gate;
  simd::exp_inplace(out.gate.memptr(), out.gate.n_elem);
  simd::softmax_rows(out.log_density.memptr(), n, k, out.responsibility.memptr(),
                     out.log_likelihood.memptr());
}

void gate_weights(const Mixture& mixture, const Schema& schema, const Block& block, Posterior& out) {
  mixture.prepare(schema, block, out.batch);
  if (plain_softmax(mixture, out)) {
    out.log_likelihood.set_size(block.rows);
    simd::softmax_rows(out.gate.memptr(), block.rows, mixture.count(), out.gate.memptr(),
                       out.log_likelihood.memptr());
    return;
  }
  log_gate(mixture, out);
  if (out.batch.picks)
    weights_of_picks(out);
  else
    simd::exp_inplace(out.gate.memptr(), out.gate.n_elem);
}

double log_unit(const Schema& schema) {
  double sum = 0;
  for (uword j = 0; j < schema.targets(); ++j)
    if (schema.target_at(j).task == Task::regression) sum -= std::log(schema.target_at(j).sd);
  return sum;
}

double log_likelihood(const Model& model, const Source& source, const Compute& compute) {
  const double part = -std::log(static_cast<double>(model.members.size()));
  double total[2] = {0, 0};  // weighted log-likelihood on the standardised target, and weight
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
      mat each(block.rows, model.members.size());
      for (uword m = 0; m < each.n_cols; ++m) {
        posterior(model.members[m], model.schema, block, *work);
        each.col(m) = work->log_likelihood;
      }
      vec whole(block.rows);
      simd::softmax_rows(each.memptr(), each.n_rows, each.n_cols, each.memptr(), whole.memptr());
      for (uword i = 0; i < block.rows; ++i) {
        const double w = block.weight ? block.weight[i] : 1.0;
        sums[0] += w * (whole[i] + part);
        sums[1] += w;
      }
    };
  });
  return total[0] + total[1] * log_unit(model.schema);
}

}  // namespace moekit
