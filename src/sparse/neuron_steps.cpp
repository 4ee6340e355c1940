#include "sparse/neuron_steps.hpp"

#include <cmath>

#include "moekit/sum.hpp"
#include "simd/adam.hpp"
#include "simd/neurons.hpp"

namespace moekit {

namespace {

constexpr double kMomentum = 0.9, kSquares = 0.999, kSmall = 1e-8;
/// Values of neurons that a step must touch before threads are started for it: starting them costs as much
/// as some hundred thousand products.
constexpr std::size_t kWorthThreads = std::size_t{1} << 20;
/// Dense parameters whose step a thread takes at a time.
constexpr std::size_t kValuesOfTask = std::size_t{1} << 15;

std::size_t dense_parameters(NeuronBank& bank) {
  return bank.queries().size() + bank.linear().size() + bank.keys().keys().size();
}

}  // namespace

void NeuronSteps::state(Archive& archive, NeuronBank& bank) {
  archive(squares_, first_, second_, taken_);
  // Before the first step there are none.
  const bool begun = !squares_.empty();
  const std::size_t dense = begun ? dense_parameters(bank) : 0;
  Archive::require(squares_.size() == (begun ? bank.neurons().size() / bank.neuron_size() : 0));
  Archive::require(first_.size() == dense && second_.size() == dense);
}

void NeuronSteps::begin(NeuronBank& bank) {
  if (!squares_.empty()) return;
  squares_.assign(bank.neurons().size() / bank.neuron_size(), 0.0f);
  first_.assign(dense_parameters(bank), 0.0f);
  second_ = first_;
}

void NeuronSteps::step(NeuronBank& bank, const mat& x, double weight, const NeuronBank::SlopeOf& slope_of,
                       const SparseStep& step) {
  thread_local NeuronBank::Work kept_work;
  thread_local NeuronBank::Gradient kept_gradient;
  NeuronBank::Work& work = kept_work;  // by these names other threads would see their own
  NeuronBank::Gradient& gradient = kept_gradient;
  begin(bank);
  const std::size_t touched = x.n_rows * bank.picks() * bank.neuron_size();
  const int threads = touched < kWorthThreads ? 1 : step.threads;
  const auto settle = [&](uword row) { step_alone(bank, row, work, gradient, step); };
  bank.learn(x, slope_of, settle, work, gradient, threads);
  taken_ += 1;
  step_dense(bank, gradient, 1 / weight, step.dense_rate, threads);
  step_shared(bank, work, gradient, step, threads);
}

/// Adam on queries, linear part and keys, one behind the other.
void NeuronSteps::step_dense(NeuronBank& bank, const NeuronBank::Gradient& gradient, double scale,
                             double rate, int threads) {
  simd::AdamStep step;
  step.scale = -scale;  // the gradient leads up
  step.momentum = kMomentum;
  step.squares = kSquares;
  step.rate = rate / (1 - std::pow(kMomentum, taken_));
  step.seen = 1 - std::pow(kSquares, taken_);
  step.small = kSmall;
  std::size_t at = 0;
  Compute compute;
  compute.threads = threads;
  const auto move = [&](std::span<float> values, const std::vector<float>& slope) {
    parallel_for((values.size() + kValuesOfTask - 1) / kValuesOfTask, compute, [&](std::size_t task) {
      const std::size_t begin = task * kValuesOfTask, n = std::min(kValuesOfTask, values.size() - begin);
      simd::adam(step, slope.data() + begin, &first_[at + begin], &second_[at + begin], values.data() + begin,
                 n);
    });
    at += values.size();
  };
  move(bank.queries(), gradient.queries);
  move(bank.linear(), gradient.linear);
  move(bank.keys().keys(), gradient.keys);
}

/// How far a neuron moves along its gradient, of which this is the sum of the squares.
float NeuronSteps::rate_of(std::uint32_t neuron, float squares, double rate) {
  float& sum = squares_[neuron];
  sum += squares;
  return static_cast<float>(rate / (std::sqrt(sum) + kSmall));
}

/// The neurons that this row picked and no other.
void NeuronSteps::step_alone(NeuronBank& bank, uword row, const NeuronBank::Work& work,
                             const NeuronBank::Gradient& gradient, const SparseStep& step) {
  const std::size_t p = bank.inputs(), m = bank.outputs(), k = bank.picks(), size = bank.neuron_size();
  const auto kept = static_cast<float>(1 - step.decay), of_all = static_cast<float>(size);
  const float *x = work.x.data() + row * p, *slope = gradient.slope.data() + row * m;
  const float of_x = simd::dot(x, x, p) / of_all, of_slope = simd::dot(slope, slope, m) / of_all;
  for (std::size_t at = row * k; at < (row + 1) * k; ++at)
    __builtin_prefetch(&squares_[work.pick[at].neuron], 1);
  for (std::size_t at = row * k; at < (row + 1) * k; ++at) {
    if (!gradient.alone[at]) continue;
    const std::uint32_t neuron = work.pick[at].neuron;
    const float u = gradient.of_input[at], v = gradient.answer[at];
    const float rate = rate_of(neuron, u * u * of_x + v * v * of_slope, step.row_rate);
    float* values = &bank.neurons()[neuron * size];
    simd::decay_and_add(kept, rate * u, x, p, values);
    simd::decay_and_add(kept, rate * v, slope, m, values + p);
  }
}

/// The neurons with several picks, each on its own.
void NeuronSteps::step_shared(NeuronBank& bank, const NeuronBank::Work& work,
                              const NeuronBank::Gradient& gradient, const SparseStep& step, int threads) {
  constexpr std::size_t kTogether = 256, kAsked = 16;
  const std::size_t size = bank.neuron_size(), picked = gradient.neuron.size();
  const auto kept = static_cast<float>(1 - step.decay), of_all = static_cast<float>(size);
  Compute compute;
  compute.threads = threads;
  parallel_for((picked + kTogether - 1) / kTogether, compute, [&](std::size_t piece) {
    std::vector<float> g(size);
    const std::size_t begin = piece * kTogether, end = std::min(picked, begin + kTogether);
    const auto ask_for = [&](std::size_t from) {
      bank.ask_for(from, std::min(end, from + kAsked), [&](std::size_t e) { return gradient.neuron[e]; });
    };
    ask_for(begin);
    for (std::size_t e = begin; e < end; ++e) {
      if ((e - begin) % kAsked == 0) ask_for(e + kAsked);
      bank.neuron_gradient(work, gradient, e, g.data());
      const std::uint32_t neuron = gradient.neuron[e];
      const float rate = rate_of(neuron, simd::dot(g.data(), g.data(), size) / of_all, step.row_rate);
      simd::decay_and_add(kept, rate, g.data(), size, &bank.neurons()[neuron * size]);
    }
  });
}

}  // namespace moekit
