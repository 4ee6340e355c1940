#include "standard_errors/match_experts.hpp"

#include <limits>
#include <numeric>

#include "linalg.hpp"

namespace moekit::errors {

std::vector<uword> best_assignment(const mat& gain) {
  const uword n = gain.n_rows, none = n;
  std::vector<uword> to(n);
  std::iota(to.begin(), to.end(), uword{0});
  if (!gain.is_finite()) return to;
  // Rows enter one at a time; each lengthens the matching along the path of least cost. The last place of
  // these is the row that is entering.
  std::vector<double> row_potential(n + 1, 0.0), column_potential(n + 1, 0.0);
  std::vector<uword> row_of(n + 1, none);
  for (uword row = 0; row < n; ++row) {
    std::vector<double> cost(n, std::numeric_limits<double>::infinity());
    std::vector<uword> before(n, none);
    std::vector<bool> used(n + 1, false);
    row_of[none] = row;
    uword at = none;
    do {
      used[at] = true;
      const uword from = row_of[at];
      double least = std::numeric_limits<double>::infinity();
      uword next = none;
      for (uword j = 0; j < n; ++j) {
        if (used[j]) continue;
        const double reduced = -gain(from, j) - row_potential[from] - column_potential[j];
        if (reduced < cost[j]) cost[j] = reduced, before[j] = at;
        if (cost[j] < least) least = cost[j], next = j;
      }
      for (uword j = 0; j <= n; ++j) {
        if (used[j])
          row_potential[row_of[j]] += least, column_potential[j] -= least;
        else if (j < n)
          cost[j] -= least;
      }
      at = next;
    } while (row_of[at] != none);
    for (; at != none; at = before[at]) row_of[at] = row_of[before[at]];
  }
  for (uword j = 0; j < n; ++j) to[row_of[j]] = j;
  return to;
}

std::vector<uword> match_experts(const Mixture& reference, const Mixture& other, const Schema& schema,
                                 const Source& source, const Compute& compute) {
  const uword k = reference.count();
  std::vector<double> sums(k * k, 0.0);
  struct Work {
    Posterior reference, other;
  };
  sum_over(source, compute, sums, [&]() -> Adder {
    return [&, work = std::make_shared<Work>()](const Block& block, std::span<double> to) {
      posterior(reference, schema, block, work->reference);
      posterior(other, schema, block, work->other);
      mat weighted = work->other.responsibility;
      for (uword i = 0; block.weight && i < block.rows; ++i) weighted.row(i) *= block.weight[i];
      add_products(work->reference.responsibility, weighted, to.data());
    };
  });
  return best_assignment(mat(sums.data(), k, k));
}

}  // namespace moekit::errors
