#include "collinear.hpp"

#include <algorithm>
#include <cmath>

#include "linalg.hpp"

namespace moekit {

namespace {

mat feature_gram(const Basis& basis, const Schema& schema, const Source& source, const Compute& compute) {
  std::vector<double> sums(packed_size(basis.size()), 0.0);
  sum_over(source, compute, sums, [&]() -> Adder {
    return [&, x = std::make_shared<mat>()](const Block& block, std::span<double> to) {
      basis.features(schema, block, *x);
      mat weight(block.rows, 1, arma::fill::ones);
      if (block.weight) std::copy(block.weight, block.weight + block.rows, weight.begin());
      add_weighted_grams(*x, weight, to.data());
    };
  });
  return unpack(sums.data(), basis.size());
}

}  // namespace

std::vector<uword> dependent_features(const Basis& basis, const Schema& schema, const Source& source,
                                      const Compute& compute) {
  constexpr double kLeast = 1e-10;
  const mat gram = feature_gram(basis, schema, source, compute);
  const uword p = basis.size();
  mat lower(p, p, arma::fill::zeros);
  std::vector<uword> dependent, kept;
  for (uword j = 0; j < p; ++j) {
    // Row j of the Cholesky factor over the features kept so far.
    for (const uword k : kept) {
      double v = gram(j, k);
      for (const uword l : kept) {
        if (l >= k) break;
        v -= lower(j, l) * lower(k, l);
      }
      lower(j, k) = v / lower(k, k);
    }
    double left = gram(j, j);
    for (const uword k : kept) left -= lower(j, k) * lower(j, k);
    if (left > kLeast * gram(j, j) && left > 0) {
      lower(j, j) = std::sqrt(left);
      kept.push_back(j);
    } else {
      dependent.push_back(j);
    }
  }
  return dependent;
}

Basis without(const Basis& basis, const std::vector<uword>& features) {
  std::vector<Term> terms;
  for (uword j = 0; j < basis.size(); ++j)
    if (std::find(features.begin(), features.end(), j) == features.end()) terms.push_back(basis.terms()[j]);
  return Basis(std::move(terms));
}

}  // namespace moekit
