#pragma once
#include <cstddef>

namespace moekit::simd {

/// out[o + r outputs] = bias[o] + sum_j w[o + j outputs] x[j + r inputs]: one layer of a network for `rows`
/// observations, each a column. bias may be null. Sums run over j in order for every number of rows, so what
/// a row gets never depends on the others.
void layer(const double* w, std::size_t outputs, std::size_t inputs, const double* bias, const double* x,
           std::size_t rows, double* out);
void layer(const float* w, std::size_t outputs, std::size_t inputs, const float* bias, const float* x,
           std::size_t rows, float* out);

/// out[o + j outputs] += sum_i a[o + i outputs] b[j + i inputs], i < n: the gradient of a layer's weights
/// from the slopes of its outputs (outputs x n) and what went in (inputs x n).
void add_outer(const double* a, std::size_t outputs, std::size_t n, const double* b, std::size_t inputs,
               double* out);
/// The same in float32; `stride`: from one column of b to the next, so that a part of its rows can be taken.
void add_outer(const float* a, std::size_t outputs, std::size_t n, const float* b, std::size_t stride,
               std::size_t inputs, float* out);

}  // namespace moekit::simd
