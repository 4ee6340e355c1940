#include "sparse/neuron_bank.hpp"

#include <algorithm>
#include <cmath>

#include "simd/layer.hpp"

namespace moekit {

namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

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

void NeuronBank::forward(const mat& x, Work& work, mat& out) const {
  const uword n = x.n_rows, p = inputs_, m = outputs_, k = keys_.picks(), heads = shape_.heads;
  const uword width = 2 * heads * shape_.key_width;
  work.x.resize(p * n);
  for (uword j = 0; j < p; ++j)
    for (uword i = 0; i < n; ++i) work.x[j + i * p] = static_cast<float>(x(i, j));
  work.query.resize(width * n);
  simd::layer(queries_.data(), width, p, nullptr, work.x.data(), n, work.query.data());
  keys_.select(work.query.data(), heads * n, work.pick);
  work.weight.resize(work.pick.size());
  work.input.resize(work.pick.size());
  out.set_size(m, n);
  for (uword i = 0; i < n; ++i) {
    const float* row = work.x.data() + i * p;
    double* y = out.colptr(i);
    for (uword c = 0; c < m; ++c) {
      y[c] = 0;
      for (uword j = 0; j < p; ++j) y[c] += static_cast<double>(linear_[c + j * m]) * row[j];
    }
    const std::size_t begin = i * heads * k, end = begin + heads * k;
    // Neurons lie anywhere in memory: ask for all of them before the first is used.
    for (std::size_t at = begin; at < end; ++at)
      for (std::size_t byte = 0; byte < neuron_size() * sizeof(float); byte += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(&neurons_[work.pick[at].neuron * neuron_size()]) +
                           byte);
    for (uword h = 0; h < heads; ++h) {
      const std::size_t first = begin + h * k;
      double sum = 0;
      for (uword j = 0; j < k; ++j)
        sum += work.weight[first + j] = std::exp(work.pick[first + j].score - work.pick[first].score);
      for (uword j = 0; j < k; ++j) {
        const std::size_t at = first + j;
        work.weight[at] /= sum;
        const float* neuron = &neurons_[work.pick[at].neuron * neuron_size()];
        float z = 0;
        for (uword a = 0; a < p; ++a) z += neuron[a] * row[a];
        work.input[at] = z;
        const double answer = work.weight[at] * z * sigmoid(z);
        for (uword c = 0; c < m; ++c) y[c] += answer * neuron[p + c];
      }
    }
  }
}

void NeuronBank::backward(const Work& work, const mat& slope, Gradient& gradient) const {
  const uword n = slope.n_cols, p = inputs_, m = outputs_, k = keys_.picks(), heads = shape_.heads;
  gradient.queries.assign(queries_.size(), 0.0f);
  gradient.linear.assign(linear_.size(), 0.0f);
  gradient.keys.assign(keys_.keys().size(), 0.0f);
  gradient.neuron.clear();
  for (const KeyPick& pick : work.pick) gradient.neuron.push_back(pick.neuron);
  std::ranges::sort(gradient.neuron);
  gradient.neuron.erase(std::ranges::unique(gradient.neuron).begin(), gradient.neuron.end());
  gradient.rows.assign(gradient.neuron.size() * neuron_size(), 0.0f);
  std::vector<double> of_score(work.pick.size()), pull(k);
  for (uword i = 0; i < n; ++i) {
    const float* row = work.x.data() + i * p;
    const double* s = slope.colptr(i);
    for (uword j = 0; j < p; ++j)
      for (uword c = 0; c < m; ++c) gradient.linear[c + j * m] += static_cast<float>(s[c] * row[j]);
    for (uword h = 0; h < heads; ++h) {
      const std::size_t first = (i * heads + h) * k;
      double mean = 0;
      for (uword j = 0; j < k; ++j) {
        const std::size_t at = first + j;
        const std::uint32_t e = work.pick[at].neuron;
        const float* neuron = &neurons_[e * neuron_size()];
        const auto place = std::ranges::lower_bound(gradient.neuron, e) - gradient.neuron.begin();
        float* to = &gradient.rows[static_cast<std::size_t>(place) * neuron_size()];
        double along = 0;  // s . v
        for (uword c = 0; c < m; ++c) along += s[c] * neuron[p + c];
        const double z = work.input[at], half = sigmoid(z), answer = z * half, g = work.weight[at];
        const double of_input = along * g * (half + answer * (1 - half));
        for (uword a = 0; a < p; ++a) to[a] += static_cast<float>(of_input * row[a]);
        for (uword c = 0; c < m; ++c) to[p + c] += static_cast<float>(s[c] * g * answer);
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
  const std::span<const float> keys = keys_.keys();
  std::vector<double> of_query(width);
  for (uword i = 0; i < n; ++i) {
    std::fill(of_query.begin(), of_query.end(), 0.0);
    for (uword h = 0; h < heads; ++h)
      for (uword j = 0; j < k; ++j) {
        const std::size_t at = (i * heads + h) * k + j;
        const uword index[2] = {work.pick[at].neuron / side, work.pick[at].neuron % side};
        for (uword half = 0; half < 2; ++half) {
          const float* q = work.query.data() + i * width + (2 * h + half) * w;
          double* to = of_query.data() + (2 * h + half) * w;
          for (uword a = 0; a < w; ++a) {
            const std::size_t key = half * side * w + a * side + index[half];
            to[a] += of_score[at] * keys[key];
            gradient.keys[key] += static_cast<float>(of_score[at] * q[a]);
          }
        }
      }
    for (uword a = 0; a < p; ++a)
      for (uword o = 0; o < width; ++o)
        gradient.queries[o + a * width] += static_cast<float>(of_query[o] * work.x[a + i * p]);
  }
}

}  // namespace moekit
