// The sparse layer against a naive float64 loop, and its invariances (docs/math.md, section 12).
#include "moekit/layer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "layer/kernels.hpp"
#include "layer/kernels_amx.hpp"
#include "layer/kernels_avx512.hpp"
#include "layer_helpers.hpp"
#include "moekit/error.hpp"
#include "reference/naive_layer.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

LayerShape shape(std::size_t inputs, std::size_t hidden, std::size_t outputs, std::size_t experts,
                 ExpertKind kind = ExpertKind::glu, Activation activation = Activation::silu) {
  return {inputs, hidden, outputs, experts, kind, activation};
}

LayerOptions options(std::size_t picks, WeightType type = WeightType::f32, int threads = 1) {
  LayerOptions o;
  o.picks = picks;
  o.type = type;
  o.compute.threads = threads;
  return o;
}

/// The layer equals the naive loop, with the same picks wherever the margin is no rounding error.
void check_against_naive(const LayerShape& s, std::size_t rows, std::size_t picks) {
  CAPTURE(s.inputs);
  CAPTURE(s.experts);
  CAPTURE(rows);
  const MemoryWeights weights = random_weights(s, 1);
  const std::vector<float> x = random_rows(rows, s.inputs, 2);
  const naive::LayerResult expected = naive::layer(weights, x, static_cast<int>(picks));
  for (const WeightType type : {WeightType::f32, WeightType::bf16, WeightType::int8}) {
    CAPTURE(weight_type_name(type));
    Routing routing;
    const std::vector<float> y = run_layer(Layer(weights, options(picks, type)), x, &routing);
    for (std::size_t t = 0; t < rows; ++t)
      if (expected.margin[t] > 1e-6)
        for (std::size_t k = 0; k < picks; ++k)
          CHECK(static_cast<int>(routing.expert[t * picks + k]) == expected.picks[t][k]);
    // Rounding errors of bfloat16 are 2^-9 each, of int8 1 / 254 of a block's largest value; they add up like
    // a random walk, and the largest of thousands is some four times their root mean square.
    const double most = type == WeightType::f32 ? 1e-5 : type == WeightType::bf16 ? 4e-2 : 0.12;
    CHECK(relative_difference(y, expected.y) < most);
  }
}

/// Products of rows x (each `inner` long) with kPanel rows of weights.
std::vector<float> multiplied(const layer::Product& product, const std::vector<float>& w,
                              const std::vector<float>& x, std::size_t inner) {
  const std::size_t rows = x.size() / inner, row_bytes = product.row_bytes(inner);
  std::vector<unsigned char> panel(layer::panel_bytes(product.type, inner)), tiles(rows * row_bytes);
  layer::pack_panel(product.type, w.data(), inner, panel.data());
  for (std::size_t first = 0; first < rows; first += product.tile_rows()) {
    std::vector<const float*> row;
    for (std::size_t r = first; r < std::min(rows, first + product.tile_rows()); ++r)
      row.push_back(x.data() + r * inner);
    layer::pack_tile(product, row.data(), row.size(), inner, tiles.data() + first * row_bytes);
  }
  std::vector<float> out(rows * layer::kPanel);
  layer::multiply(product, panel.data(), tiles.data(), inner, rows, out.data());
  return out;
}

float as_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}

/// The same as Intel's manual describes TDPBF16PS: of each 32 inner indices the even and the odd ones are
/// summed by themselves, and both sums are added to the total.
std::vector<float> in_bands(const std::vector<float>& w, const std::vector<float>& x, std::size_t inner) {
  const std::size_t rows = x.size() / inner;
  std::vector<float> out;
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < layer::kPanel; ++c) {
      float total = 0;
      for (std::size_t from = 0; from < inner; from += 32) {
        float sum[2] = {0, 0};
        for (std::size_t i = from; i < std::min(inner, from + 32); ++i)
          sum[i % 2] += as_bf16(x[r * inner + i]) * as_bf16(w[c * inner + i]);
        total += sum[0] + sum[1];
      }
      out.push_back(total);
    }
  return out;
}

}  // namespace

TEST_CASE("a Mixtral block equals the naive float64 loop") {
  check_against_naive(shape(64, 128, 64, 8), 37, 2);
}

