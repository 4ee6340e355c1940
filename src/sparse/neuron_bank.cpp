#include "sparse/neuron_bank.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "moekit/sum.hpp"
#include "simd/layer.hpp"
#include "simd/neurons.hpp"

namespace moekit {

namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

/// Rows, or inputs, that a thread takes at a time; pieces of the rows over which slopes of keys are summed.
constexpr uword kRows = 32, kPieces = 4;
/// Values of a neuron that are asked for; the processor sees by itself that the others follow.
constexpr std::size_t kAhead = 128;

/// piece(begin, end) for 0 .. n - 1, `size` at a time.
template <class Piece>
void in_pieces(uword n, uword size, int threads, const Piece& piece) {
  if (n == 0) return;
  if (threads == 1) {
    for (uword begin = 0; begin < n; begin += size) piece(begin, std::min(n, begin + size));
    return;
  }
  Compute compute;
  compute.threads = threads;
  parallel_for((n + size - 1) / size, compute,
               [&](std::size_t i) { piece(i * size, std::min<uword>(n, (i + 1) * size)); });
}

struct Sorted {
  std::uint32_t neuron, pick;
};

/// By neuron, those of one neuron in the order in which they were: a radix sort, ten times as fast as one
/// that compares.
void sort_by_neuron(std::vector<Sorted>& all, std::vector<Sorted>& other, std::size_t neurons) {
  constexpr unsigned kBits = 11;
  other.resize(all.size());
  for (unsigned shift = 0; shift == 0 || (neurons - 1) >> shift; shift += kBits) {
    const auto digit = [&](const Sorted& s) { return (s.neuron >> shift) & ((1u << kBits) - 1); };
    std::array<std::size_t, (1u << kBits) + 1> begin{};
    for (const Sorted& s : all) ++begin[digit(s) + 1];
    std::partial_sum(begin.begin(), begin.end(), begin.begin());
    for (const Sorted& s : all) other[begin[digit(s)]++] = s;
    all.swap(other);
  }
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

void NeuronBank::look_up(std::uint32_t neuron) const {
  static_cast<void>(*static_cast<const volatile float*>(&neurons_[neuron * neuron_size()]));
}
void NeuronBank::fetch(std::uint32_t neuron) const {
  const float* from = &neurons_[neuron * neuron_size()];
  for (std::size_t i = 0; i < std::min(kAhead, neuron_size()); i += 16) __builtin_prefetch(from + i, 0, 2);
}

void NeuronBank::prepare(const mat& x, Work& work) const {
  const uword n = x.n_rows, p = inputs_;
  work.x.resize(p * n);
  for (uword j = 0; j < p; ++j)
    for (uword i = 0; i < n; ++i) work.x[j + i * p] = static_cast<float>(x(i, j));
  work.query.resize(queries_.size() / std::max<uword>(p, 1) * n);
  work.linear.resize(outputs_ * n);
  for (auto* v : {&work.weight, &work.input}) v->resize(picks() * n);
  work.pick.resize(picks() * n);
}

void NeuronBank::forward(const mat& x, Work& work, mat& out, int threads) const {
  prepare(x, work);
  out.set_size(outputs_, x.n_rows);
  in_pieces(x.n_rows, kRows, threads, [&](uword begin, uword end) { forward_rows(begin, end, work, out); });
}

void NeuronBank::pick_rows(uword begin, uword end, Work& work,
                           const std::function<void(uword)>& found) const {
  const uword p = inputs_, m = outputs_, heads = shape_.heads, width = 2 * heads * shape_.key_width;
  const float* x = work.x.data() + begin * p;
  float* query = work.query.data() + begin * width;
  simd::layer(queries_.data(), width, p, nullptr, x, end - begin, query);
  simd::layer(linear_.data(), m, p, nullptr, x, end - begin, work.linear.data() + begin * m);
  keys_.select(query, heads * (end - begin), work.pick.data() + begin * picks(),
               [&](uword q) { found(begin * heads + q); });
}

void NeuronBank::ask_for_picks(std::size_t query, const Work& work) const {
  const uword k = keys_.picks();
  ask_for(query * k, (query + 1) * k, [&](std::size_t at) { return work.pick[at].neuron; });
}

void NeuronBank::forward_rows(uword begin, uword end, Work& work, mat& out) const {
  const uword m = outputs_, heads = shape_.heads;
  const auto answer_query = [&](std::size_t q) {
    double* y = out.colptr(q / heads);
    if (q % heads == 0) std::copy_n(work.linear.data() + q / heads * m, m, y);
    answer(q, work, y);
  };
  // Neurons are asked for when they are picked, and answer when the next query has its picks too.
  pick_rows(begin, end, work, [&](uword q) {
    ask_for_picks(q, work);
    if (q > begin * heads) answer_query(q - 1);
  });
  if (begin < end) answer_query(end * heads - 1);
}

void NeuronBank::answer(std::size_t query, Work& work, double* y) const {
  const uword p = inputs_, m = outputs_, k = keys_.picks();
  const float* row = work.x.data() + query / shape_.heads * p;
  const std::size_t first = query * k;
  double sum = 0;
  for (uword j = 0; j < k; ++j)
    sum += work.weight[first + j] = std::exp(work.pick[first + j].score - work.pick[first].score);
  for (std::size_t at = first; at < first + k; ++at) {
    work.weight[at] /= sum;
    const float* neuron = &neurons_[work.pick[at].neuron * neuron_size()];
    const double z = work.input[at] = static_cast<double>(simd::dot(neuron, row, p));
    simd::add_scaled(neuron + p, m, work.weight[at] * z * sigmoid(z), y);
  }
}

void NeuronBank::sort_picks(const Work& work, Gradient& gradient) const {
  const std::size_t all = work.pick.size();
  thread_local std::vector<Sorted> by_neuron, other;
  by_neuron.resize(all);
  for (std::size_t at = 0; at < all; ++at)
    by_neuron[at] = {work.pick[at].neuron, static_cast<std::uint32_t>(at)};
  sort_by_neuron(by_neuron, other, shape_.count);
  gradient.alone.assign(all, 0);
  for (auto* v : {&gradient.neuron, &gradient.order}) v->clear();
  gradient.begin.clear();
  for (std::size_t at = 0, end = 0; at < all; at = end) {
    while (end < all && by_neuron[end].neuron == by_neuron[at].neuron) ++end;
    if (end - at == 1) {
      gradient.alone[by_neuron[at].pick] = 1;
      continue;
    }
    gradient.neuron.push_back(by_neuron[at].neuron);
    gradient.begin.push_back(gradient.order.size());
    for (std::size_t i = at; i < end; ++i) gradient.order.push_back(by_neuron[i].pick);
  }
  gradient.begin.push_back(gradient.order.size());
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

void NeuronBank::learn(const mat& x, const SlopeOf& slope_of, const std::function<void(uword)>& settle,
                       Work& work, Gradient& gradient, int threads) const {
  const uword n = x.n_rows, p = inputs_, m = outputs_;
  prepare(x, work);
  in_pieces(n, kRows, threads, [&](uword begin, uword end) { pick_rows(begin, end, work, [](uword) {}); });
  sort_picks(work, gradient);
  gradient.slope.resize(m * n);
  for (auto* v : {&gradient.of_input, &gradient.answer}) v->resize(work.pick.size());
  gradient.of_score.resize(work.pick.size());
  in_pieces(n, kRows, threads,
            [&](uword begin, uword end) { learn_rows(begin, end, slope_of, settle, work, gradient); });
  gradient.linear.assign(linear_.size(), 0.0f);
  in_pieces(p, kRows, threads, [&](uword begin, uword end) {
    simd::add_outer(gradient.slope.data(), m, n, work.x.data() + begin, p, end - begin,
                    gradient.linear.data() + begin * m);
  });
  add_scores(work, gradient, threads);
}

void NeuronBank::learn_rows(uword begin, uword end, const SlopeOf& slope_of,
                            const std::function<void(uword)>& settle, Work& work, Gradient& gradient) const {
  const uword m = outputs_, heads = shape_.heads;
  std::vector<double> y(m), slope(m);
  if (begin < end) ask_for_picks(begin * heads, work);
  for (uword row = begin; row < end; ++row) {
    std::copy_n(work.linear.data() + row * m, m, y.data());
    for (uword q = row * heads; q < (row + 1) * heads; ++q) {
      if (q + 1 < end * heads) ask_for_picks(q + 1, work);
      answer(q, work, y.data());
    }
    slope_of(row, y.data(), slope.data());
    std::ranges::transform(slope, gradient.slope.begin() + static_cast<std::ptrdiff_t>(row * m),
                           [](double v) { return static_cast<float>(v); });
    slopes_of_picks(row, work, gradient);
    settle(row);
  }
}

void NeuronBank::slopes_of_picks(uword row, const Work& work, Gradient& gradient) const {
  const uword p = inputs_, m = outputs_, k = keys_.picks(), heads = shape_.heads;
  const float* s = gradient.slope.data() + row * m;
  std::vector<double> pull(k);
  for (uword q = row * heads; q < (row + 1) * heads; ++q) {
    const std::size_t first = q * k;
    double mean = 0;
    for (uword j = 0; j < k; ++j) {
      const std::size_t at = first + j;
      const float* v = &neurons_[work.pick[at].neuron * neuron_size()] + p;
      const auto along = static_cast<double>(simd::dot(s, v, m));
      const double z = work.input[at], half = sigmoid(z), answer = z * half, g = work.weight[at];
      gradient.of_input[at] = static_cast<float>(along * g * (half + answer * (1 - half)));
      gradient.answer[at] = static_cast<float>(g * answer);
      pull[j] = along * answer;
      mean += g * pull[j];
    }
    for (uword j = 0; j < k; ++j) gradient.of_score[first + j] = work.weight[first + j] * (pull[j] - mean);
  }
}

/// From the scores to the keys and, through the queries, to what makes them. Slopes of keys are summed over a
/// fixed number of pieces of the rows, whatever the threads.
void NeuronBank::add_scores(const Work& work, Gradient& gradient, int threads) const {
  const uword p = inputs_, k = keys_.picks(), heads = shape_.heads, w = keys_.width(), side = keys_.side();
  const uword width = 2 * heads * w, n = work.pick.size() / picks(), piece = (n + kPieces - 1) / kPieces;
  thread_local struct { std::vector<float> keys, of_queries, of_keys[kPieces]; } kept;
  // Key by key, so that what belongs to a pick is contiguous.
  auto &keys = kept.keys, &of_queries = kept.of_queries;
  auto& of_keys = kept.of_keys;
  keys.resize(2 * side * w);
  of_queries.resize(width * n);
  const auto each_half = [&](const auto& work_of) {
    in_pieces(2, 1, threads, [&](uword half, uword) { work_of(half * side * w); });
  };
  each_half([&](std::size_t at) { turn(keys_.keys().data() + at, side, w, keys.data() + at); });
  for (std::vector<float>& own : of_keys) own.clear();
  in_pieces(n, piece, threads, [&](uword begin, uword end) {
    std::vector<float>& own = of_keys[begin / piece];
    own.assign(keys.size(), 0.0f);
    std::vector<double> of_query(width);
    for (uword i = begin; i < end; ++i) {
      std::ranges::fill(of_query, 0.0);
      for (uword j = 0; j < heads * k; ++j) {
        const std::size_t at = i * heads * k + j;
        const uword index[2] = {work.pick[at].neuron / side, work.pick[at].neuron % side};
        for (uword half = 0; half < 2; ++half) {
          const std::size_t key = (half * side + index[half]) * w, query = (2 * (j / k) + half) * w;
          simd::add_scaled(keys.data() + key, w, gradient.of_score[at], of_query.data() + query);
          simd::add_scaled(work.query.data() + i * width + query, w,
                           static_cast<float>(gradient.of_score[at]), own.data() + key);
        }
      }
      std::ranges::transform(of_query, of_queries.begin() + static_cast<std::ptrdiff_t>(i * width),
                             [](double v) { return static_cast<float>(v); });
    }
  });
  gradient.keys.assign(keys.size(), 0.0f);
  each_half([&](std::size_t at) {
    for (std::size_t i = 1; i < kPieces; ++i)
      if (!of_keys[i].empty())
        simd::add_scaled(of_keys[i].data() + at, side * w, 1.0f, of_keys[0].data() + at);
    if (n > 0) turn(of_keys[0].data() + at, w, side, gradient.keys.data() + at);
  });
  gradient.queries.assign(queries_.size(), 0.0f);
  in_pieces(p, kRows, threads, [&](uword begin, uword end) {
    simd::add_outer(of_queries.data(), width, n, work.x.data() + begin, p, end - begin,
                    gradient.queries.data() + begin * width);
  });
}

}  // namespace moekit
