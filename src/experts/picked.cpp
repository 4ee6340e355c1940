#include "experts/picked.hpp"

#include "linalg.hpp"

namespace moekit {

void gather_batch(const Batch& all, std::span<const uword> rows, Batch& part, vec& offset) {
  part.rows = rows.size();
  gather_rows(all.expert, rows, part.expert);
  gather_rows(all.noise, rows, part.noise);
  const auto gather_values = [&](const double* from, vec& to) {
    to.set_size(rows.size());
    for (uword i = 0; i < rows.size(); ++i) to[i] = from[rows[i]];
  };
  gather_values(all.target.memptr(), part.target);
  if (all.offset) gather_values(all.offset, offset);
  part.offset = all.offset ? offset.memptr() : nullptr;
}

const Batch& PickedRows::gather(const Batch& all, uword k) {
  gather_batch(all, rows_of(*all.picks, k), part_, offset_);
  return part_;
}

}  // namespace moekit
