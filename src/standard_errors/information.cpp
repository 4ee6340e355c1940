#include "standard_errors/information.hpp"

#include <algorithm>
#include <cmath>

#include "linalg.hpp"

namespace moekit::errors {

namespace {

/// A step of a difference, in units of what one row tells a parameter apart by; the error it leaves is its
/// square.
constexpr double kStep = 1e-4;

/// Responsibilities times weights: n x K.
void weighted_responsibility(const Posterior& p, const Block& block, mat& out) {
  out = p.responsibility;
  if (!block.weight) return;
  for (uword k = 0; k < out.n_cols; ++k)
    for (uword i = 0; i < block.rows; ++i) out(i, k) *= block.weight[i];
}

/// to (columns of a x columns of b) += a' b.
void add_cross(const mat& a, const mat& b, mat& to) {
  if (a.n_cols == 0 || b.n_cols == 0) return;
  mat product(a.n_cols, b.n_cols, arma::fill::zeros);
  add_products(a, b, product.memptr());
  to += product;
}

/// A sum of a pass that is a matrix: a view of a piece of the sums.
mat piece(std::span<double> sums, std::size_t begin, uword rows, uword columns) {
  return mat(sums.data() + begin, rows, columns, false, true);
}

/// First pass: what needs the scores at the parameters only.
class ScorePass {
 public:
  ScorePass(const Mixture& mixture, const Moving& moving, const Schema& schema)
      : mixture_(mixture), moving_(moving), schema_(schema), size_(moving.size()) {}

  /// Four P x P or P x 1 sums, then the sum of responsibilities of each expert.
  std::size_t sums() const { return 3 * size_ * size_ + size_ + mixture_.count(); }
  mat complete(std::span<double> s) const { return piece(s, 0, size_, size_); }  ///< sum_k r_k s_k s_k'
  mat outer(std::span<double> s) const { return piece(s, size_ * size_, size_, size_); }  ///< w s s'
  mat squares(std::span<double> s) const { return piece(s, 2 * size_ * size_, size_, size_); }
  mat score(std::span<double> s) const { return piece(s, 3 * size_ * size_, size_, 1); }
  mat rows(std::span<double> s) const { return piece(s, 3 * size_ * size_ + size_, mixture_.count(), 1); }

  struct Work {
    Posterior posterior;
    mat weighted, gate, expert, row, scaled;
  };
  void add(const Block& block, Work& work, std::span<double> sums) const;

 private:
  const Mixture& mixture_;
  const Moving& moving_;
  const Schema& schema_;
  uword size_;
};

void ScorePass::add(const Block& block, Work& work, std::span<double> sums) const {
  posterior(mixture_, schema_, block, work.posterior);
  weighted_responsibility(work.posterior, block, work.weighted);
  const mat& r = work.posterior.responsibility;
  mat both = complete(sums), outer_sum = outer(sums), squares_sum = squares(sums), total = score(sums);
  rows(sums) += arma::sum(work.weighted, 0).t();
  const Part& gate = moving_.gate();
  work.row.zeros(block.rows, size_);  // scores of the rows
  const auto add_block = [&](const Part& a, const Part& b, const mat& x, const mat& y) {
    if (a.size == 0 || b.size == 0) return;
    mat product(a.size, b.size, arma::fill::zeros);
    add_products(x, y, product.memptr());
    both.submat(a.begin, b.begin, arma::size(product)) += product;
  };
  for (uword k = 0; k < mixture_.count(); ++k) {
    const Part& own = moving_.expert(k);
    mixture_.experts->scores(work.posterior.batch, k, work.expert);
    work.scaled = work.expert.each_col() % work.weighted.col(k);
    add_block(own, own, work.expert, work.scaled);
    if (own.size > 0) work.row.cols(own.begin, own.end() - 1) = work.expert.each_col() % r.col(k);
    if (gate.size == 0) continue;
    mixture_.gate->scores(work.posterior.batch, k, work.gate);
    add_block(gate, own, work.gate, work.scaled);
    work.scaled = work.gate.each_col() % work.weighted.col(k);
    add_block(gate, gate, work.gate, work.scaled);
    work.row.cols(gate.begin, gate.end() - 1) += work.gate.each_col() % r.col(k);
  }
  work.scaled = work.row;
  if (block.weight)
    for (uword i = 0; i < block.rows; ++i) work.scaled.row(i) *= block.weight[i];
  total += arma::sum(work.scaled, 0).t();
  add_cross(work.row, work.scaled, outer_sum);
  if (block.weight) add_cross(work.scaled, work.scaled, squares_sum);
}

/// The steps of the differences: what one row tells a parameter apart by is one over the root mean square of
/// its score. Hardly informed parameters still bend the scores on their own scale, 1.
vec steps(const Moving& moving, const mat& complete, const mat& rows, const Mixture& mixture) {
  vec step(moving.size());
  const auto fill = [&](const Part& part, double weight) {
    for (uword j = part.begin; j < part.end(); ++j) {
      const double square = weight > 0 ? complete(j, j) / weight : 0;
      const double scale = square > 1 ? 1 / std::sqrt(square) : 1.0;
      step[j] = std::max(kStep * scale, 1e-10 * std::abs(moving.values()[j]));
    }
  };
  fill(moving.gate(), arma::accu(rows));
  for (uword k = 0; k < mixture.count(); ++k) fill(moving.expert(k), rows(k, 0));
  return step;
}

/// Second pass: column j of each part's block becomes the difference of its summed scores by its parameter j.
class DifferencePass {
 public:
  DifferencePass(const Mixture& mixture, const Moving& moving, const Schema& schema, const vec& step)
      : mixture_(mixture), moving_(moving), schema_(schema), step_(step) {
    for (const Part& part : moving.parts()) {
      begin_.push_back(sums_);
      sums_ += part.size * part.size;
      widest_ = std::max(widest_, part.size);
    }
  }
  std::size_t sums() const { return sums_; }
  /// Block of part i (0: the gate).
  mat block(std::span<double> s, std::size_t i) const {
    return piece(s, begin_[i], moving_.parts()[i].size, moving_.parts()[i].size);
  }

