#include "sparse/product_keys.hpp"

#include <algorithm>
#include <cmath>

#include "simd/layer.hpp"

namespace moekit {

uword square_side(uword neurons) {
  const auto side = static_cast<uword>(std::llround(std::sqrt(static_cast<double>(neurons))));
  return side * side == neurons ? side : 0;
}

ProductKeys::ProductKeys(uword side, uword width, uword picks)
    : side_(side), width_(width), picks_(std::min(picks, side * side)), keys_(2 * side * width, 0.0f) {}

/// The best min(k, S) of a half, equal scores by index.
void ProductKeys::best_of_half(const float* scores, std::vector<Ranked>& best) const {
  const std::size_t most = std::min<std::size_t>(picks_, side_);
  best.clear();
  for (std::uint32_t i = 0; i < side_; ++i) {
    const float s = scores[i];
    if (best.size() == most && !(s > best.back().score)) continue;
    if (best.size() == most) best.pop_back();
    auto at = best.end();
    while (at != best.begin() && s > (at - 1)->score) --at;
    best.insert(at, {s, i});
  }
}

void ProductKeys::select(const float* queries, uword n, std::vector<KeyPick>& out) const {
  thread_local std::vector<float> scores;
  thread_local std::vector<Ranked> first, second;
  thread_local std::vector<KeyPick> sums;
  scores.resize(2 * side_);
  out.resize(picks_ * n);
  for (uword q = 0; q < n; ++q) {
    for (uword half = 0; half < 2; ++half)
      simd::layer(keys_.data() + half * side_ * width_, side_, width_, nullptr,
                  queries + (2 * q + half) * width_, 1, scores.data() + half * side_);
    best_of_half(scores.data(), first);
    best_of_half(scores.data() + side_, second);
    sums.clear();
    for (std::size_t r = 0; r < first.size(); ++r)
      for (std::size_t s = 0; s < second.size() && (r + 1) * (s + 1) <= picks_; ++s)
        sums.push_back({static_cast<std::uint32_t>(first[r].index * side_ + second[s].index),
                        static_cast<double>(first[r].score) + static_cast<double>(second[s].score)});
    std::partial_sort(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(picks_), sums.end(),
                      [](const KeyPick& a, const KeyPick& b) {
                        return a.score != b.score ? a.score > b.score : a.neuron < b.neuron;
                      });
    std::copy_n(sums.begin(), picks_, out.begin() + static_cast<std::ptrdiff_t>(q * picks_));
  }
}

}  // namespace moekit