TEST_CASE("other numbers of experts, odd widths, row counts that no tile divides") {
  check_against_naive(shape(19, 33, 21, 7), 25, 2);
  check_against_naive(shape(24, 17, 24, 64), 61, 3);
  check_against_naive(shape(13, 9, 13, 300), 40, 4);
  check_against_naive(shape(1, 1, 1, 2), 13, 1);
  check_against_naive(shape(600, 530, 35, 3), 26, 3);  // longer than two chunks, all picked
  check_against_naive(shape(9, 17, 9, 2), 450, 1);     // more rows of an expert than a group of tiles
}

TEST_CASE("linear and mlp experts, every activation") {
  check_against_naive(shape(31, 0, 18, 5, ExpertKind::linear), 29, 2);
  for (const Activation a : {Activation::relu, Activation::gelu, Activation::silu}) {
    check_against_naive(shape(20, 45, 33, 4, ExpertKind::mlp, a), 17, 2);
    check_against_naive(shape(20, 45, 33, 4, ExpertKind::glu, a), 17, 2);
  }
}

TEST_CASE("no row and one row") {
  const MemoryWeights weights = random_weights(shape(64, 128, 64, 8), 3);
  const Layer layer(weights, options(2));
  Routing routing;
  CHECK(run_layer(layer, {}, &routing).empty());
  CHECK(routing.expert.empty());
  check_against_naive(shape(64, 128, 64, 8), 1, 2);
}

TEST_CASE("weights in bfloat16 lose nothing but the rounding of what they multiply") {
  MemoryWeights weights = random_weights(shape(64, 128, 64, 8), 4);
  const auto round = [](std::vector<float>& values) {
    for (float& v : values) {
      const auto bits = std::bit_cast<std::uint32_t>(v) + 0x8000u;
      v = std::bit_cast<float>(bits & 0xffff0000u);
    }
  };
  for (auto& e : weights.experts) round(e.w1), round(e.w2), round(e.w3);
  const std::vector<float> x = random_rows(50, 64, 5);
  const naive::LayerResult expected = naive::layer(weights, x, 2);
  CHECK(relative_difference(run_layer(Layer(weights, options(2, WeightType::bf16)), x), expected.y) < 1e-2);
}

TEST_CASE("ties go to the lower expert") {
  MemoryWeights weights = random_weights(shape(8, 8, 8, 40), 6);
  for (std::size_t e = 0; e < 40; ++e)
    for (std::size_t i = 0; i < 8; ++i)
      weights.gate[e * 8 + i] = e % 20 == 7 ? 1.0f : e % 20 == 3 ? 1.0f : 0.5f;
  const Layer layer(weights, options(3));
  Routing routing;
  run_layer(layer, std::vector<float>(8 * 5, 1.0f), &routing);
  for (std::size_t t = 0; t < 5; ++t) {
    CHECK(routing.expert[t * 3] == 3);
    CHECK(routing.expert[t * 3 + 1] == 7);
    CHECK(routing.expert[t * 3 + 2] == 23);
    CHECK(routing.weight[t * 3] == doctest::Approx(1.0 / 3));
  }
  // All alike: the first ones.
  std::fill(weights.gate.begin(), weights.gate.end(), 0.0f);
  run_layer(Layer(weights, options(3)), std::vector<float>(8, 1.0f), &routing);
  CHECK(routing.expert == std::vector<std::uint32_t>{0, 1, 2});
}

TEST_CASE("the K largest by brute force, with ties and NaN") {
  for (const std::size_t n : {1u, 5u, 16u, 31u, 100u, 1000u})
    for (const std::size_t k : {1u, 2u, 5u, 16u}) {
      if (k > n) continue;
      std::vector<float> logits(n);
      Rng rng(n, k);
      for (float& l : logits) l = static_cast<float>(rng.below(n / 3 + 1));
      if (n > 4) logits[3] = std::nanf("");
      std::vector<std::uint32_t> expected(n), got(k);
      for (std::uint32_t i = 0; i < n; ++i) expected[i] = i;
      const auto key = [&](std::uint32_t i) { return std::isnan(logits[i]) ? -INFINITY : logits[i]; };
      std::stable_sort(expected.begin(), expected.end(),
                       [&](std::uint32_t a, std::uint32_t b) { return key(a) > key(b); });
      expected.resize(k);
      layer::top_k(logits.data(), n, k, got.data());
      CHECK(got == expected);
    }
}

