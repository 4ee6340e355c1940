#include "simd/ramps.hpp"

#include <cmath>

// Highway compiles this file once for each instruction set and picks one at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/ramps.cpp"
#include <hwy/foreach_target.h>
// clang-format off: the order matters
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace moekit::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// visit(d, o) for all outputs: vectors first, then one by one.
template <class Visit>
HWY_INLINE void EachOutput(std::size_t outputs, const Visit& visit) {
  const hn::ScalableTag<double> d;
  const hn::CappedTag<double, 1> one;
  std::size_t o = 0;
  for (; o + hn::Lanes(d) <= outputs; o += hn::Lanes(d)) visit(d, o);
  for (; o < outputs; ++o) visit(one, o);
}

// Ramp by ramp, all outputs of one before those of the next: so the sums of neighbours do not wait for each
// other.
void Table(const double* w, RampScale s, std::size_t outputs, double* table) {
  for (std::size_t o = 0; o < outputs; ++o) table[o] = 0;
  for (std::size_t j = 0; j < s.ramps; ++j, w += outputs)
    EachOutput(outputs, [&](auto d, std::size_t o) {
      const auto part = hn::Set(d, s.center[j] / s.scale[j]);
      hn::StoreU(hn::NegMulAdd(part, hn::LoadU(d, w + o), hn::LoadU(d, table + o)), d, table + o);
    });
  w -= s.ramps * outputs;
  for (std::size_t j = 0; j < s.ramps; ++j, w += outputs, table += outputs)
    EachOutput(outputs, [&](auto d, std::size_t o) {
      const auto part = hn::Set(d, 1 / s.scale[j]);
      hn::StoreU(hn::MulAdd(part, hn::LoadU(d, w + o), hn::LoadU(d, table + o)), d, table + outputs + o);
    });
}

void AddPieces(const double* table, const std::uint32_t* piece, const double* along, std::size_t rows,
               std::size_t outputs, double* out) {
  for (std::size_t r = 0; r < rows; ++r, out += outputs) {
    const double u = along[r];
    if (std::isnan(u)) continue;
    const double* from = table + piece[r] * outputs;
    EachOutput(outputs, [&](auto d, std::size_t o) {
      const auto low = hn::MulAdd(hn::Set(d, 1 - u), hn::LoadU(d, from + o), hn::LoadU(d, out + o));
      hn::StoreU(hn::MulAdd(hn::Set(d, u), hn::LoadU(d, from + outputs + o), low), d, out + o);
    });
  }
}

void AddPieceSlopes(const double* slope, const std::uint32_t* piece, const double* along, std::size_t rows,
                    std::size_t outputs, double* table) {
  for (std::size_t r = 0; r < rows; ++r, slope += outputs) {
    const double u = along[r];
    if (std::isnan(u)) continue;
    double* to = table + piece[r] * outputs;
    EachOutput(outputs, [&](auto d, std::size_t o) {
      const auto v = hn::LoadU(d, slope + o);
      hn::StoreU(hn::MulAdd(hn::Set(d, 1 - u), v, hn::LoadU(d, to + o)), d, to + o);
      hn::StoreU(hn::MulAdd(hn::Set(d, u), v, hn::LoadU(d, to + outputs + o)), d, to + outputs + o);
    });
  }
}

void AddRampSlopes(double* table, RampScale s, std::size_t outputs, double* gradient) {
  // Column j becomes the sum over rows on piece j or behind it.
  for (std::size_t j = s.ramps; j-- > 0;)
    EachOutput(outputs, [&](auto d, std::size_t o) {
      double* to = table + j * outputs + o;
      hn::StoreU(hn::Add(hn::LoadU(d, to), hn::LoadU(d, to + outputs)), d, to);
    });
  for (std::size_t j = 0; j < s.ramps; ++j, gradient += outputs)
    EachOutput(outputs, [&](auto d, std::size_t o) {
      const auto all = hn::LoadU(d, table + o), behind = hn::LoadU(d, table + (j + 1) * outputs + o);
      const auto own = hn::NegMulAdd(hn::Set(d, s.center[j]), all, behind);
      hn::StoreU(hn::MulAdd(hn::Set(d, 1 / s.scale[j]), own, hn::LoadU(d, gradient + o)), d, gradient + o);
    });
}

}  // namespace moekit::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moekit::simd {

HWY_EXPORT(Table);
HWY_EXPORT(AddPieces);
HWY_EXPORT(AddPieceSlopes);
HWY_EXPORT(AddRampSlopes);

void ramp_table(const double* w, RampScale s, std::size_t outputs, double* table) {
  HWY_DYNAMIC_DISPATCH(Table)(w, s, outputs, table);
}
void add_pieces(const double* table, const std::uint32_t* piece, const double* along, std::size_t rows,
                std::size_t outputs, double* out) {
  HWY_DYNAMIC_DISPATCH(AddPieces)(table, piece, along, rows, outputs, out);
}
void add_piece_slopes(const double* slope, const std::uint32_t* piece, const double* along, std::size_t rows,
                      std::size_t outputs, double* table) {
  HWY_DYNAMIC_DISPATCH(AddPieceSlopes)(slope, piece, along, rows, outputs, table);
}
void add_ramp_slopes(double* table, RampScale s, std::size_t outputs, double* gradient) {
  HWY_DYNAMIC_DISPATCH(AddRampSlopes)(table, s, outputs, gradient);
}

}  // namespace moekit::simd
#endif
