#include "sparse/network.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "moekit/error.hpp"
#include "simd/layer.hpp"
#include "simd/ramps.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

constexpr uword kMostWidth = 65536, kMostLayers = 8;

simd::RampScale scale_of(const RampRun& run) { return {run.center.data(), run.scale.data(), run.count()}; }

/// What ramps add to a first layer. w: outputs x inputs.
void add_ramps(const RampPositions& ramps, const double* w, mat& out) {
  thread_local std::vector<double> table;
  for (std::size_t r = 0; r < ramps.runs.size(); ++r) {
    const RampRun& run = ramps.runs[r];
    table.resize((run.count() + 1) * out.n_rows);
    simd::ramp_table(w + run.first * out.n_rows, scale_of(run), out.n_rows, table.data());
    const std::size_t at = r * out.n_cols;
    simd::add_pieces(table.data(), &ramps.piece[at], &ramps.along[at], out.n_cols, out.n_rows, out.memptr());
  }
}

void add_ramp_gradient(const RampPositions& ramps, const mat& slope, double* gradient) {
  thread_local std::vector<double> table;
  for (std::size_t r = 0; r < ramps.runs.size(); ++r) {
    const RampRun& run = ramps.runs[r];
    table.assign((run.count() + 1) * slope.n_rows, 0.0);
    const std::size_t at = r * slope.n_cols;
    simd::add_piece_slopes(slope.memptr(), &ramps.piece[at], &ramps.along[at], slope.n_cols, slope.n_rows,
                           table.data());
    simd::add_ramp_slopes(table.data(), scale_of(run), slope.n_rows, gradient + run.first * slope.n_rows);
  }
}

}  // namespace

std::vector<uword> parse_widths(std::string_view text, const std::string& what) {
  std::vector<uword> widths;
  const auto refuse = [&] {
    throw Error(Errc::usage, what + ": '" + std::string(text) +
                                 "' does not say how wide hidden layers are; give mlp:H or mlp:H1,H2 with "
                                 "whole numbers from 1 to " +
                                 std::to_string(kMostWidth));
  };
  const char *at = text.data(), *end = text.data() + text.size();
  while (true) {
    uword width = 0;
    const auto [stop, error] = std::from_chars(at, end, width);
    if (error != std::errc{} || width < 1 || width > kMostWidth || widths.size() == kMostLayers) refuse();
    widths.push_back(width);
    if (stop == end) return widths;
    if (*stop != ',') refuse();
    at = stop + 1;
  }
}

std::string widths_text(const std::vector<uword>& widths) {
  std::string text;
  for (const uword w : widths) text += (text.empty() ? "" : ",") + std::to_string(w);
  return text;
}

Network::Network(std::vector<uword> widths) : widths_(std::move(widths)) {
  for (std::size_t l = 0; l + 1 < widths_.size(); ++l) {
    begin_.push_back(size_);
    size_ += widths_[l + 1] * (widths_[l] + (l > 0 ? 1 : 0));
  }
}

void Network::forward(const double* parameters, NetworkWork& work) const {
  const std::size_t layers = begin_.size();
  work.layer.resize(layers + 1);
  work.slope.resize(layers - 1);
  const uword n = work.layer[0].n_cols;
  for (std::size_t l = 0; l < layers; ++l) {
    const double* w = parameters + begin_[l];
    mat& out = work.layer[l + 1];
    out.set_size(widths_[l + 1], n);
    simd::layer(w, widths_[l + 1], work.layer[l].n_rows, l > 0 ? w + widths_[l + 1] * widths_[l] : nullptr,
                work.layer[l].memptr(), n, out.memptr());
    if (l == 0) add_ramps(work.ramps, w, out);
    if (l + 1 == layers) continue;
    work.slope[l].set_size(arma::size(out));
    simd::silu(out.memptr(), work.slope[l].memptr(), out.n_elem);
  }
}

void Network::backward(const double* parameters, const NetworkWork& work, mat slope, double* gradient) const {
  for (std::size_t l = begin_.size(); l-- > 0;) {
    const uword out = widths_[l + 1], in = widths_[l];
    simd::add_outer(slope.memptr(), out, slope.n_cols, work.layer[l].memptr(), work.layer[l].n_rows,
                    gradient + begin_[l]);
    if (l == 0) return add_ramp_gradient(work.ramps, slope, gradient);
    vec of_bias(gradient + begin_[l] + out * in, out, false, true);
    of_bias += arma::sum(slope, 1);
    const mat w(const_cast<double*>(parameters) + begin_[l], out, in, false, true);
    const mat turned = w.t();
    mat back(in, slope.n_cols);
    simd::layer(turned.memptr(), in, out, nullptr, slope.memptr(), slope.n_cols, back.memptr());
    slope = back % work.slope[l - 1];
  }
}

void Network::randomise(double* parameters, Rng& rng) const {
  for (std::size_t l = 0; l < begin_.size(); ++l) {
    const bool last = l + 1 == begin_.size();
    const double spread = std::sqrt((last ? 0.5 : 2.0) / static_cast<double>(widths_[l]));
    double* w = parameters + begin_[l];
    for (uword i = 0; i < widths_[l + 1] * widths_[l]; ++i) w[i] = spread * rng.normal();
    if (l > 0) std::fill_n(w + widths_[l + 1] * widths_[l], widths_[l + 1], 0.0);
  }
}

template <class Visit>
void Network::each_slope(const Visit& visit) const {
  for (std::size_t l = 0; l < begin_.size(); ++l)
    for (uword i = l > 0 ? 0 : widths_[1]; i < widths_[l + 1] * widths_[l]; ++i) visit(begin_[l] + i);
}

double Network::slopes_squared(const double* parameters) const {
  double sum = 0;
  each_slope([&](uword i) { sum += parameters[i] * parameters[i]; });
  return sum;
}

void Network::add_ridge_gradient(const double* parameters, double ridge, double* gradient) const {
  each_slope([&](uword i) { gradient[i] -= ridge * parameters[i]; });
}

std::vector<double> Network::select_outputs(const double* parameters, const std::vector<uword>& from) const {
  const std::size_t last = begin_.size() - 1;
  std::vector<double> out(parameters, parameters + begin_[last]);
  const double* w = parameters + begin_[last];
  for (uword j = 0; j < widths_[last] + (last > 0 ? 1 : 0); ++j)
    for (const uword k : from) out.push_back(w[j * widths_.back() + k]);
  return out;
}

}  // namespace moekit
