#include "integrated_crps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "experts/generalised_experts.hpp"
#include "moekit/model.hpp"

namespace moekit {

namespace {

/// A panel is halved until that changes its integral by less than this share of what there is so far. Halving
/// takes 2^-10 of an error away, next to a kink 2^-3.
constexpr double kTolerance = 1e-7;
/// What lies beyond the last panel may add this share.
constexpr double kRest = 3e-8;
/// What components that are left out may change, all together.
constexpr double kLeftOut = 1e-8;
/// Standard deviations on each side of a component's mean within which its distribution function bends, and
/// the longest panel there.
constexpr double kFelt = 6, kLongest = 4;
/// Beyond, panels grow with the distance.
constexpr double kGrowth = 3;
/// Shortest panel, in units of the row's spread and of where it begins, so that every one leads on.
constexpr double kShortest = 1e-7, kShortestShare = 1e-12;
constexpr int kMostHalvings = 50;

/// A component as its kernel knows it.
struct Part {
  const Kernel* kernel = nullptr;
  double weight = 0, mean = 0, sd = 0, location = 0, scale = 1, shape = 0;

  double cumulative(double at) const { return kernel->cumulative(at, location, scale, shape); }
};

constexpr std::size_t kSteps = 8;
/// Of evenly spaced values, both ends included.
using Values = std::array<double, kSteps + 1>;

/// The integral of the polynomial through the values; of counts its sum over all whole numbers from the first
/// value to the last, half of each end: by Euler and Maclaurin, whose series is finite here, so that steps of
/// 1 give the plain sum. Exact up to degree 9 (8 of counts).
double panel_sum(const Values& v, double step, bool counts) {
  // Row i: the weight of values i and 8 - i, in powers of 1 / step^2, times 10!.
  constexpr double kWeight[5][5] = {{1012736, 859680, -60312, 2320, -24},
                                    {6029312, -2764800, 381696, -17600, 192},
                                    {-950272, 5644800, -1124256, 59200, -672},
                                    {10747904, -9031680, 2026752, -115520, 1344},
                                    {-4648960, 10584000, -2447760, 143200, -1680}};
  const double u = counts ? 1 / (step * step) : 0;
  double sum = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    const double* w = kWeight[i];
    const double weight = w[0] + u * (w[1] + u * (w[2] + u * (w[3] + u * w[4])));
    sum += weight * (i < 4 ? v[i] + v[kSteps - i] : v[i]);
  }
  return sum * step / 3628800;
}

/// The CRPS of one row: panels outwards from y, on each side until a bound says that the rest does not
/// matter. They end where a component begins, and are halved where they have to be (as McKeeman's adaptive
/// rules, of nine points: QUANC8 of Forsythe, Malcolm & Moler 1977), so that the number of points hardly
/// depends on that of components.
class RowCrps {
 public:
  RowCrps(std::vector<Part> parts, bool counts) : parts_(std::move(parts)), counts_(counts) {}

  double operator()(double y) {
    if (parts_.empty()) return std::nan("");
    for (const Part& part : parts_)
      if (!std::isfinite(part.mean - y) || !std::isfinite(part.sd)) return std::nan("");
    leave_out(y);
    double mean = 0, spread = 0;
    for (const Part& part : parts_) {
      mean += part.weight * part.mean;
      spread = std::max({spread, std::abs(part.mean - y), part.sd});
    }
    shortest_ = counts_ ? 1 : kShortest * spread;
    sum_ = 0;
    // The heavier side first: it says how little of the other one matters.
    const double first = y < mean ? 1 : -1;
    for (const double direction : {first, -first}) {
      direction_ = direction;
      walk(counts_ && direction < 0 ? y - 1 : y);
    }
    return sum_;
  }

 private:
  /// Less than the row's CRPS: what this component alone brings within a standard deviation of y.
  static double least(const Part& part, double y, bool counts) {
    const double width = counts ? std::max(1.0, std::floor(part.sd)) : part.sd;
    const double below = part.cumulative(y - width),
                 above = 1 - part.cumulative(counts ? y + width - 1 : y + width);
    return part.weight * part.weight * width * (below * below + above * above);
  }

  void leave_out(double y) {
    const auto heaviest = std::max_element(parts_.begin(), parts_.end(),
                                           [](const Part& a, const Part& b) { return a.weight < b.weight; });
    const double all = least(*heaviest, y, counts_), share = kLeftOut / static_cast<double>(parts_.size());
    // Cauchy and Schwarz: weight w of a component whose own CRPS is at most s changes the CRPS S of the row
    // by 2 w (sqrt(s S) + S) or less.
    if (all > 0)
      std::erase_if(parts_, [&](const Part& part) {
        const double own = std::abs(part.mean - y) + part.sd;
        return 2 * part.weight * (std::sqrt(own / all) + 1) < share;
      });
    double weight = 0;
    for (const Part& part : parts_) weight += part.weight;
    for (Part& part : parts_) part.weight /= weight;
  }

  double gap(double at) const {
    double below = 0;
    for (const Part& part : parts_) below += part.weight * part.cumulative(at);
    return direction_ < 0 ? below : 1 - below;
  }

