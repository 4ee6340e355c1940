#include "sparse/neuron_bank.hpp"

#include <algorithm>
#include <cmath>

#include "simd/layer.hpp"
#include "simd/neurons.hpp"

namespace moekit {

namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

/// Neurons that are asked for before they are used: some 16 KiB, so that they are still there then.
std::size_t neurons_ahead(std::size_t size) {
  return std::max<std::size_t>(4, (std::size_t{16} << 10) / (size * sizeof(float)));
}

/// to (columns x rows) = from (rows x columns) turned, in pieces that stay in the cache.
void turn(const float* from, uword rows, uword columns, float* to) {
  constexpr uword kPiece = 16;
  for (uword begin = 0; begin < rows; begin += kPiece)
    for (uword c = 0; c < columns; ++c)
      for (uword r = begin; r < std::min(rows, begin + kPiece); ++r) to[c + r * columns] = from[r + c * rows];
}

}  // namespace

NeuronBank::NeuronBank(const Neurons& shape, uword inputs, uword outputs)
    : shape_(shape),
      inputs_(inputs),
      outputs_(outputs),
      keys_(square_side(shape.count), shape.key_width, shape.picks),
      queries_(2 * shape.heads * shape.key_width * inputs, 0.0f),
      linear_(outputs * inputs, 0.0f),
      neurons_(shape.count * (inputs + outputs), 0.0f) {}

void NeuronBank::randomise(Rng& rng) {
  const auto fill = [&](std::span<float> values, double spread) {
    for (float& v : values) v = static_cast<float>(spread * rng.normal());
  };
  const double of_inputs = 1 / std::sqrt(static_cast<double>(inputs_));
  // Scores of a half then have a standard deviation of about 1 where the inputs are standardised.
  fill(queries_, of_inputs);
  fill(keys_.keys(), 1 / std::sqrt(static_cast<double>(shape_.key_width)));
  std::fill(linear_.begin(), linear_.end(), 0.0f);
  for (std::size_t e = 0; e < shape_.count; ++e) {
    const std::span<float> row = neurons().subspan(e * neuron_size(), neuron_size());
    fill(row.first(inputs_), of_inputs);
    std::ranges::fill(row.subspan(inputs_), 0.0f);
  }
}

/// Neurons lie anywhere in memory: their lines are asked for before they are used.
void NeuronBank::ask_for(std::uint32_t neuron) const {
  const float* from = &neurons_[neuron * neuron_size()];
  for (std::size_t i = 0; i < neuron_size(); i += 16) __builtin_prefetch(from + i);
}

void NeuronBank::forward(const mat& x, Work& work, mat& out) const {
  const uword n = x.n_rows, p = inputs_, m = outputs_, k = keys_.picks(), heads = shape_.heads;
  const uword width = 2 * heads * shape_.key_width;
  work.x.resize(p * n);
  for (uword j = 0; j < p; ++j)
    for (uword i = 0; i < n; ++i) work.x[j + i * p] = static_cast<float>(x(i, j));
  work.query.resize(width * n);
  simd::layer(queries_.data(), width, p, nullptr, work.x.data(), n, work.query.data());
  work.linear.resize(m * n);
  simd::layer(linear_.data(), m, p, nullptr, work.x.data(), n, work.linear.data());
  keys_.select(work.query.data(), heads * n, work.pick);
  work.weight.resize(work.pick.size());
  work.input.resize(work.pick.size());
  out.set_size(m, n);
  const std::size_t all = work.pick.size(), ahead = neurons_ahead(neuron_size());
  for (std::size_t at = 0; at < std::min(all, ahead); ++at) ask_for(work.pick[at].neuron);
  for (uword i = 0; i < n; ++i) {
    const float* row = work.x.data() + i * p;
    double* y = out.colptr(i);
    std::copy_n(work.linear.data() + i * m, m, y);
    for (uword h = 0; h < heads; ++h) {
      const std::size_t first = (i * heads + h) * k;
      double sum = 0;
      for (uword j = 0; j < k; ++j)
        sum += work.weight[first + j] = std::exp(work.pick[first + j].score - work.pick[first].score);
      for (uword j = 0; j < k; ++j) {
        const std::size_t at = first + j;
        if (at + ahead < all) ask_for(work.pick[at + ahead].neuron);
        work.weight[at] /= sum;
        const float* neuron = &neurons_[work.pick[at].neuron * neuron_size()];
        const double z = work.input[at] = static_cast<double>(simd::dot(neuron, row, p));
        simd::add_scaled(neuron + p, m, work.weight[at] * z * sigmoid(z), y);
      }
    }
  }
}

void NeuronBank::sort_picks(const Work& work, Gradient& gradient) const {
  thread_local std::vector<std::uint64_t> by_neuron;  // neuron, then the number of the pick
  const std::size_t all = work.pick.size();
  by_neuron.resize(all);
  for (std::size_t at = 0; at < all; ++at)
    by_neuron[at] = (static_cast<std::uint64_t>(work.pick[at].neuron) << 32) | at;
  std::ranges::sort(by_neuron);
  gradient.neuron.clear();
  gradient.begin.clear();
  gradient.order.resize(all);
  for (std::size_t at = 0; at < all; ++at) {
    const auto neuron = static_cast<std::uint32_t>(by_neuron[at] >> 32);
    gradient.order[at] = static_cast<std::uint32_t>(by_neuron[at]);
    if (gradient.neuron.empty() || gradient.neuron.back() != neuron) {
      gradient.neuron.push_back(neuron);
      gradient.begin.push_back(at);
    }
  }
  gradient.begin.push_back(all);
}

