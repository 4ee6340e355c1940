#include "sparse/product_keys.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "moekit/error.hpp"
#include "simd/layer.hpp"
#include "simd/neurons.hpp"

namespace moekit {

uword square_side(uword neurons) {
  const auto side = static_cast<uword>(std::llround(std::sqrt(static_cast<double>(neurons))));
  return side * side == neurons ? side : 0;
}

ProductKeys::ProductKeys(uword side, uword width, uword picks)
    : side_(side), width_(width), picks_(std::min(picks, side * side)), keys_(2 * side * width, 0.0f) {}

namespace {

/// Up to so many values are ordered by counting; more are sorted.
constexpr std::size_t kCounted = 128;

/// What is put in order: by falling score, equal ones by rising tie.
struct Candidates {
  std::vector<float> value;
  std::vector<std::uint32_t> index, rank;
  std::vector<double> score, tie;

  /// Room for n, and for what vectors read behind them.
  void size(std::size_t n) {
    if (value.size() >= n + 16) return;
    for (auto* v : {&index, &rank}) v->resize(n + 16);
    for (auto* v : {&score, &tie}) v->resize(n + 16);
    value.resize(n + 16);
  }
};

}  // namespace

/// The best min(k, S) of a half, equal scores by index.
void ProductKeys::best_of_half(const float* scores, std::vector<Ranked>& best) const {
  thread_local Candidates c;
  c.size(side_);
  std::size_t n = 0;
  if (side_ % simd::kScoreGroups == 0 && picks_ <= simd::kScoreGroups) {
    n = simd::shortlist(scores, side_, picks_, c.value.data(), c.index.data());
  } else {
    for (; n < side_; ++n) c.value[n] = scores[n], c.index[n] = static_cast<std::uint32_t>(n);
  }
  const std::size_t most = std::min(static_cast<std::size_t>(picks_), n);
  if (n <= kCounted) {
    best.resize(most);
    std::copy_n(c.value.begin(), n, c.score.begin());
    std::copy_n(c.index.begin(), n, c.tie.begin());
    simd::ranks(c.score.data(), c.tie.data(), n, c.rank.data());
    for (std::size_t i = 0; i < n; ++i)
      if (c.rank[i] < most) best[c.rank[i]] = {c.value[i], c.index[i]};
    return;
  }
  best.resize(n);
  for (std::size_t i = 0; i < n; ++i) best[i] = {c.value[i], c.index[i]};
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(most), best.end(),
                    [](const Ranked& a, const Ranked& b) {
                      return a.score != b.score ? a.score > b.score : a.index < b.index;
                    });
  best.resize(most);
}

/// The best k of the sums of the ranks that can win.
void ProductKeys::combine(const std::vector<Ranked>& first, const std::vector<Ranked>& second,
                          KeyPick* out) const {
  thread_local Candidates c;
  c.size(picks_ * (2 + static_cast<std::size_t>(std::log2(static_cast<double>(picks_)))));
  std::size_t n = 0;
  bool numbers = true;
  for (std::size_t r = 0; r < first.size(); ++r)
    for (std::size_t s = 0; s < second.size() && (r + 1) * (s + 1) <= picks_; ++s, ++n) {
      c.index[n] = static_cast<std::uint32_t>(first[r].index * side_ + second[s].index);
      c.score[n] = static_cast<double>(first[r].score) + static_cast<double>(second[s].score);
      c.tie[n] = static_cast<double>(c.index[n]);
      numbers = numbers && !std::isnan(c.score[n]);
    }
  if (n < picks_ || !numbers)
    throw Error(Errc::numeric, "the scores of the product keys are not numbers; lower --learning-rate");
  if (n <= kCounted) {
    simd::ranks(c.score.data(), c.tie.data(), n, c.rank.data());
    for (std::size_t i = 0; i < n; ++i)
      if (c.rank[i] < picks_) out[c.rank[i]] = {c.index[i], c.score[i]};
    return;
  }
  thread_local std::vector<KeyPick> sums;
  sums.resize(n);
  for (std::size_t i = 0; i < n; ++i) sums[i] = {c.index[i], c.score[i]};
  std::partial_sort(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(picks_), sums.end(),
                    [](const KeyPick& a, const KeyPick& b) {
                      return a.score != b.score ? a.score > b.score : a.neuron < b.neuron;
                    });
  std::copy_n(sums.begin(), picks_, out);
}

void ProductKeys::select(const float* queries, uword n, KeyPick* out,
                         const std::function<void(uword)>& found) const {
  constexpr uword kTogether = 128;  // queries that share one reading of the keys
  thread_local std::vector<float> half_queries, scores;
  thread_local std::array<std::vector<Ranked>, kTogether> first;
  thread_local std::vector<Ranked> second;
  half_queries.resize(kTogether * width_);
  scores.resize(kTogether * side_);
  for (uword begin = 0; begin < n; begin += kTogether) {
    const uword count = std::min(kTogether, n - begin);
    const auto score = [&](uword half) {
      for (uword q = 0; q < count; ++q)
        std::copy_n(queries + (2 * (begin + q) + half) * width_, width_, half_queries.data() + q * width_);
      simd::layer(keys_.data() + half * side_ * width_, side_, width_, nullptr, half_queries.data(), count,
                  scores.data());
    };
    score(0);
    for (uword q = 0; q < count; ++q) best_of_half(scores.data() + q * side_, first[q]);
    score(1);
    for (uword q = 0; q < count; ++q) {
      best_of_half(scores.data() + q * side_, second);
      combine(first[q], second, out + (begin + q) * picks_);
      found(begin + q);
    }
  }
}

}  // namespace moekit
