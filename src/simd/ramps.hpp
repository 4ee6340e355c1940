#pragma once
#include <cstddef>
#include <cstdint>

namespace moekit::simd {

// A layer that sees a run of ramps is, for each output, a curve of straight pieces over one input. Its values
// at the knots are a table, outputs x (ramps + 1); weights stand as in layer.hpp, outputs x ramps.

/// Ramps as features: (u - center[j]) / scale[j], u from 0 to 1.
struct RampScale {
  const double* center;
  const double* scale;
  std::size_t ramps;
};

/// table[o, j] = the layer's output o, without bias, where the ramps before j are climbed and no other.
void ramp_table(const double* w, RampScale s, std::size_t outputs, double* table);
/// out[o, r] += (1 - along[r]) table[o, piece[r]] + along[r] table[o, piece[r] + 1]; nothing where along is
/// NaN.
void add_pieces(const double* table, const std::uint32_t* piece, const double* along, std::size_t rows,
                std::size_t outputs, double* out);
/// table += the gradient of sum(slope % out) by the table; slope: outputs x rows.
void add_piece_slopes(const double* slope, const std::uint32_t* piece, const double* along, std::size_t rows,
                      std::size_t outputs, double* table);
/// gradient (outputs x ramps) += that by the weights, from that by the table, which is used up.
void add_ramp_slopes(double* table, RampScale s, std::size_t outputs, double* gradient);

}  // namespace moekit::simd
