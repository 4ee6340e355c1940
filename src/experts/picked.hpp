#pragma once
#include "moekit/experts.hpp"
#include "picking.hpp"

namespace moekit {

/// Columns first .. first + experts - 1 of coefficients, in place.
inline mat coefficients_from(const mat& m, uword first, uword experts) {
  return {const_cast<double*>(m.colptr(first)), m.n_rows, experts, false, true};
}

/// Features, target and offset of some rows, 0-based, as a batch of their own; weights and the gate's
/// features stay behind. `offset` holds what `part` refers to.
void gather_batch(const Batch& all, std::span<const uword> rows, Batch& part, vec& offset);

/// The rows of a batch that ask one expert, as a batch of their own.
class PickedRows {
 public:
  const Batch& gather(const Batch& all, uword k);

 private:
  Batch part_;
  vec offset_;
};

/// log_density() under routing, at the cost of the rows that are asked: `density(k, part, own)` writes those
/// of expert k for the rows of `part`. 0 elsewhere.
template <class Density>
void density_of_picks(const Batch& batch, uword experts, mat& out, const Density& density) {
  thread_local PickedRows rows;
  thread_local vec own;
  out.zeros(batch.rows, experts);
  for (uword k = 0; k < experts; ++k) {
    if (batch.picks->count(k) == 0) continue;
    const Batch& part = rows.gather(batch, k);
    own.set_size(part.rows);
    density(k, part, own.memptr());
    const std::span<const uword> row = rows_of(*batch.picks, k);
    double* to = out.colptr(k);
    for (uword i = 0; i < part.rows; ++i) to[row[i]] = own[i];
  }
}

/// add() likewise: `add(k, part, own)`, with the responsibilities of those rows, part.rows x 1.
template <class Add>
void add_picks(const Batch& batch, const mat& responsibility, const Add& add) {
  thread_local PickedRows rows;
  thread_local mat own;
  for (uword k = 0; k < responsibility.n_cols; ++k) {
    if (batch.picks->count(k) == 0) continue;
    const Batch& part = rows.gather(batch, k);
    own.set_size(part.rows, 1);
    const std::span<const uword> row = rows_of(*batch.picks, k);
    const double* from = responsibility.colptr(k);
    for (uword i = 0; i < part.rows; ++i) own[i] = from[row[i]];
    add(k, part, own);
  }
}

/// add() of families whose code does some experts in turn, `stride` sums each: `add_from(first, batch,
/// responsibility, sums)` does those from `first`, one a column of its responsibilities. All at once without
/// routing, else one by one on the rows that each is asked about.
template <class AddFrom>
void add_all_or_picks(const Batch& batch, const mat& responsibility, std::size_t stride,
                      std::span<double> sums, const AddFrom& add_from) {
  if (!batch.picks) return add_from(0, batch, responsibility, sums);
  add_picks(batch, responsibility, [&](uword k, const Batch& part, const mat& own) {
    add_from(k, part, own, sums.subspan(k * stride, stride));
  });
}

}  // namespace moekit
