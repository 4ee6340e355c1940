#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "moekit/experts.hpp"

namespace moekit {

/// A neuron that a query picked.
struct KeyPick {
  std::uint32_t neuron = 0;
  double score = 0;
};

/// Product keys (Lample et al. 2019; He 2024): neuron i S + j has the key (first i, second j), S^2 = neurons,
/// and a query q = (a, b) scores it a . first_i + b . second_j. The best k of all are among the sums of the
/// best k of either half, and of those only pairs of ranks (r, s) with (r + 1)(s + 1) <= k can win, so a
/// query costs some 2 S width instead of S^2 width. Equal scores go to the lower neuron, in either half and
/// in the sums, which are exact in double.
class ProductKeys {
 public:
  ProductKeys() = default;
  ProductKeys(uword side, uword width, uword picks);

  uword side() const { return side_; }
  uword width() const { return width_; }
  uword picks() const { return picks_; }
  /// Keys of a half, S x width, a column a coordinate; both halves behind each other.
  std::span<float> keys() { return keys_; }
  std::span<const float> keys() const { return keys_; }

  /// The picks of each of n queries (2 width x n), best first: picks x n. found(q) is called when those of
  /// query q are there, query by query.
  void select(
      const float* queries, uword n, KeyPick* out,
      const std::function<void(uword)>& found = [](uword) {}) const;

 private:
  struct Ranked {
    float score;
    std::uint32_t index;
  };
  void best_of_half(const float* scores, std::vector<Ranked>& best) const;
  void combine(const std::vector<Ranked>& first, const std::vector<Ranked>& second, KeyPick* out) const;

  uword side_ = 0, width_ = 0, picks_ = 0;
  std::vector<float> keys_;  // 2 x (S x width)
};

/// Whole square root of a square number; 0 for others.
uword square_side(uword neurons);

}  // namespace moekit
