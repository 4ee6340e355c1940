#include "train/loss.hpp"

#include <algorithm>
#include <cmath>

#include "moekit/error.hpp"
#include "moekit/sum.hpp"
#include "simd/vector_math.hpp"
#include "train/parameters.hpp"

namespace moekit::train {

namespace {

/// What experts answer, n x max(1, C) x K.
arma::cube answers_of(const Mixture& m, const Batch& batch) {
  arma::cube out;
  if (m.experts->classes() > 0) {
    m.experts->class_probabilities(batch, out);
    return out;
  }
  mat mean, sd;
  m.experts->moments(batch, mean, sd);
  out.set_size(batch.rows, 1, m.count());
  for (uword k = 0; k < m.count(); ++k) out.slice(k).col(0) = mean.col(k);
  return out;
}

/// The target, or the class as zeros and a one: n x max(1, C).
mat wanted(const Mixture& m, const Batch& batch) {
  const uword classes = m.experts->classes();
  if (classes == 0) return batch.target;
  mat out(batch.rows, classes, arma::fill::zeros);
  for (uword i = 0; i < batch.rows; ++i) out(i, static_cast<uword>(batch.target[i])) = 1;
  return out;
}

}  // namespace

Objective::Objective(const Mixture& m, const GradientOptions& options, std::uint64_t seed)
    : loss_(options.loss), router_(options, m.gate_basis.size(), m.count(), seed) {
  Mixture copy = m;
  gate_ = train::gate_parameters(copy);
  size_ = moving_parameters(copy).n_elem;
  if (options.noisy) noise_.zeros(m.gate_basis.size(), m.count());
}

double Objective::add(const Mixture& m, Batch& batch, std::span<double> gradient) {
  answers_.has_expert = answers_.has_gate = false;
  batch.answers = &answers_;
  router_.forward(m, batch, noise_);
  weight_.ones(batch.rows);
  if (batch.weight) std::copy_n(batch.weight, batch.rows, weight_.memptr());
  if (router_.dropped() > 0)
    for (uword i = 0; i < batch.rows; ++i)
      if (arma::accu(router_.gate().row(i)) == 0) weight_[i] = 0;
  const std::span<double> experts = gradient.subspan(gate_, size_ - gate_);
  double objective = loss_ == Loss::likelihood ? likelihood(m, batch, experts) : answers(m, batch, experts);
  mat none, of_noise;
  if (!noise_.is_empty()) of_noise = mat(gradient.data() + size_, noise_.n_rows, noise_.n_cols, false, true);
  mat* to = noise_.is_empty() ? &none : &of_noise;
  objective += router_.backward(m, batch, std::move(slope_), gradient.first(gate_), *to);
  if (!noise_.is_empty()) std::copy_n(of_noise.memptr(), of_noise.n_elem, gradient.data() + size_);
  batch.answers = nullptr;
  return objective;
}

double Objective::likelihood(const Mixture& m, const Batch& batch, std::span<double> experts) {
  const uword n = batch.rows, k = m.count();
  m.experts->log_density(batch, joint_);
  joint_ += router_.log_gate();
  responsibility_.set_size(n, k);
  row_.set_size(n);
  simd::softmax_rows(joint_.memptr(), n, k, responsibility_.memptr(), row_.memptr());
  responsibility_.each_col() %= weight_;
  m.experts->add_gradient(batch, responsibility_, experts);
  slope_ = responsibility_;
  double sum = 0;
  for (uword i = 0; i < n; ++i)
    if (weight_[i] > 0) sum += weight_[i] * row_[i];
  vec input;
  // A gate with a density of the features climbs the joint one.
  if (!router_.routed() && m.gate->log_input(batch, input)) sum += arma::dot(weight_, input);
  return sum;
}

double Objective::answers(const Mixture& m, const Batch& batch, std::span<double> experts) {
  const uword n = batch.rows, k = m.count();
  arma::cube answer = answers_of(m, batch);
  const mat target = wanted(m, batch), &gate = router_.gate();
  double sum = 0;
  slope_.zeros(n, k);
  if (loss_ == Loss::competitive) {
    joint_ = router_.log_gate();
    for (uword j = 0; j < k; ++j) joint_.col(j) -= 0.5 * arma::sum(arma::square(target - answer.slice(j)), 1);
    responsibility_.set_size(n, k);
    row_.set_size(n);
    simd::softmax_rows(joint_.memptr(), n, k, responsibility_.memptr(), row_.memptr());
    responsibility_.each_col() %= weight_;
    for (uword i = 0; i < n; ++i)
      if (weight_[i] > 0) sum += weight_[i] * row_[i];
    slope_ = responsibility_;
    for (uword j = 0; j < k; ++j)
      answer.slice(j) = (target - answer.slice(j)).eval().each_col() % responsibility_.col(j);
  } else {
    mat error = target;
    for (uword j = 0; j < k; ++j) error -= answer.slice(j).each_col() % gate.col(j);
    sum = -arma::dot(weight_, arma::sum(arma::square(error), 1));
    error.each_col() %= 2 * weight_;
    for (uword j = 0; j < k; ++j) {
      slope_.col(j) = gate.col(j) % arma::sum(error % answer.slice(j), 1);
      answer.slice(j) = error.each_col() % gate.col(j);
    }
  }
  if (!m.experts->add_answer_gradient(batch, answer, experts))
    throw Error(Errc::usage, "--loss: " + std::string(m.experts->name()) +
                                 " experts have the likelihood only; give --loss likelihood");
  return sum;
}

void settle_noise(Mixture& m, const Schema& schema, const Source& source, const Compute& compute, Loss loss) {
  if (loss == Loss::likelihood || m.experts->classes() > 0) return;
  const uword experts = m.count();
  std::vector<double> total(2 * experts, 0.0);
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
      gate_weights(m, schema, block, *work);
      mat mean, sd;
      m.experts->moments(work->batch, mean, sd);
      mat share = work->gate;
      const mat left = mat(-mean).each_col() + work->batch.target;
      if (loss == Loss::competitive) {
        share %= arma::exp(-0.5 * arma::square(left));
        share.each_col() /= arma::clamp(vec(arma::sum(share, 1)), 1e-300, arma::datum::inf);
      }
      for (uword k = 0; k < experts; ++k)
        for (uword i = 0; i < block.rows; ++i) {
          const double w = (block.weight ? block.weight[i] : 1.0) * share(i, k);
          sums[2 * k] += w;
          sums[2 * k + 1] += w * left(i, k) * left(i, k);
        }
    };
  });
  double weight = 0, squares = 0;
  for (uword k = 0; k < experts; ++k) {
    weight += total[2 * k];
    squares += total[2 * k + 1];
  }
  for (uword k = 0; k < experts; ++k)
    for (const Field& f : m.experts->fields(k))
      if (f.name == "noise") {
        // An idle expert has the noise of all.
        const bool idle = !(total[2 * k] > 1e-6 * weight);
        const double variance = idle ? squares / weight : total[2 * k + 1] / total[2 * k];
        f.values[0] = std::max(std::sqrt(variance), f.least);
      }
}

}  // namespace moekit::train
