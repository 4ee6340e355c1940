#include "experts/picked.hpp"

#include "linalg.hpp"

namespace moekit {

const Batch& PickedRows::gather(const Batch& all, uword k) {
  const Picks& picks = *all.picks;
  const std::span<const uword> rows(picks.rows.data() + picks.begin[k], picks.count(k));
  part_.rows = rows.size();
  gather_rows(all.expert, rows, part_.expert);
  gather_rows(all.noise, rows, part_.noise);
  const auto gather_values = [&](const double* from, vec& to) {
    to.set_size(rows.size());
    for (uword i = 0; i < rows.size(); ++i) to[i] = from[rows[i]];
  };
  gather_values(all.target.memptr(), part_.target);
  if (all.offset) gather_values(all.offset, offset_);
  part_.offset = all.offset ? offset_.memptr() : nullptr;
  return part_;
}

}  // namespace moekit
