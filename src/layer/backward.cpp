#include "layer/backward.hpp"

#include <algorithm>
#include <cstring>

#include "moekit/error.hpp"

namespace moekit::layer {

namespace {

std::size_t panels_of(std::size_t columns) { return (columns + kPanel - 1) / kPanel; }

/// Rows as panels of 32 columns: panel p holds n x 32 values, zero beyond the last column.
template <class Row>
void as_panels(const Row& row, std::size_t n, std::size_t columns, float* to) {
  for (std::size_t p = 0; p < panels_of(columns); ++p) {
    const std::size_t width = std::min(kPanel, columns - p * kPanel);
    for (std::size_t s = 0; s < n; ++s, to += kPanel) {
      std::copy_n(row(s) + p * kPanel, width, to);
      std::fill(to + width, to + kPanel, 0.0f);
    }
  }
}

}  // namespace

BackwardPass::BackwardPass(const PackedLayer& layer, const LayerTrace& trace, const float* dy,
                           LayerGradients& gradients, const Compute& compute)
    : layer_(layer),
      shape_(layer.shape),
      trace_(trace),
      slots_(trace.state->slots),
      space_(trace.state->space),
      dy_(dy),
      gradients_(gradients),
      compute_(compute),
      product_(product_of(WeightType::f32)),
      hidden_stride_(ForwardPass::hidden_stride(shape_)),
      output_stride_(ForwardPass::output_stride(shape_)),
      input_stride_(panels_of(shape_.inputs) * kPanel),
      before_width_(layer.up_back.inner),
      d_logit_(slots_.count()) {
  const std::size_t n = slots_.count(), value = sizeof(float);
  d_output_ = Buffer(n * output_stride_ * value);
  d_before_ = Buffer(n * before_width_ * value);
  d_input_ = Buffer(n * input_stride_ * value);
  tiles_ = Buffer(n * std::max(shape_.outputs, before_width_) * value);
  input_panels_ = Buffer(n * input_stride_ * value);
  hidden_panels_ = Buffer(n * hidden_stride_ * value);
}

void BackwardPass::run() {
  scale_outputs();
  gate_gradients();
  hidden_gradients();
  pack_columns();
  input_and_weight_gradients();
  combine_inputs();
}

void BackwardPass::for_experts(const std::function<void(std::size_t)>& task) const {
  parallel_for(slots_.active.size(), compute_, [&](std::size_t i) { task(slots_.active[i]); });
}

/// dO = g dy, and dL/dg = <dy, E(x)>, from which the gradient of the logits of a row follows.
void BackwardPass::scale_outputs() {
  std::vector<double> d_weight(slots_.count());
  for_experts([&](std::size_t e) {
    for (std::size_t s = slots_.begin[e]; s < slots_.begin[e + 1]; ++s) {
      const float *dy = dy_ + slots_.row[s] * shape_.outputs,
                  *out = space_.output.floats() + s * output_stride_;
      float* to = d_output_.floats() + s * output_stride_;
      double sum = 0;
      for (std::size_t o = 0; o < shape_.outputs; ++o) {
        to[o] = slots_.weight[s] * dy[o];
        sum += static_cast<double>(dy[o]) * static_cast<double>(out[o]);
      }
      d_weight[s] = sum;
    }
  });
  const std::size_t picks = trace_.routing.picks;
  for (std::size_t t = 0; t < trace_.rows; ++t) {
    const std::size_t* slot = slots_.of_row.data() + t * picks;
    double mean = 0;
    for (std::size_t k = 0; k < picks; ++k)
      mean += static_cast<double>(slots_.weight[slot[k]]) * d_weight[slot[k]];
    for (std::size_t k = 0; k < picks; ++k)
      d_logit_[slot[k]] =
          static_cast<float>(static_cast<double>(slots_.weight[slot[k]]) * (d_weight[slot[k]] - mean));
  }
}

void BackwardPass::gate_gradients() {
  for_experts([&](std::size_t e) {
    for (std::size_t s = slots_.begin[e]; s < slots_.begin[e + 1]; ++s)
      add_scaled(trace_.state->x.data() + slots_.row[s] * shape_.inputs, shape_.inputs, d_logit_[s],
                 gradients_.weights.gate.data() + e * shape_.inputs);
  });
}

/// Rows of all slots, packed into tiles, expert by expert.
void BackwardPass::pack_slots(const float* from, std::size_t stride, std::size_t inner, Buffer& to) {
  for_experts([&](std::size_t e) {
    for (std::size_t s = slots_.begin[e]; s < slots_.begin[e + 1]; s += kTileRows) {
      const std::size_t rows = std::min(kTileRows, slots_.begin[e + 1] - s);
      std::array<const float*, kTileRows> row;
      for (std::size_t r = 0; r < rows; ++r) row[r] = from + (s + r) * stride;
      pack_tile(product_, row.data(), rows, inner, to.data() + s * product_.row_bytes(inner));
    }
  });
}

void BackwardPass::hidden_gradients() {
  pack_slots(d_output_.floats(), output_stride_, shape_.outputs, tiles_);
  if (shape_.kind == ExpertKind::linear) return;
  const std::size_t panels = layer_.down_back.panels;
  parallel_for(slots_.active.size() * panels, compute_, [&](std::size_t i) {
    const std::size_t e = slots_.active[i / panels], p = i % panels;
    for (std::size_t s = slots_.begin[e]; s < slots_.begin[e + 1]; s += kGroupRows) {
      const std::size_t rows = std::min(kGroupRows, slots_.begin[e + 1] - s);
      alignas(64) std::array<float, kGroupRows * kPanel> tile;
      multiply(product_, layer_.down_back.panel(e, p), tiles_.data() + s * product_.row_bytes(shape_.outputs),
               shape_.outputs, rows, tile.data());
      before_gradients(p, s, rows, tile.data());
    }
  });
  pack_slots(d_before_.floats(), before_width_, before_width_, tiles_);
}

/// Through the activation: 32 hidden units of a few slots.
void BackwardPass::before_gradients(std::size_t panel, std::size_t slot, std::size_t rows,
                                    const float* tile) {
  const std::size_t column = panel * kPanel, width = std::min(kPanel, shape_.hidden - column);
  const bool glu = shape_.kind == ExpertKind::glu;
  std::array<float, kPanel> value, slope;
  for (std::size_t r = 0; r < rows; ++r, tile += kPanel) {
    const float* before = space_.before.floats() + (slot + r) * 2 * hidden_stride_ + column;
    const float* up = before + hidden_stride_;
    float* to = d_before_.floats() + (slot + r) * before_width_ + column;
    activation_slopes(shape_.activation, before, kPanel, value.data(), slope.data());
    for (std::size_t c = 0; c < width; ++c) to[c] = tile[c] * slope[c] * (glu ? up[c] : 1.0f);
    if (!glu) continue;
    for (std::size_t c = 0; c < width; ++c) to[shape_.hidden + c] = tile[c] * value[c];
  }
}

void BackwardPass::pack_columns() {
  for_experts([&](std::size_t e) {
    const std::size_t begin = slots_.begin[e], n = slots_.begin[e + 1] - begin;
    as_panels([&](std::size_t s) { return trace_.state->x.data() + slots_.row[begin + s] * shape_.inputs; },
              n, shape_.inputs, input_panels_.floats() + begin * input_stride_);
    if (shape_.kind != ExpertKind::linear)
      as_panels([&](std::size_t s) { return space_.hidden.floats() + (begin + s) * hidden_stride_; }, n,
                shape_.hidden, hidden_panels_.floats() + begin * hidden_stride_);
  });
}

std::vector<BackwardPass::Outer> BackwardPass::outers(std::size_t e) const {
  const std::size_t begin = slots_.begin[e];
  const float *inputs = input_panels_.floats() + begin * input_stride_,
              *hidden = hidden_panels_.floats() + begin * hidden_stride_,
              *d_output = d_output_.floats() + begin * output_stride_;
  MemoryWeights::Expert& to = gradients_.weights.experts[e];
  if (shape_.kind == ExpertKind::linear)
    return {{d_output, output_stride_, shape_.outputs, inputs, shape_.inputs, to.w2.data()}};
  const float* d_before = d_before_.floats() + begin * before_width_;
  std::vector<Outer> all = {{d_output, output_stride_, shape_.outputs, hidden, shape_.hidden, to.w2.data()},
                            {d_before, before_width_, shape_.hidden, inputs, shape_.inputs, to.w1.data()}};
  if (shape_.kind == ExpertKind::glu)
    all.push_back(
        {d_before + shape_.hidden, before_width_, shape_.hidden, inputs, shape_.inputs, to.w3.data()});
  return all;
}

/// Twelve rows of a gradient: rows of left' against every panel of right.
void BackwardPass::outer(const Outer& product, std::size_t expert, std::size_t tile) const {
  const std::size_t n = slots_.begin[expert + 1] - slots_.begin[expert], first = tile * kTileRows,
                    rows = std::min(kTileRows, product.m - first);
  std::vector<float> packed(n * rows);
  for (std::size_t s = 0; s < n; ++s)
    std::copy_n(product.left + s * product.left_stride + first, rows, packed.data() + s * rows);
  alignas(64) std::array<float, kTileRows * kPanel> out;
  for (std::size_t p = 0; p < panels_of(product.n); ++p) {
    multiply(product_, reinterpret_cast<const unsigned char*>(product.panels + p * n * kPanel),
             reinterpret_cast<const unsigned char*>(packed.data()), n, rows, out.data());
    const std::size_t width = std::min(kPanel, product.n - p * kPanel);
    for (std::size_t r = 0; r < rows; ++r)
      add_scaled(out.data() + r * kPanel, width, 1.0f, product.to + (first + r) * product.n + p * kPanel);
  }
}

/// dX of every slot: 32 inputs.
void BackwardPass::slot_inputs(std::size_t e, std::size_t panel) {
  const PackedMatrix& back = shape_.kind == ExpertKind::linear ? layer_.down_back : layer_.up_back;
  for (std::size_t s = slots_.begin[e]; s < slots_.begin[e + 1]; s += kGroupRows) {
    const std::size_t rows = std::min(kGroupRows, slots_.begin[e + 1] - s);
    alignas(64) std::array<float, kGroupRows * kPanel> tile;
    multiply(product_, back.panel(e, panel), tiles_.data() + s * product_.row_bytes(back.inner), back.inner,
             rows, tile.data());
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(tile.data() + r * kPanel, kPanel,
                  d_input_.floats() + (s + r) * input_stride_ + panel * kPanel);
  }
}

void BackwardPass::input_and_weight_gradients() {
  struct Task {
    std::size_t expert;
    Outer product;      ///< with `to` null: the slots' inputs
    std::size_t piece;  ///< panel of the inputs, or run of tiles
  };
  constexpr std::size_t kRun = 16;
  std::vector<Task> tasks;
  for (const std::uint32_t e : slots_.active) {
    for (std::size_t p = 0; p < panels_of(shape_.inputs); ++p) tasks.push_back({e, {}, p});
    for (const Outer& o : outers(e))
      for (std::size_t i = 0; i * kRun * kTileRows < o.m; ++i) tasks.push_back({e, o, i});
  }
  parallel_for(tasks.size(), compute_, [&](std::size_t i) {
    const Task& task = tasks[i];
    if (!task.product.to) return slot_inputs(task.expert, task.piece);
    const std::size_t tiles = (task.product.m + kTileRows - 1) / kTileRows;
    for (std::size_t t = task.piece * kRun; t < std::min(tiles, (task.piece + 1) * kRun); ++t)
      outer(task.product, task.expert, t);
  });
}

/// A row's gradient: of its slots in the order of the experts, then through its logits.
void BackwardPass::combine_inputs() {
  std::vector<float> gate(layer_.gate.panels * kPanel * shape_.inputs);
  for (std::size_t p = 0; p < layer_.gate.panels; ++p)
    unpack_panel(layer_.gate.panel(0, p), shape_.inputs, gate.data() + p * kPanel * shape_.inputs);
  const std::size_t picks = trace_.routing.picks;
  constexpr std::size_t kRows = 64;
  std::vector<std::uint32_t> expert(slots_.count());
  for (const std::uint32_t e : slots_.active)
    std::fill(expert.begin() + static_cast<std::ptrdiff_t>(slots_.begin[e]),
              expert.begin() + static_cast<std::ptrdiff_t>(slots_.begin[e + 1]), e);
  parallel_for((trace_.rows + kRows - 1) / kRows, compute_, [&](std::size_t piece) {
    for (std::size_t t = piece * kRows; t < std::min(trace_.rows, (piece + 1) * kRows); ++t) {
      float* to = gradients_.input.data() + t * shape_.inputs;
      std::fill_n(to, shape_.inputs, 0.0f);
      const std::size_t* slot = slots_.of_row.data() + t * picks;
      for (std::size_t k = 0; k < picks; ++k)
        add_scaled(d_input_.floats() + slot[k] * input_stride_, shape_.inputs, 1.0f, to);
      for (std::size_t k = 0; k < picks; ++k)
        add_scaled(gate.data() + expert[slot[k]] * shape_.inputs, shape_.inputs, d_logit_[slot[k]], to);
    }
  });
}

}  // namespace moekit::layer

namespace moekit {

void Layer::backward(const LayerTrace& trace, const float* dy, LayerGradients& gradients) const {
  if (!state_->options.trainable || !trace.state)
    throw Error(Errc::usage, "gradients need a trainable layer and the trace of its forward pass");
  if (gradients.weights.experts.empty()) gradients.weights = MemoryWeights(shape());
  if (gradients.weights.layer != shape())
    throw Error(Errc::usage, "the gradients belong to a layer of another shape");
  gradients.input.resize(trace.rows * shape().inputs);
  if (trace.rows > 0)
    layer::BackwardPass(state_->packed, trace, dy, gradients, state_->options.compute).run();
}

}  // namespace moekit
