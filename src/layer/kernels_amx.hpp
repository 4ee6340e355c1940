#pragma once
#include "layer/kernels.hpp"

namespace moekit::layer {

/// Products of bfloat16 by the matrix unit (Intel AMX: TDPBF16PS multiplies 16 rows of 32 values with 32 rows
/// of 16), or null where the processor has none or the system does not let us use it.
GroupKernel amx_bf16_kernel();

/// While one lives, products of this thread leave the matrix unit set up for the next: small ones would spend
/// a tenth of their time on that.
class MatrixUnitHold {
 public:
  MatrixUnitHold();
  ~MatrixUnitHold();
  MatrixUnitHold(const MatrixUnitHold&) = delete;
  MatrixUnitHold& operator=(const MatrixUnitHold&) = delete;
};

}  // namespace moekit::layer
