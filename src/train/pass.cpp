#include "train/pass.hpp"

#include <functional>

#include "simd/vector_math.hpp"

namespace moekit::train {

namespace {

/// Where the parts of a pass stand in the sums.
struct Layout {
  std::size_t experts_count, gate, experts;
  explicit Layout(const Mixture& m)
      : experts_count(m.count()), gate(m.gate->sums()), experts(m.experts->sums()) {}
  static constexpr std::size_t kScalars = 3;  // log-likelihood, weight, log density of the features
  std::size_t size() const { return kScalars + experts_count + gate + experts; }
};

/// What a worker keeps between blocks.
struct Work {
  Posterior posterior;
  vec input;  // n: log density of the features
};

/// Responsibilities and logarithms of the posterior become those of weighted rows.
void add_block(const Mixture& mixture, const Layout& layout, const Block& block, Work& work,
               std::span<double> sums) {
  Posterior& p = work.posterior;
  const uword n = block.rows;
  const bool density = mixture.gate->log_input(p.batch, work.input);
  const auto total = [&](vec& values) {
    if (block.weight) simd::multiply(values.memptr(), block.weight, n);
    return simd::sum(values.memptr(), n);
  };
  sums[0] += total(p.log_likelihood);
  sums[1] += block.weight ? simd::sum(block.weight, n) : static_cast<double>(n);
  if (density) sums[2] += total(work.input);
  for (uword k = 0; k < layout.experts_count; ++k) {
    vec responsibility(p.responsibility.colptr(k), n, false, true);
    sums[Layout::kScalars + k] += total(responsibility);
  }
  const std::size_t at = Layout::kScalars + layout.experts_count;
  mixture.gate->add(p.batch, p.gate, p.responsibility, sums.subspan(at, layout.gate));
  mixture.experts->add(p.batch, p.responsibility, sums.subspan(at + layout.gate, layout.experts));
}

using EStep = std::function<void(const Block&, Posterior&)>;

void run_pass(const Mixture& mixture, const Source& source, const Compute& compute, const EStep& e_step,
              PassSums& out) {
  const Layout layout(mixture);
  std::vector<double> total(layout.size(), 0.0);
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Work>()](const Block& block, std::span<double> sums) {
      e_step(block, work->posterior);
      add_block(mixture, layout, block, *work, sums);
    };
  });
  out.log_likelihood = total[0];
  out.weight = total[1];
  out.log_input = total[2];
  const auto part = [&](std::size_t begin, std::size_t size) {
    return std::vector<double>(total.begin() + static_cast<std::ptrdiff_t>(begin),
                               total.begin() + static_cast<std::ptrdiff_t>(begin + size));
  };
  const std::size_t at = Layout::kScalars + layout.experts_count;
  out.rows = part(Layout::kScalars, layout.experts_count);
  out.gate = part(at, layout.gate);
  out.experts = part(at + layout.gate, layout.experts);
}

}  // namespace

void em_pass(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
             PassSums& out) {
  run_pass(
      mixture, source, compute,
      [&](const Block& block, Posterior& work) { posterior(mixture, schema, block, work); }, out);
}

void region_pass(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
                 std::span<const std::uint32_t> region, double firmness, PassSums& out) {
  const double other = (1 - firmness) / static_cast<double>(mixture.count());
  run_pass(
      mixture, source, compute,
      [&](const Block& block, Posterior& work) {
        posterior(mixture, schema, block, work);
        work.batch.picks = nullptr;  // every expert learns
        work.responsibility.fill(other);
        for (uword i = 0; i < block.rows; ++i) work.responsibility(i, region[block.first + i]) += firmness;
      },
      out);
}

void given_pass(const Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
                const mat& responsibility, PassSums& out) {
  run_pass(
      mixture, source, compute,
      [&](const Block& block, Posterior& work) {
        posterior(mixture, schema, block, work);
        work.batch.picks = nullptr;
        work.responsibility = responsibility.rows(block.first, block.first + block.rows - 1);
      },
      out);
}

mat responsibilities(const Mixture& mixture, const Schema& schema, const Source& source) {
  mat out(source.rows(), mixture.count());
  Posterior work;
  BlockData buffer;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    const Block block = source.read(b, buffer);
    posterior(mixture, schema, block, work);
    out.rows(block.first, block.first + block.rows - 1) = work.responsibility;
  }
  return out;
}

std::vector<std::uint32_t> hard_partition(const Mixture& mixture, const Schema& schema,
                                          const Source& source) {
  std::vector<std::uint32_t> region(source.rows());
  Posterior work;
  BlockData buffer;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    const Block block = source.read(b, buffer);
    posterior(mixture, schema, block, work);
    for (uword i = 0; i < block.rows; ++i)
      region[block.first + i] = static_cast<std::uint32_t>(work.responsibility.row(i).index_max());
  }
  return region;
}

}  // namespace moekit::train