TEST_CASE("the same bytes for any number of threads and any cut of the batch") {
  // The last is large enough for several threads, in both ways of sharing out the work.
  for (const LayerShape& s : {shape(40, 72, 40, 5), shape(24, 16, 24, 200), shape(128, 300, 128, 6)})
    for (const WeightType type : {WeightType::f32, WeightType::bf16, WeightType::int8}) {
      const MemoryWeights weights = random_weights(s, 7);
      const std::size_t rows = 203;
      const std::vector<float> x = random_rows(rows, s.inputs, 8);
      Routing routing, other;
      const std::vector<float> y = run_layer(Layer(weights, options(2, type, 1)), x, &routing);
      for (const int threads : {2, 5}) {
        CHECK(run_layer(Layer(weights, options(2, type, threads)), x, &other) == y);
        CHECK(other.expert == routing.expert);
        CHECK(other.weight == routing.weight);
      }
      const Layer layer(weights, options(2, type, 2));
      for (const std::size_t cut : {1u, 7u, 12u, 50u}) {
        std::vector<float> pieces(y.size());
        for (std::size_t t = 0; t < rows; t += cut)
          layer.forward(x.data() + t * s.inputs, std::min(cut, rows - t), pieces.data() + t * s.outputs);
        CHECK(pieces == y);
      }
    }
}

TEST_CASE("every kernel of this processor gives the bits of the plain one") {
  for (const WeightType type : {WeightType::f32, WeightType::bf16, WeightType::int8})
    for (const std::size_t inner : {1u, 31u, 64u, 577u})
      for (std::size_t rows = 1; rows <= layer::kTileRows; ++rows) {
        const std::vector<float> w = random_rows(layer::kPanel, inner, 9), x = random_rows(rows, inner, rows);
        const std::vector<float> plain = multiplied(layer::plain_product(type), w, x, inner);
        if (!layer::product_of(type).group) CHECK(multiplied(layer::product_of(type), w, x, inner) == plain);
        // The timing may have preferred another.
        const layer::TileKernel own = layer::avx512_bf16_kernel();
        if (type == WeightType::bf16 && own)
          CHECK(multiplied({type, layer::RowLayout::pairs, own}, w, x, inner) == plain);
      }
}

TEST_CASE("the matrix unit gives the bits of its formula, whatever the number of rows") {
  const layer::GroupKernel unit = layer::amx_bf16_kernel();
  if (!unit) return;
  const layer::Product product{WeightType::bf16, layer::RowLayout::bands, nullptr, unit};
  for (const std::size_t inner : {1u, 31u, 32u, 256u, 257u, 577u})
    for (const std::size_t rows : {1u, 2u, 15u, 16u, 17u, 31u, 32u, 33u, 70u, 192u}) {
      CAPTURE(inner);
      CAPTURE(rows);
      const std::vector<float> w = random_rows(layer::kPanel, inner, 9), x = random_rows(rows, inner, rows);
      CHECK(multiplied(product, w, x, inner) == in_bands(w, x, inner));
    }
}

TEST_CASE("rows in bands keep what is not finite") {
  const float nan_of_lower_half = std::bit_cast<float>(0x7f800001u);
  const std::vector<float> x = {INFINITY, -INFINITY, NAN, nan_of_lower_half, 1e-40f, -0.0f};
  std::array<std::uint16_t, layer::kBand> out;
  const float* row = x.data();
  const layer::Product product{WeightType::bf16, layer::RowLayout::bands, nullptr};
  layer::pack_tile(product, &row, 1, x.size(), reinterpret_cast<unsigned char*>(out.data()));
  CHECK(out[0] == 0x7f80);
  CHECK(out[1] == 0xff80);
  for (const std::size_t i : {2u, 3u}) CHECK(std::isnan(std::bit_cast<float>(std::uint32_t{out[i]} << 16)));
  CHECK(out[4] == 0);
  CHECK(out[5] == 0x8000);
  for (std::size_t i = x.size(); i < layer::kBand; ++i) CHECK(out[i] == 0);
}

TEST_CASE("what cannot be a layer is refused") {
  const MemoryWeights weights = random_weights(shape(4, 4, 4, 3), 10);
  CHECK_THROWS_AS(Layer(weights, options(0)), Error);
  CHECK_THROWS_AS(Layer(weights, options(4)), Error);
  CHECK_THROWS_AS(Layer(MemoryWeights(shape(0, 4, 4, 3)), options(1)), Error);
  MemoryWeights infinite = weights;
  infinite.experts[1].w2[3] = INFINITY;
  CHECK_THROWS_AS(Layer(infinite, options(1, WeightType::int8)), Error);
  LayerOptions o = options(2, WeightType::bf16);
  o.trainable = true;
  CHECK_THROWS_AS(Layer(weights, o), Error);
}
