#include "sparse/product_keys.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

#include "moekit/error.hpp"
#include "simd/layer.hpp"

namespace moekit {

uword square_side(uword neurons) {
  const auto side = static_cast<uword>(std::llround(std::sqrt(static_cast<double>(neurons))));
  return side * side == neurons ? side : 0;
}

ProductKeys::ProductKeys(uword side, uword width, uword picks)
    : side_(side), width_(width), picks_(std::min(picks, side * side)), keys_(2 * side * width, 0.0f) {}

/// Scores that can be among the best k: at least the k-th largest of the maxima of kColumns interleaved
/// groups.
void ProductKeys::shortlist(const float* scores, std::vector<Ranked>& best) const {
  constexpr std::size_t kColumns = 64;
  best.clear();
  if (side_ % kColumns != 0 || side_ < 4 * kColumns || picks_ > kColumns) {
    for (std::uint32_t i = 0; i < side_; ++i) best.push_back({scores[i], i});
    return;
  }
  float most[kColumns], order[kColumns];
  std::copy_n(scores, kColumns, most);
  for (std::size_t i = kColumns; i < side_; i += kColumns)
    for (std::size_t c = 0; c < kColumns; ++c) most[c] = scores[i + c] > most[c] ? scores[i + c] : most[c];
  std::copy_n(most, kColumns, order);
  std::nth_element(order, order + picks_ - 1, order + kColumns, std::greater<>());
  const float least = order[picks_ - 1];
  for (std::uint32_t c = 0; c < kColumns; ++c) {
    if (!(most[c] >= least)) continue;
    for (std::uint32_t i = c; i < side_; i += kColumns)
      if (scores[i] >= least) best.push_back({scores[i], i});
  }
}

/// The best min(k, S) of a half, equal scores by index.
void ProductKeys::best_of_half(const float* scores, std::vector<Ranked>& best) const {
  shortlist(scores, best);
  const std::size_t most =
      std::min({static_cast<std::size_t>(picks_), static_cast<std::size_t>(side_), best.size()});
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(most), best.end(),
                    [](const Ranked& a, const Ranked& b) {
                      return a.score != b.score ? a.score > b.score : a.index < b.index;
                    });
  best.resize(most);
}

/// The best k of the sums of the ranks that can win.
void ProductKeys::combine(const std::vector<Ranked>& first, const std::vector<Ranked>& second,
                          KeyPick* out) const {
  thread_local std::vector<KeyPick> sums;
  sums.clear();
  for (std::size_t r = 0; r < first.size(); ++r)
    for (std::size_t s = 0; s < second.size() && (r + 1) * (s + 1) <= picks_; ++s)
      sums.push_back({static_cast<std::uint32_t>(first[r].index * side_ + second[s].index),
                      static_cast<double>(first[r].score) + static_cast<double>(second[s].score)});
  if (sums.size() < picks_)  // scores that are no numbers
    throw Error(Errc::numeric, "the scores of the product keys are not numbers; lower --learning-rate");
  std::partial_sort(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(picks_), sums.end(),
                    [](const KeyPick& a, const KeyPick& b) {
                      return a.score != b.score ? a.score > b.score : a.neuron < b.neuron;
                    });
  std::copy_n(sums.begin(), picks_, out);
}

void ProductKeys::select(const float* queries, uword n, std::vector<KeyPick>& out) const {
  constexpr uword kTogether = 8;  // queries that share one reading of the keys
  thread_local std::vector<float> half_queries, scores;
  thread_local std::vector<Ranked> first, second;
  out.resize(picks_ * n);
  half_queries.resize(kTogether * width_);
  scores.resize(2 * kTogether * side_);
  for (uword begin = 0; begin < n; begin += kTogether) {
    const uword count = std::min(kTogether, n - begin);
    for (uword half = 0; half < 2; ++half) {
      for (uword q = 0; q < count; ++q)
        std::copy_n(queries + (2 * (begin + q) + half) * width_, width_, half_queries.data() + q * width_);
      simd::layer(keys_.data() + half * side_ * width_, side_, width_, nullptr, half_queries.data(), count,
                  scores.data() + half * kTogether * side_);
    }
    for (uword q = 0; q < count; ++q) {
      best_of_half(scores.data() + q * side_, first);
      best_of_half(scores.data() + (kTogether + q) * side_, second);
      combine(first, second, &out[(begin + q) * picks_]);
    }
  }
}

}  // namespace moekit