void NeuronBank::neuron_gradient(const Work& work, const Gradient& gradient, std::size_t e,
                                 float* row) const {
  const std::size_t p = inputs_, m = outputs_, of_row = picks();
  std::fill_n(row, neuron_size(), 0.0f);
  for (std::size_t i = gradient.begin[e]; i < gradient.begin[e + 1]; ++i) {
    const std::size_t at = gradient.order[i], r = at / of_row;
    simd::add_scaled(work.x.data() + r * p, p, gradient.of_input[at], row);
    simd::add_scaled(gradient.slope.data() + r * m, m, gradient.answer[at], row + p);
  }
}

void NeuronBank::backward(const Work& work, const mat& slope, Gradient& gradient) const {
  const uword n = slope.n_cols, p = inputs_, m = outputs_, k = keys_.picks(), heads = shape_.heads;
  sort_picks(work, gradient);
  gradient.slope.resize(slope.n_elem);
  std::transform(slope.begin(), slope.end(), gradient.slope.begin(),
                 [](double v) { return static_cast<float>(v); });
  gradient.linear.assign(linear_.size(), 0.0f);
  simd::add_outer(gradient.slope.data(), m, n, work.x.data(), p, gradient.linear.data());
  const std::size_t all = work.pick.size(), ahead = neurons_ahead(neuron_size());
  gradient.of_input.resize(all);
  gradient.answer.resize(all);
  std::vector<double> of_score(all), pull(k);
  for (std::size_t at = 0; at < std::min(all, ahead); ++at) ask_for(work.pick[at].neuron);
  for (uword i = 0; i < n; ++i) {
    const float* s = gradient.slope.data() + i * m;
    for (uword h = 0; h < heads; ++h) {
      const std::size_t first = (i * heads + h) * k;
      double mean = 0;
      for (uword j = 0; j < k; ++j) {
        const std::size_t at = first + j;
        if (at + ahead < all) ask_for(work.pick[at + ahead].neuron);
        const auto along =
            static_cast<double>(simd::dot(s, &neurons_[work.pick[at].neuron * neuron_size()] + p, m));
        const double z = work.input[at], half = sigmoid(z), answer = z * half, g = work.weight[at];
        gradient.of_input[at] = static_cast<float>(along * g * (half + answer * (1 - half)));
        gradient.answer[at] = static_cast<float>(g * answer);
        pull[j] = along * answer;
        mean += g * pull[j];
      }
      for (uword j = 0; j < k; ++j) of_score[first + j] = work.weight[first + j] * (pull[j] - mean);
    }
  }
  add_scores(work, of_score, gradient);
}

/// From the scores to the keys and, through the queries, to what makes them.
void NeuronBank::add_scores(const Work& work, const std::vector<double>& of_score, Gradient& gradient) const {
  const uword p = inputs_, k = keys_.picks(), heads = shape_.heads, w = keys_.width(), side = keys_.side();
  const uword width = 2 * heads * w, n = work.x.size() / std::max<uword>(p, 1);
  // Key by key, so that what belongs to a pick is contiguous.
  std::vector<float> keys(2 * side * w), of_keys(keys.size(), 0.0f), of_queries(width * n);
  for (uword half = 0; half < 2; ++half)
    turn(keys_.keys().data() + half * side * w, side, w, keys.data() + half * side * w);
  std::vector<double> of_query(width);
  for (uword i = 0; i < n; ++i) {
    std::fill(of_query.begin(), of_query.end(), 0.0);
    for (uword h = 0; h < heads; ++h)
      for (uword j = 0; j < k; ++j) {
        const std::size_t at = (i * heads + h) * k + j;
        const uword index[2] = {work.pick[at].neuron / side, work.pick[at].neuron % side};
        for (uword half = 0; half < 2; ++half) {
          const std::size_t key = (half * side + index[half]) * w, query = (2 * h + half) * w;
          simd::add_scaled(keys.data() + key, w, of_score[at], of_query.data() + query);
          simd::add_scaled(work.query.data() + i * width + query, w, static_cast<float>(of_score[at]),
                           of_keys.data() + key);
        }
      }
    std::transform(of_query.begin(), of_query.end(),
                   of_queries.begin() + static_cast<std::ptrdiff_t>(i * width),
                   [](double v) { return static_cast<float>(v); });
  }
  gradient.keys.resize(keys.size());
  for (uword half = 0; half < 2; ++half)
    turn(of_keys.data() + half * side * w, w, side, gradient.keys.data() + half * side * w);
  gradient.queries.assign(queries_.size(), 0.0f);
  simd::add_outer(of_queries.data(), width, n, work.x.data(), p, gradient.queries.data());
}

}  // namespace moekit
