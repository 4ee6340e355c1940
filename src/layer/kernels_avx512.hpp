#pragma once
#include "layer/kernels.hpp"

namespace moekit::layer {

/// Kernels with the bfloat16 and 8-bit dot products of AVX-512, or null where the processor has none.
TileKernel avx512_bf16_kernel();
TileKernel avx512_int8_kernel();

}  // namespace moekit::layer
