#pragma once
#include <memory>

#include "experts/kernel.hpp"
#include "moekit/experts.hpp"

namespace moekit {

/// Generalised linear experts with any distribution; `kernel` must outlive them.
std::unique_ptr<ExpertFamily> make_generalised(const Kernel& kernel, const ExpertShape& shape);

/// Normal experts whose noise varies with the inputs.
std::unique_ptr<ExpertFamily> make_varying_gaussian(const ExpertShape& shape);

}  // namespace moekit
