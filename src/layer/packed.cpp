#include "layer/packed.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "moekit/error.hpp"

namespace moekit::layer {

namespace {

constexpr std::size_t kLine = 64;

std::size_t product_or_throw(std::size_t a, std::size_t b) {
  std::size_t out;
  if (__builtin_mul_overflow(a, b, &out)) throw std::bad_alloc();
  return out;
}

std::size_t up_columns(const LayerShape& s) {
  if (s.kind == ExpertKind::linear) return 0;
  const std::size_t half = kPanel / 2;
  return s.kind == ExpertKind::glu ? (s.hidden + half - 1) / half * kPanel : s.hidden;
}

/// int8 weights have a scale, which must be a number.
void check_finite(WeightType type, const std::vector<float>& rows, std::size_t expert) {
  if (type != WeightType::int8) return;
  for (const float v : rows)
    if (!std::isfinite(v))
      throw Error(Errc::data, "expert " + std::to_string(expert) +
                                  " has a weight that is not finite, which int8 can't hold; use f32 or bf16");
}

/// Packs one expert; `buffer` keeps its memory between calls.
class ExpertPacker {
 public:
  ExpertPacker(const LayerWeights& weights, PackedLayer& to, std::size_t expert)
      : weights_(weights), to_(to), shape_(to.shape), expert_(expert) {}

  void pack() {
    const bool glu = shape_.kind == ExpertKind::glu;
    for (std::size_t p = 0; p < to_.up.panels; ++p) {
      start(to_.up.inner);
      if (glu) {
        take(ExpertMatrix::w1, p * kPanel / 2, shape_.hidden, 0, kPanel / 2);
        take(ExpertMatrix::w3, p * kPanel / 2, shape_.hidden, kPanel / 2, kPanel / 2);
      } else {
        take(ExpertMatrix::w1, p * kPanel, shape_.hidden, 0, kPanel);
      }
      finish(to_.up, p);
    }
    for (std::size_t p = 0; p < to_.down.panels; ++p) {
      start(to_.down.inner);
      take(ExpertMatrix::w2, p * kPanel, shape_.outputs, 0, kPanel);
      finish(to_.down, p);
    }
  }

  void pack_transposed() {
    const bool linear = shape_.kind == ExpertKind::linear, glu = shape_.kind == ExpertKind::glu;
    std::vector<float> all(shape_.outputs * shape_.last_inner());
    weights_.expert_rows(expert_, ExpertMatrix::w2, 0, shape_.outputs, all.data());
    transpose(all, shape_.outputs, shape_.last_inner(), to_.down_back);
    if (linear) return;
    all.resize(to_.up_back.inner * shape_.inputs);
    weights_.expert_rows(expert_, ExpertMatrix::w1, 0, shape_.hidden, all.data());
    if (glu)
      weights_.expert_rows(expert_, ExpertMatrix::w3, 0, shape_.hidden,
                           all.data() + shape_.hidden * shape_.inputs);
    transpose(all, to_.up_back.inner, shape_.inputs, to_.up_back);
  }

 private:
  void start(std::size_t inner) { rows_.assign(kPanel * inner, 0.0f); }
  /// Rows first .. of a matrix with `most` rows go to row `at` of the panel and on.
  void take(ExpertMatrix matrix, std::size_t first, std::size_t most, std::size_t at, std::size_t count) {
    if (first >= most) return;
    const std::size_t inner = rows_.size() / kPanel;
    weights_.expert_rows(expert_, matrix, first, std::min(count, most - first), rows_.data() + at * inner);
  }
  void finish(PackedMatrix& matrix, std::size_t p) {
    check_finite(matrix.type, rows_, expert_);
    pack_panel(matrix.type, rows_.data(), matrix.inner, matrix.panel(expert_, p));
  }
  void transpose(const std::vector<float>& all, std::size_t inner, std::size_t columns,
                 PackedMatrix& matrix) {
    for (std::size_t p = 0; p < matrix.panels; ++p) {
      start(inner);
      const std::size_t count = std::min(kPanel, columns - p * kPanel);
      for (std::size_t i = 0; i < inner; ++i)
        for (std::size_t c = 0; c < count; ++c) rows_[c * inner + i] = all[i * columns + p * kPanel + c];
      finish(matrix, p);
    }
  }

  const LayerWeights& weights_;
  PackedLayer& to_;
  const LayerShape& shape_;
  std::size_t expert_;
  std::vector<float> rows_;
};

void check_shape(const LayerShape& s) {
  const bool hidden = s.kind == ExpertKind::linear || s.hidden > 0;
  if (s.experts == 0 || s.inputs == 0 || s.outputs == 0 || !hidden)
    throw Error(Errc::data, "the layer is empty: it needs experts, inputs, outputs and hidden units");
}

}  // namespace

PackedMatrix::PackedMatrix(WeightType t, std::size_t experts, std::size_t columns, std::size_t i)
    : type(t), inner(i), panels((columns + kPanel - 1) / kPanel) {
  stride_ = (product_or_throw(steps_of(type, inner), panel_step_bytes(type)) + kLine - 1) / kLine * kLine;
  memory_ = Buffer(product_or_throw(product_or_throw(experts, panels), stride_));
}

PackedLayer::PackedLayer(const LayerWeights& weights, WeightType type, bool transposed,
                         const Compute& compute)
    : shape(weights.shape()) {
  check_shape(shape);
  const LayerShape& s = shape;
  gate = PackedMatrix(WeightType::f32, 1, s.experts, s.inputs);
  if (s.kind != ExpertKind::linear) up = PackedMatrix(type, s.experts, up_columns(s), s.inputs);
  down = PackedMatrix(type, s.experts, s.outputs, s.last_inner());
  if (transposed) {
    down_back = PackedMatrix(type, s.experts, s.last_inner(), s.outputs);
    if (s.kind != ExpertKind::linear)
      up_back = PackedMatrix(type, s.experts, s.inputs, s.hidden * (s.kind == ExpertKind::glu ? 2 : 1));
  }
  std::vector<float> rows(kPanel * s.inputs);
  for (std::size_t p = 0; p < gate.panels; ++p) {
    std::fill(rows.begin(), rows.end(), 0.0f);
    weights.gate_rows(p * kPanel, std::min(kPanel, s.experts - p * kPanel), rows.data());
    pack_panel(WeightType::f32, rows.data(), s.inputs, gate.panel(0, p));
  }
  parallel_for(s.experts, compute, [&](std::size_t e) {
    ExpertPacker packer(weights, *this, e);
    packer.pack();
    if (transposed) packer.pack_transposed();
    weights.done(e);
  });
}

}  // namespace moekit::layer
