#include "stepped_crps.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "experts/picked.hpp"
#include "linalg.hpp"
#include "moekit/model.hpp"

namespace moekit {

namespace {

/// So many numbers are gone through one by one before they are taken together, a share of 1 / kFine of the
/// way at a time.
constexpr double kFine = 1000;
/// What components that are left out, and what lies above the last number, may add to a CRPS.
constexpr double kNegligible = 1e-9;

/// The distribution functions of some rows of a block, whose features are made once.
class CountDistributions {
 public:
  CountDistributions(const Model& model, const Block& block) : model_(model) {
    Block inputs = block;
    inputs.target = nullptr;
    whole_.resize(model.members.size());
    for (std::size_t m = 0; m < whole_.size(); ++m) {
      Posterior post;
      gate_weights(model.members[m], model.schema, inputs, post);
      post.batch.picks = nullptr;
      whole_[m] = {std::move(post.batch), std::move(post.gate)};
    }
    some_ = whole_;
  }

  /// From here on, of these rows of the block only.
  void keep(const std::vector<uword>& rows) {
    for (std::size_t m = 0; m < whole_.size(); ++m) {
      gather_batch(whole_[m].batch, rows, some_[m].batch, offset_);
      gather_rows(whole_[m].gate, rows, some_[m].gate);
    }
  }

  /// F at a number of each row kept.
  void operator()(const vec& at, vec& out) {
    out.zeros(at.n_elem);
    for (std::size_t m = 0; m < some_.size(); ++m) {
      model_.members[m].experts->cumulative(some_[m].batch, at, each_);
      out += arma::sum(some_[m].gate % each_, 1);
    }
    out /= static_cast<double>(some_.size());
  }

 private:
  struct Member {
    Batch batch;
    mat gate;
  };

  const Model& model_;
  std::vector<Member> whole_, some_;
  vec offset_;  // the same for all members
  mat each_;
};

/// A row on its way through the numbers.
struct Walk {
  uword row = 0;
  double y = 0, from = 0, at = 0, stride = 1, last = 0;
  bool done = false;

  double middle() const { return at + (stride - 1) / 2; }
  /// How many numbers count as one: odd, so that their middle is one of them, and never across y, where the
  /// integrand jumps.
  void stretch() {
    const auto odd = [](double most) { return 2 * std::floor((most - 1) / 2) + 1; };
    stride = odd(std::max(1.0, (at - from) / kFine));
    if (at < y) stride = std::min(stride, odd(y - at));
  }
  /// Goes on behind a stretch where F was `below`.
  void advance(double below) {
    at += stride;
    const double above = 1 - below;
    done = at > last || (at > y && above * above * (last - at) < kNegligible);
    stretch();
  }
};

Walk begin(const Components& c, uword i, double y) {
  Walk walk{i, y, y, 0, 1, y, false};
  for (uword k = 0; k < c.weight.n_cols; ++k) {
    const double w = c.weight(i, k), top = c.mean(i, k) + 40 * c.sd(i, k);
    if (w * w * top <= kNegligible) continue;  // (1 - F)^2 over all that only this component reaches
    walk.from = std::min(walk.from, c.mean(i, k) - 12 * c.sd(i, k));
    walk.last = std::max(walk.last, std::ceil(top) + 1);
  }
  walk.from = walk.at = std::max(0.0, std::floor(walk.from));
  walk.stretch();
  return walk;
}

}  // namespace

vec stepped_crps(const Model& model, const Block& block, const Components& c, const vec& y) {
  vec out(y.n_elem, arma::fill::zeros), at, below;
  std::vector<Walk> walks;
  for (uword i = 0; i < y.n_elem; ++i) walks.push_back(begin(c, i, y[i]));
  CountDistributions distribution(model, block);
  for (std::size_t left = walks.size(); left > 0;) {
    at.set_size(walks.size());
    for (uword i = 0; i < at.n_elem; ++i) at[i] = walks[i].middle();
    distribution(at, below);
    for (uword i = 0; i < at.n_elem; ++i) {
      Walk& walk = walks[i];
      if (walk.done) continue;
      const double gap = below[i] - (walk.y <= at[i] ? 1.0 : 0.0);
      out[walk.row] += walk.stride * gap * gap;
      walk.advance(below[i]);
      if (walk.done) --left;
    }
    // A few rows with long tails do not make the others wait for them.
    if (left == 0 || 2 * left > walks.size()) continue;
    std::erase_if(walks, [](const Walk& walk) { return walk.done; });
    std::vector<uword> rows;
    for (const Walk& walk : walks) rows.push_back(walk.row);
    distribution.keep(rows);
  }
  return out;
}

}  // namespace moekit