  double square(double at) const {
    const double g = gap(at);
    return g * g;
  }

  /// Where a side ends, if it does.
  double lowest() const {
    return direction_ < 0 && parts_[0].kernel->log_link() ? 0 : -std::numeric_limits<double>::infinity();
  }

  /// How far a panel from x may go.
  double reach(double x) const {
    double length = std::numeric_limits<double>::infinity();
    for (const Part& part : parts_) {
      const double beyond = direction_ * (x - part.mean);
      const bool felt = beyond > -(kFelt + 1) * part.sd;
      length =
          std::min(length, felt ? std::max(kLongest * part.sd, kGrowth * beyond) : -beyond - kFelt * part.sd);
    }
    return std::min(std::max({length, shortest_, kShortestShare * std::abs(x)}), x - lowest());
  }

  /// No more than this lies beyond x, where the integrand is gap^2 and falls: gap E(X - x)+, which mean and
  /// variance bound (Scarf 1958).
  double rest(double x, double gap) const {
    double expected = 0;
    for (const Part& part : parts_) {
      const double beyond = direction_ * (x - part.mean), far = std::hypot(part.sd, beyond);
      expected += 0.5 * part.weight * (beyond > 0 ? part.sd * (part.sd / (far + beyond)) : far - beyond);
    }
    return std::abs(gap) * expected;
  }

  /// Adds a panel of these values, the first at x.
  void add_panel(double x, double step, const Values& v, int halvings = 0) {
    const double whole = panel_sum(v, step, counts_), half = 0.5 * step;
    if (counts_ && step == 1) {
      sum_ += whole;
      return;
    }
    Values near, far;
    for (std::size_t i = 0; i <= kSteps; i += 2) {
      near[i] = v[i / 2];
      far[i] = v[(kSteps + i) / 2];
    }
    const double middle = x + direction_ * half * kSteps;
    for (std::size_t i = 1; i < kSteps; i += 2) {
      const double along = direction_ * half * static_cast<double>(i);
      near[i] = square(x + along);
      far[i] = square(middle + along);
    }
    const double halves = panel_sum(near, half, counts_) + panel_sum(far, half, counts_);
    const bool settled = std::abs(halves - whole) <= kTolerance * std::max(sum_, std::abs(halves));
    if (settled || halvings == kMostHalvings) {
      sum_ += halves;
      return;
    }
    add_panel(x, half, near, halvings + 1);
    add_panel(middle, half, far, halvings + 1);
  }

  /// Adds one side, from x outwards.
  void walk(double x) {
    if (lowest() > x) return;
    Values v;
    v[0] = square(x);
    if (counts_) sum_ += 0.5 * v[0];
    while (rest(x, std::sqrt(v[0])) > kRest * sum_) {
      const double length = reach(x);
      if (!(length > 0)) break;
      double step = length / kSteps;
      std::size_t steps = kSteps;
      if (counts_) {  // powers of two, so that halves are whole numbers
        step = step < 2 ? 1 : std::exp2(std::floor(std::log2(step)));
        steps = static_cast<std::size_t>(std::min(length / step, static_cast<double>(kSteps)));
      }
      for (std::size_t i = 1; i <= steps; ++i) v[i] = square(x + direction_ * step * static_cast<double>(i));
      if (steps == kSteps)
        add_panel(x, step, v);
      else
        sum_ += std::accumulate(v.begin() + 1, v.begin() + steps, 0.5 * (v[0] + v[steps]));
      x += direction_ * step * static_cast<double>(steps);
      v[0] = v[steps];
    }
    if (counts_) sum_ += 0.5 * v[0];
  }

  std::vector<Part> parts_;
  bool counts_;
  double direction_ = 1, shortest_ = 0, sum_ = 0;
};

/// The parts of each row's mixture that have weight.
class Parts {
 public:
  Parts(const Model& model, const Block& block, const Components& c) : c_(c) {
    Block inputs = block;
    inputs.target = nullptr;
    Batch batch;
    for (const Mixture& member : model.members) {
      member.prepare(model.schema, inputs, batch);
      const auto& experts = dynamic_cast<const GeneralisedExperts&>(*member.experts);
      members_.push_back(experts.parameters(batch));
    }
  }

  std::vector<Part> of_row(uword i) const {
    std::vector<Part> out;
    uword column = 0;
    for (const KernelParameters& p : members_)
      for (uword k = 0; k < p.shape.n_elem; ++k, ++column)
        if (c_.weight(i, column) > 0)
          out.push_back({p.kernel, c_.weight(i, column), c_.mean(i, column), c_.sd(i, column),
                         p.location(i, k), p.scale(i, k), p.shape[k]});
    return out;
  }

 private:
  const Components& c_;
  std::vector<KernelParameters> members_;
};

}  // namespace

vec integrated_crps(const Model& model, const Block& block, const Components& c, const vec& y) {
  const bool counts = discrete(model);
  const Parts parts(model, block, c);
  vec out(y.n_elem);
  for (uword i = 0; i < y.n_elem; ++i)
    out[i] = RowCrps(parts.of_row(i), counts)(counts ? std::ceil(y[i]) : y[i]);
  return out;
}

}  // namespace moekit
