#pragma once
#include <cstddef>

namespace moekit::simd {

// Thin products over the n rows of a block, tiled so that sums stay in registers. All matrices are stored
// column by column with n rows. A general matrix product repacks its operands at every call, which costs more
// than the product itself at these shapes, and its speed hangs on the library knowing the processor.

/// out[c + k pairs] += sum_i x[i, a] x[i, b] w[i, k] for the pairs c = a (a + 1) / 2 + b, b <= a < p; k <
/// columns.
void add_pair_sums(const double* x, std::size_t n, std::size_t p, const double* w, std::size_t columns,
                   double* out);

/// out[j + k p] += sum_i x[i, j] w[i, k].
void add_column_sums(const double* x, std::size_t n, std::size_t p, const double* w, std::size_t columns,
                     double* out);

/// out[i, k] = sum_j x[i, j] c[j + k p]: linear predictors.
void linear(const double* x, std::size_t n, std::size_t p, const double* c, std::size_t columns, double* out);

}  // namespace moekit::simd