  struct Work {
    Posterior posterior;
    Mixture moved;
    mat weighted;
    vec score;  // of a part, summed over the rows of a block
  };
  void add(const Block& block, Work& work, std::span<double> sums) const;

 private:
  void add_side(uword j, const vec& at, const vec& divisor, Work& work, std::span<double> sums) const;

  const Mixture& mixture_;
  const Moving& moving_;
  const Schema& schema_;
  const vec& step_;
  std::vector<std::size_t> begin_;
  std::size_t sums_ = 0;
  uword widest_ = 0;
};

void DifferencePass::add(const Block& block, Work& work, std::span<double> sums) const {
  posterior(mixture_, schema_, block, work.posterior);
  weighted_responsibility(work.posterior, block, work.weighted);
  for (uword j = 0; j < widest_; ++j) {
    vec above = moving_.values(), below = above;
    for (const Part& part : moving_.parts()) {
      if (j >= part.size) continue;
      above[part.begin + j] += step_[part.begin + j];
      below[part.begin + j] -= step_[part.begin + j];
    }
    const vec width = above - below;  // as rounded
    add_side(j, above, width, work, sums);
    add_side(j, below, -width, work, sums);
  }
}

void DifferencePass::add_side(uword j, const vec& at, const vec& divisor, Work& work,
                              std::span<double> sums) const {
  Moving::set(work.moved, at);
  const auto add_part = [&](std::size_t i, const vec& score) {
    block(sums, i).col(j) += score / divisor[moving_.parts()[i].begin + j];
  };
  const Part& gate = moving_.gate();
  if (j < gate.size) {
    work.score.zeros(gate.size);
    work.moved.gate->add_gradient(work.posterior.batch, work.weighted, work.score);
    add_part(0, work.score);
  }
  uword first = moving_.size(), end = 0;
  for (uword k = 0; k < mixture_.count(); ++k) {
    first = std::min(first, moving_.expert(k).begin);
    end = std::max(end, moving_.expert(k).end());
  }
  if (first >= end) return;
  work.score.zeros(end - first);
  work.moved.experts->add_gradient(work.posterior.batch, work.weighted, work.score);
  for (uword k = 0; k < mixture_.count(); ++k) {
    const Part& own = moving_.expert(k);
    if (j < own.size) add_part(k + 1, work.score.subvec(own.begin - first, own.end() - first - 1));
  }
}

}  // namespace

Information information(const Mixture& mixture, const Moving& moving, const Schema& schema,
                        const Source& source, bool kink, const Compute& compute) {
  const ScorePass first(mixture, moving, schema);
  std::vector<double> sums(first.sums(), 0.0);
  bool weights = false;
  {
    BlockData buffer;
    weights = source.blocks() > 0 && source.read(0, buffer).weight;
  }
  sum_over(source, compute, sums, [&]() -> Adder {
    return [&, work = std::make_shared<ScorePass::Work>()](const Block& block, std::span<double> to) {
      first.add(block, *work, to);
    };
  });
  const mat complete = arma::symmatu(first.complete(sums));
  const vec step = steps(moving, complete, first.rows(sums), mixture);
  const DifferencePass second(mixture, moving, schema, step);
  std::vector<double> differences(second.sums(), 0.0);
  sum_over(source, compute, differences, [&]() -> Adder {
    auto work = std::make_shared<DifferencePass::Work>();
    work->moved = mixture;
    return [&, work](const Block& block, std::span<double> to) { second.add(block, *work, to); };
  });

  // Views of the sums, which end with this function: what goes out is copied.
  const mat outer = first.outer(sums), squares = first.squares(sums), score = first.score(sums);
  Information out;
  out.score = score.col(0);
  out.squares = weights ? squares : outer;
  out.observed = outer - complete;
  for (std::size_t i = 0; i < moving.parts().size(); ++i) {
    const Part& part = moving.parts()[i];
    if (part.size == 0) continue;
    const auto place = arma::span(part.begin, part.end() - 1);
    const mat own = kink && i > 0 ? mat(complete(place, place)) : mat(-second.block(differences, i));
    out.observed(place, place) += 0.5 * (own + own.t());
  }
  return out;
}

}  // namespace moekit::errors
