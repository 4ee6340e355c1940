#include "modes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "components.hpp"
#include "moekit/error.hpp"
#include "moekit/flags.hpp"

namespace moekit {

namespace {

constexpr double kValley = 0.9, kMass = 0.05;

/// Where the density is looked at, in standard deviations from every component's mean: a quarter apart where
/// modes can be, and far enough out that next to nothing is left between two distant components.
std::vector<double> offsets() {
  std::vector<double> out;
  for (int q = -12; q <= 12; ++q) out.push_back(0.25 * q);
  for (const double far : {3.5, 4.0, 5.0, 6.0, 8.0}) out.insert(out.end(), {-far, far});
  return out;
}

/// Local maxima; of a plateau its left end.
std::vector<std::size_t> peaks_of(std::span<const double> density) {
  std::vector<std::size_t> peaks;
  std::size_t candidate = 0;
  bool rising = true;
  for (std::size_t i = 1; i < density.size(); ++i) {
    if (density[i] > density[i - 1]) {
      candidate = i;
      rising = true;
    } else if (density[i] < density[i - 1] && rising) {
      peaks.push_back(candidate);
      rising = false;
    }
  }
  if (rising) peaks.push_back(candidate);
  return peaks;
}

/// Place of the least density between two peaks.
std::size_t valley_between(std::span<const double> density, std::size_t left, std::size_t right) {
  const auto begin = density.begin();
  return static_cast<std::size_t>(std::min_element(begin + static_cast<std::ptrdiff_t>(left),
                                                   begin + static_cast<std::ptrdiff_t>(right) + 1) -
                                  begin);
}

/// Takes out the lower peak beside the shallowest valley, until every valley is deep.
void merge_shallow(std::span<const double> density, std::vector<std::size_t>& peaks) {
  while (peaks.size() > 1) {
    std::size_t shallowest = 0;
    double most = -1;
    for (std::size_t j = 0; j + 1 < peaks.size(); ++j) {
      const double lower = std::min(density[peaks[j]], density[peaks[j + 1]]);
      const double depth = density[valley_between(density, peaks[j], peaks[j + 1])] / lower;
      if (depth > most) {
        most = depth;
        shallowest = j;
      }
    }
    if (most < kValley) return;
    const bool left = density[peaks[shallowest]] < density[peaks[shallowest + 1]];
    peaks.erase(peaks.begin() + static_cast<std::ptrdiff_t>(left ? shallowest : shallowest + 1));
  }
}

/// The components of one row that can shape its density.
struct RowMixture {
  std::vector<double> weight, mean, sd;

  void take(const Components& c, uword i) {
    weight.clear(), mean.clear(), sd.clear();
    const double least = 1e-3 / static_cast<double>(c.weight.n_cols);
    for (uword k = 0; k < c.weight.n_cols; ++k) {
      if (!(c.weight(i, k) > least)) continue;
      weight.push_back(c.weight(i, k)), mean.push_back(c.mean(i, k)), sd.push_back(c.sd(i, k));
    }
  }
  double density(double y) const {
    double sum = 0;
    for (std::size_t k = 0; k < mean.size(); ++k) {
      const double z = (y - mean[k]) / sd[k];
      if (z * z < 200) sum += weight[k] / sd[k] * std::exp(-0.5 * z * z);
    }
    return sum;
  }
};

/// Places nearer to each other than an eighth of the least spread say nothing new.
void thin(std::vector<double>& at, double finest) {
  std::sort(at.begin(), at.end());
  double last = -std::numeric_limits<double>::infinity();
  std::erase_if(at, [&](double y) {
    if (y - last < 0.125 * finest) return true;
    last = y;
    return false;
  });
}

/// Normal components, row by row: each has few components that matter.
arma::uvec normal_modes(const Components& c) {
  const std::vector<double> offset = offsets();
  arma::uvec out(c.weight.n_rows);
  RowMixture row;
  std::vector<double> at, density;
  for (uword i = 0; i < out.n_elem; ++i) {
    row.take(c, i);
    if (row.mean.size() < 2) {
      out[i] = 1;
      continue;
    }
    at.clear(), density.clear();
    for (std::size_t k = 0; k < row.mean.size(); ++k)
      for (const double o : offset) at.push_back(row.mean[k] + o * row.sd[k]);
    thin(at, *std::min_element(row.sd.begin(), row.sd.end()));
    for (const double y : at) density.push_back(row.density(y));
    out[i] = count_modes(at, density);
  }
  return out;
}

/// Any family: all rows of the block have the same number of places, so they go side by side.
arma::uvec family_modes(const Model& model, const Block& inputs, const Components& c) {
  const std::vector<double> offset = offsets();
  const uword n = c.mean.n_rows, experts = c.mean.n_cols, per = offset.size();
  mat at(experts * per, n), density(experts * per, n);
  for (uword i = 0; i < n; ++i)
    for (uword g = 0; g < at.n_rows; ++g) {
      const double y = c.mean(i, g / per) + offset[g % per] * c.sd(i, g / per);
      at(g, i) = discrete(model) ? std::max(0.0, std::round(y)) : y;
    }
  at = arma::sort(at);
  for (uword g = 0; g < at.n_rows; ++g) density.row(g) = standard_density(model, inputs, at.row(g).t()).t();
  arma::uvec out(n);
  for (uword i = 0; i < n; ++i)
    out[i] = count_modes({at.colptr(i), at.n_rows}, {density.colptr(i), density.n_rows});
  return out;
}

}  // namespace

uword count_modes(std::span<const double> at, std::span<const double> density) {
  if (at.empty()) return 0;
  std::vector<std::size_t> peaks = peaks_of(density);
  merge_shallow(density, peaks);
  std::vector<std::size_t> cut{0};
  for (std::size_t j = 0; j + 1 < peaks.size(); ++j)
    cut.push_back(valley_between(density, peaks[j], peaks[j + 1]));
  cut.push_back(at.size() - 1);
  std::vector<double> mass;
  double total = 0;
  for (std::size_t j = 0; j + 1 < cut.size(); ++j) {
    double sum = 0;
    for (std::size_t i = cut[j]; i < cut[j + 1]; ++i)
      sum += 0.5 * (density[i] + density[i + 1]) * (at[i + 1] - at[i]);
    mass.push_back(sum);
    total += sum;
  }
  uword modes = 0;
  for (const double m : mass) modes += m >= kMass * total;
  return modes;
}

arma::uvec multimodal(const Model& model, const Block& block) {
  if (model.schema.target.task == Task::classification)
    throw Error(Errc::usage, "modes are for numbers; the model's target is a class");
  Block inputs = block;
  inputs.target = nullptr;
  const Components c = components(model, inputs);
  const arma::uvec modes = gaussian(model) ? normal_modes(c) : family_modes(model, inputs, c);
  arma::uvec out(modes.n_elem);
  for (uword i = 0; i < out.n_elem; ++i) out[i] = modes[i] > 1;
  return out;
}

}  // namespace moekit
