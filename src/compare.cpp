#include "moekit/compare.hpp"

#include <algorithm>

#include "standard_errors/match_experts.hpp"

namespace moekit {

namespace {

/// Pairs of rows, had every row weight 1.
double pairs(double rows) { return 0.5 * rows * (rows - 1); }

double pairs_of(const mat& rows) {
  double sum = 0;
  for (const double n : rows) sum += pairs(n);
  return sum;
}

double adjusted_rand(const mat& rows) {
  const double both = pairs_of(rows), a = pairs_of(arma::sum(rows, 1)), b = pairs_of(arma::sum(rows, 0));
  const double all = pairs(arma::accu(rows));
  if (!(all > 0)) return 1;
  const double chance = a * b / all, most = 0.5 * (a + b);
  return most - chance > 1e-12 * all ? (both - chance) / (most - chance) : 1;  // both have one region
}

}  // namespace

PartitionComparison::PartitionComparison(const Model& a, const Model& b)
    : rows_(a.members.front().count(), b.members.front().count(), arma::fill::zeros) {}

void PartitionComparison::add(const Block& block, const Prediction& a, const Prediction& b) {
  for (uword i = 0; i < block.rows; ++i)
    rows_(a.region(i), b.region(i)) += block.weight ? block.weight[i] : 1.0;
}

PartitionMatch PartitionComparison::match() const {
  PartitionMatch out;
  out.rows = rows_;
  const uword most = std::max(rows_.n_rows, rows_.n_cols);
  mat square(most, most, arma::fill::zeros);
  square.submat(0, 0, rows_.n_rows - 1, rows_.n_cols - 1) = rows_;
  const std::vector<uword> to = errors::best_assignment(square);
  double matched = 0;
  for (uword a = 0; a < rows_.n_rows; ++a) {
    const bool real = to[a] < rows_.n_cols && rows_(a, to[a]) > 0;
    out.partner.push_back(real ? static_cast<int>(to[a]) : -1);
    if (real) matched += rows_(a, to[a]);
  }
  const double all = arma::accu(rows_);
  out.agreement = all > 0 ? matched / all : 0;
  out.adjusted_rand = adjusted_rand(rows_);
  return out;
}

}  // namespace moekit
