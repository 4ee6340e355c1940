#include "same_experts.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace moekit {

namespace {

/// Of coefficients on standardised features; what EM can tell apart differs by much more.
constexpr double kSame = 1e-6;

bool same(double a, double b) { return std::abs(a - b) <= kSame * std::max(1.0, std::abs(a)); }

}  // namespace

std::optional<std::pair<uword, uword>> same_experts(const Mixture& mixture) {
  const std::unique_ptr<ExpertFamily> experts = mixture.experts->clone();
  std::vector<std::vector<double>> own(mixture.count());
  for (uword k = 0; k < own.size(); ++k)
    for (const Field& f : experts->fields(k))
      if (f.kind != Field::Kind::fixed) own[k].insert(own[k].end(), f.values.begin(), f.values.end());
  for (uword a = 0; a < own.size(); ++a)
    for (uword b = a + 1; b < own.size(); ++b)
      if (std::equal(own[a].begin(), own[a].end(), own[b].begin(), own[b].end(), same)) return {{a, b}};
  return std::nullopt;
}

}  // namespace moekit
