#include "sparse/network.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "moekit/error.hpp"
#include "simd/layer.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

constexpr uword kMostWidth = 65536, kMostLayers = 8;

/// z becomes z sigmoid(z), slope its derivative.
void silu(mat& z, mat& slope) {
  slope.set_size(arma::size(z));
  for (uword i = 0; i < z.n_elem; ++i) slope[i] = -z[i];
  simd::exp_inplace(slope.memptr(), slope.n_elem);
  for (uword i = 0; i < z.n_elem; ++i) {
    const double s = 1 / (1 + slope[i]), value = z[i] * s;
    slope[i] = s + value * (1 - s);
    z[i] = value;
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

void Network::forward(const double* parameters, Work& work) const {
  const std::size_t layers = begin_.size();
  work.layer.resize(layers + 1);
  work.slope.resize(layers - 1);
  const uword n = work.layer[0].n_cols;
  for (std::size_t l = 0; l < layers; ++l) {
    const double* w = parameters + begin_[l];
    work.layer[l + 1].set_size(widths_[l + 1], n);
    simd::layer(w, widths_[l + 1], widths_[l], l > 0 ? w + widths_[l + 1] * widths_[l] : nullptr,
                work.layer[l].memptr(), n, work.layer[l + 1].memptr());
    if (l + 1 < layers) silu(work.layer[l + 1], work.slope[l]);
  }
}

void Network::backward(const double* parameters, const Work& work, mat slope, double* gradient) const {
  for (std::size_t l = begin_.size(); l-- > 0;) {
    const uword out = widths_[l + 1], in = widths_[l];
    simd::add_outer(slope.memptr(), out, slope.n_cols, work.layer[l].memptr(), in, gradient + begin_[l]);
    if (l == 0) return;
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
