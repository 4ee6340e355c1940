#pragma once
#include <memory>

#include "moekit/experts.hpp"

namespace moekit {

// One maker a family; table.cpp lists them by name.
std::unique_ptr<ExpertFamily> make_gaussian(const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_student_t(const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_laplace(const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_gamma(const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_logistic(const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_poisson(const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_negative_binomial(const ExpertShape& shape);

/// Networks with the distribution of a family: gaussian or logistic. Errors: Errc::usage for others.
std::unique_ptr<ExpertFamily> make_neurons(std::string_view family, const ExpertShape& shape);
std::unique_ptr<ExpertFamily> make_mlp(std::string_view family, const ExpertShape& shape);
/// Several targets at once, of any family for numbers.
std::unique_ptr<ExpertFamily> make_joint(std::string_view family, const ExpertShape& shape);

}  // namespace moekit
