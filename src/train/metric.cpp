#include "train/metric.hpp"

#include <algorithm>
#include <memory>
#include <numeric>

#include "train/parameters.hpp"

namespace moekit::train {

namespace {

/// A block of more parameters has units only.
constexpr uword kMostFull = 600;
/// Products of two scores that the information may take, and rows a parameter that it is to have; networks
/// have no more, whose scores are gradients row by row.
constexpr double kMostWork = 2e9;
constexpr double kRowsEach = 4;
/// Information that every parameter has at least, so that no first step is long; what each direction has
/// besides, in the units of the parameters.
constexpr double kLeast = 1, kLeastShare = 1e-6;
/// Half the step of the differences of the prior's slope.
constexpr double kStep = 1e-3;

/// Minus the second derivatives of the log prior by each parameter. Priors are products, nearly: all
/// parameters are moved at once.
vec prior_curvature(const Mixture& mixture, uword gate) {
  Mixture moved = mixture;
  const vec here = moving_parameters(moved);
  std::vector<double> above(here.n_elem, 0.0), below = above;
  set_moving_parameters(moved, here + kStep);
  add_prior_gradient(moved, gate, above);
  set_moving_parameters(moved, here - kStep);
  add_prior_gradient(moved, gate, below);
  return arma::clamp((vec(below) - vec(above)) / (2 * kStep), 0.0, arma::datum::inf);
}

struct Work {
  Posterior posterior;
  mat responsibility, scores, weighted;
};

}  // namespace

Metric::Metric(Mixture& mixture, const Schema& schema, const Source& source, const Compute& compute,
               const std::vector<bool>& held) {
  const uword experts = mixture.count();
  std::vector<std::size_t> place;
  std::size_t sums_size = 2;  // the weight of the rows that are looked at, and of all
  uword widest = 0;
  double work_of_row = 0;
  const auto add_part = [&](uword size, uword times) {
    parts_.push_back({size_, size, {}, {}});
    size_ += size;
    place.push_back(sums_size);
    const bool full = size <= kMostFull;
    sums_size += full ? size * size : size;
    if (full) widest = std::max(widest, size);
    work_of_row += static_cast<double>(times * size * (full ? size : 1));
  };
  add_part(moving_size(mixture.gate->fields()), experts);
  for (uword k = 0; k < experts; ++k) add_part(moving_size(mixture.experts->fields(k)), 1);

  const bool closed = mixture.gate->closed_step() && mixture.experts->closed_step();
  const double wanted = std::max(kRowsEach * static_cast<double>(widest),
                                 closed ? kMostWork / std::max(1.0, work_of_row) : 0.0);
  const auto blocks = static_cast<std::uint64_t>(wanted / static_cast<double>(kBlockRows)) + 1;
  const std::uint64_t stride = std::max<std::uint64_t>(1, source.blocks() / blocks);
  const Mixture& m = mixture;
  std::vector<double> sums(sums_size, 0.0);
  sum_over(source, compute, sums, [&]() -> Adder {
    return [&, work = std::make_shared<Work>()](const Block& block, std::span<double> to) {
      double weight = static_cast<double>(block.rows);
      if (block.weight) weight = std::accumulate(block.weight, block.weight + block.rows, 0.0);
      to[1] += weight;
      if (block.first / kBlockRows % stride != 0) return;
      to[0] += weight;
      posterior(m, schema, block, work->posterior);
      work->responsibility = work->posterior.responsibility;
      if (block.weight)
        for (uword k = 0; k < experts; ++k)
          for (uword i = 0; i < block.rows; ++i) work->responsibility(i, k) *= block.weight[i];
      const auto add = [&](std::size_t i, uword k) {
        const Part& part = parts_[i];
        if (part.size <= kMostFull) {
          work->weighted = work->scores.each_col() % work->responsibility.col(k);
          mat(to.data() + place[i], part.size, part.size, false, true) += work->scores.t() * work->weighted;
        } else {
          vec(to.data() + place[i], part.size, false, true) +=
              arma::square(work->scores).t() * work->responsibility.col(k);
        }
      };
      for (uword k = 0; k < experts; ++k) {
        if (parts_[0].size > 0) {
          m.gate->scores(work->posterior.batch, k, work->scores);
          add(0, k);
        }
        if (parts_[k + 1].size == 0) continue;
        m.experts->scores(work->posterior.batch, k, work->scores);
        add(k + 1, k);
      }
    };
  });

  const double times = sums[0] > 0 ? sums[1] / sums[0] : 1;
  const vec prior = prior_curvature(m, parts_[0].size);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    if (part.size == 0) continue;
    const bool full = part.size <= kMostFull;
    mat information = times * mat(sums.data() + place[i], part.size, full ? part.size : 1);
    const vec own = full ? vec(information.diag()) : vec(information.col(0));
    const vec all = own + prior.subvec(part.begin, part.begin + part.size - 1) + kLeast;
    part.unit = 1 / arma::sqrt(all);
    if (!full) continue;
    information.diag() = all;
    information.each_col() %= part.unit;
    information.each_row() %= part.unit.t();
    information.diag() += kLeastShare;
    for (uword j = 0; j < part.size; ++j)
      if (held[part.begin + j]) {
        information.row(j).zeros();
        information.col(j).zeros();
        information(j, j) = 1;
      }
    // Rows that say nothing finite leave the units.
    if (!information.is_finite() || !arma::chol(part.root, information)) part.root.reset();
  }
}

vec Metric::step(const double* z) const {
  vec out(z, size_);
  for (const Part& part : parts_) {
    if (part.size == 0) continue;
    vec own = out.subvec(part.begin, part.begin + part.size - 1);
    if (!part.root.is_empty()) own = arma::solve(arma::trimatu(part.root), own, arma::solve_opts::fast);
    out.subvec(part.begin, part.begin + part.size - 1) = part.unit % own;
  }
  return out;
}

void Metric::slope(const vec& of_x, double* of_z) const {
  for (const Part& part : parts_) {
    if (part.size == 0) continue;
    vec own = part.unit % of_x.subvec(part.begin, part.begin + part.size - 1);
    if (!part.root.is_empty()) own = arma::solve(arma::trimatl(part.root.t()), own, arma::solve_opts::fast);
    std::copy(own.begin(), own.end(), of_z + part.begin);
  }
}

}  // namespace moekit::train
