#pragma once
#include <memory>

#include "moekit/experts.hpp"

namespace moekit {

// One maker a family; table.cpp lists them by name.
std::unique_ptr<ExpertFamily> make_gaussian(uword experts, uword features, uword classes);
std::unique_ptr<ExpertFamily> make_logistic(uword experts, uword features, uword classes);

}  // namespace moekit
