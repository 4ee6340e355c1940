#include "layer/forward.hpp"

#include <algorithm>
#include <barrier>

#include "layer/kernels_amx.hpp"

namespace moekit::layer {

namespace {

/// Calls step(first slot, rows) for runs of at most `most` of the slots begin .. end - 1.
template <class Step>
void in_runs(std::size_t begin, std::size_t end, std::size_t most, const Step& step) {
  for (std::size_t s = begin; s < end; s += most) step(s, std::min(most, end - s));
}

/// The first lines of a matrix, before a product asks for the rest as it goes.
void ask_for(const unsigned char* from) {
  for (std::size_t line = 0; line < kLead; line += 64) __builtin_prefetch(from + line, 0, 2);
}

std::size_t padded(std::size_t columns) { return (columns + kPanel - 1) / kPanel * kPanel; }

}  // namespace

std::size_t ForwardPass::hidden_stride(const LayerShape& shape) {
  return shape.kind == ExpertKind::linear ? 0 : padded(shape.hidden);
}
std::size_t ForwardPass::output_stride(const LayerShape& shape) { return padded(shape.outputs); }

ForwardPass::ForwardPass(const PackedLayer& layer, const Slots& slots, const float* x, std::size_t rows,
                         bool keep, Workspace& space, const Compute& compute)
    : layer_(layer),
      shape_(layer.shape),
      slots_(slots),
      x_(x),
      rows_(rows),
      keep_(keep),
      space_(space),
      compute_(compute),
      product_(product_of(layer.down.type)),
      hidden_stride_(hidden_stride(shape_)),
      output_stride_(output_stride(shape_)),
      x_bytes_(product_.row_bytes(shape_.inputs)),
      hidden_bytes_(shape_.kind == ExpertKind::linear ? 0 : product_.row_bytes(shape_.hidden)) {
  const std::size_t n = slots.count();
  space.x_tiles.ensure(n * x_bytes_);
  space.hidden.ensure(n * hidden_stride_ * sizeof(float));
  space.hidden_tiles.ensure(n * hidden_bytes_);
  space.output.ensure(n * output_stride_ * sizeof(float));
  if (keep) space.before.ensure(n * 2 * hidden_stride_ * sizeof(float));
}

int ForwardPass::threads_worth() const {
  const int wanted = compute_.threads > 0 ? compute_.threads : available_cores();
  // Starting a thread costs some 30 microseconds: what a core multiplies, or reads, in that time must be
  // there.
  const double weights = static_cast<double>(layer_.up.panels * layer_.up.panel_stride() +
                                             layer_.down.panels * layer_.down.panel_stride());
  const double bytes = weights * static_cast<double>(slots_.active.size());
  const double sums = weights / 4 * static_cast<double>(slots_.count());
  const double most = std::max(bytes / 1e6, sums / 4e6);
  return static_cast<int>(std::clamp(most, 1.0, static_cast<double>(std::max(1, wanted))));
}

void ForwardPass::run(float* y) {
  const int threads = threads_worth();
  const std::size_t expert_bytes =
      layer_.up.panels * layer_.up.panel_stride() + layer_.down.panels * layer_.down.panel_stride();
  // Small experts go through the cache whole, as long as there are enough of them to share out.
  const bool small = expert_bytes <= (std::size_t{1} << 20);
  if (threads == 1 || (small && slots_.active.size() >= 8 * static_cast<std::size_t>(threads)))
    return by_experts(threads, y);
  by_stages(threads, y);
}

void ForwardPass::by_experts(int threads, float* y) {
  Compute used = compute_;
  used.threads = threads;
  const std::size_t active = slots_.active.size();
  const std::size_t group = std::max<std::size_t>(1, active / (static_cast<std::size_t>(threads) * 16));
  parallel_for((active + group - 1) / group, used, [&](std::size_t g) {
    const MatrixUnitHold hold;
    for (std::size_t i = g * group; i < std::min(active, (g + 1) * group); ++i) {
      const std::uint32_t e = slots_.active[i];
      // What is read after this: its own second matrix, and the next expert.
      ask_for(layer_.down.panel(e, 0));
      if (i + 1 < active)
        ask_for((layer_.up.panels ? layer_.up : layer_.down).panel(slots_.active[i + 1], 0));
      pack_rows(e);
      up({e, 0, static_cast<std::uint32_t>(layer_.up.panels)});
      pack_hidden(e);
      down({e, 0, static_cast<std::uint32_t>(layer_.down.panels)});
    }
  });
  constexpr std::size_t kRows = 64;
  parallel_for((rows_ + kRows - 1) / kRows, used,
               [&](std::size_t piece) { combine(piece * kRows, std::min(rows_, (piece + 1) * kRows), y); });
}

std::vector<ForwardPass::Piece> ForwardPass::pieces(const PackedMatrix& matrix, int threads) const {
  constexpr std::size_t kLeast = std::size_t{1} << 17, kMost = std::size_t{1} << 20;
  const std::size_t all = matrix.panels * matrix.panel_stride() * slots_.active.size();
  const std::size_t bytes = std::clamp(all / (static_cast<std::size_t>(threads) * 16), kLeast, kMost);
  const std::size_t run = std::max<std::size_t>(1, bytes / std::max<std::size_t>(1, matrix.panel_stride()));
  std::vector<Piece> out;
  for (const std::uint32_t e : slots_.active)
    for (std::size_t p = 0; p < matrix.panels; p += run)
      out.push_back(
          {e, static_cast<std::uint32_t>(p), static_cast<std::uint32_t>(std::min(matrix.panels, p + run))});
  return out;
}

void ForwardPass::by_stages(int threads, float* y) {
  const std::vector<Piece> ups = pieces(layer_.up, threads), downs = pieces(layer_.down, threads);
  // Who finishes the last piece of an expert packs its hidden units.
  std::vector<std::atomic<std::uint32_t>> open(shape_.experts);
  for (const Piece& piece : ups) open[piece.expert].fetch_add(1, std::memory_order_relaxed);
  std::atomic<std::size_t> next_rows{0}, next_up{0}, next_down{0};
  std::barrier stage(threads);
  Compute used = compute_;
  used.threads = threads;
  // As many tasks as threads, and each waits for the others: so every thread takes one. None of them throws.
  parallel_for(static_cast<std::size_t>(threads), used, [&](std::size_t t) {
    const MatrixUnitHold hold;
    for (std::size_t i; (i = next_rows.fetch_add(1)) < slots_.active.size();) pack_rows(slots_.active[i]);
    stage.arrive_and_wait();
    for (std::size_t i; (i = next_up.fetch_add(1)) < ups.size();) {
      up(ups[i]);
      if (open[ups[i].expert].fetch_sub(1, std::memory_order_acq_rel) == 1) pack_hidden(ups[i].expert);
    }
    stage.arrive_and_wait();
    for (std::size_t i; (i = next_down.fetch_add(1)) < downs.size();) down(downs[i]);
    stage.arrive_and_wait();
    const std::size_t n = static_cast<std::size_t>(threads);
    combine(rows_ * t / n, rows_ * (t + 1) / n, y);
  });
}

void ForwardPass::pack_rows(std::size_t expert) {
  const std::size_t most = product_.tile_rows();
  in_runs(slots_.begin[expert], slots_.begin[expert + 1], most, [&](std::size_t s, std::size_t rows) {
    std::array<const float*, kMostTileRows> row;
    for (std::size_t r = 0; r < rows; ++r) row[r] = x_ + slots_.row[s + r] * shape_.inputs;
    pack_tile(product_, row.data(), rows, shape_.inputs, space_.x_tiles.data() + s * x_bytes_);
  });
}

void ForwardPass::up(const Piece& piece) {
  for (std::size_t p = piece.begin; p < piece.end; ++p)
    in_runs(slots_.begin[piece.expert], slots_.begin[piece.expert + 1], kGroupRows,
            [&](std::size_t s, std::size_t rows) {
              alignas(64) std::array<float, kGroupRows * kPanel> tile;
              multiply(product_, layer_.up.panel(piece.expert, p), space_.x_tiles.data() + s * x_bytes_,
                       shape_.inputs, rows, tile.data());
              store_hidden(tile.data(), p, s, rows);
            });
}

void ForwardPass::store_hidden(const float* tile, std::size_t panel, std::size_t slot, std::size_t rows) {
  const bool glu = shape_.kind == ExpertKind::glu;
  const std::size_t width = glu ? kPanel / 2 : kPanel, column = panel * width;
  float* hidden = space_.hidden.floats() + slot * hidden_stride_ + column;
  if (glu) {
    activate_gated(shape_.activation, tile, rows, hidden, hidden_stride_);
  } else {
    activate(shape_.activation, tile, rows, hidden, hidden_stride_);
  }
  if (!keep_) return;
  float* before = space_.before.floats() + slot * 2 * hidden_stride_ + column;
  for (std::size_t r = 0; r < rows; ++r, before += 2 * hidden_stride_, tile += kPanel) {
    std::copy_n(tile, width, before);
    if (glu) std::copy_n(tile + width, width, before + hidden_stride_);
  }
}

void ForwardPass::pack_hidden(std::size_t expert) {
  if (shape_.kind == ExpertKind::linear) return;
  const std::size_t most = product_.tile_rows();
  in_runs(slots_.begin[expert], slots_.begin[expert + 1], most, [&](std::size_t s, std::size_t rows) {
    std::array<const float*, kMostTileRows> row;
    for (std::size_t r = 0; r < rows; ++r) row[r] = space_.hidden.floats() + (s + r) * hidden_stride_;
    pack_tile(product_, row.data(), rows, shape_.hidden, space_.hidden_tiles.data() + s * hidden_bytes_);
  });
}

void ForwardPass::down(const Piece& piece) {
  const bool linear = shape_.kind == ExpertKind::linear;
  const unsigned char* tiles = linear ? space_.x_tiles.data() : space_.hidden_tiles.data();
  const std::size_t bytes = linear ? x_bytes_ : hidden_bytes_;
  for (std::size_t p = piece.begin; p < piece.end; ++p)
    in_runs(slots_.begin[piece.expert], slots_.begin[piece.expert + 1], kGroupRows,
            [&](std::size_t s, std::size_t rows) {
              alignas(64) std::array<float, kGroupRows * kPanel> tile;
              multiply(product_, layer_.down.panel(piece.expert, p), tiles + s * bytes, layer_.down.inner,
                       rows, tile.data());
              for (std::size_t r = 0; r < rows; ++r)
                std::copy_n(tile.data() + r * kPanel, kPanel,
                            space_.output.floats() + (s + r) * output_stride_ + p * kPanel);
            });
}

void ForwardPass::combine(std::size_t begin, std::size_t end, float* y) const {
  const std::size_t picks = rows_ ? slots_.count() / rows_ : 0;
  for (std::size_t t = begin; t < end; ++t) {
    float* to = y + t * shape_.outputs;
    std::fill_n(to, shape_.outputs, 0.0f);
    for (std::size_t k = 0; k < picks; ++k) {
      const std::size_t slot = slots_.of_row[t * picks + k];
      add_scaled(space_.output.floats() + slot * output_stride_, shape_.outputs, slots_.weight[slot], to);
    }
  }
}

}  // namespace moekit::layer
