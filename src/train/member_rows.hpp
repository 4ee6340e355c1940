#pragma once
#include <cstdint>
#include <vector>

#include "moekit/fit.hpp"

namespace moekit::train {

/// What one member of an ensemble is fitted to.
struct MemberRows {
  std::vector<std::uint64_t> index;  ///< of `rows` in the source
  MemorySource rows;
  MemorySource held;  ///< rows that the member stops by; none: it has no such rows of its own
};

/// Does each member, the first too, leave out rows of its own and stop by them? So it is for mini-batches
/// without a validation table.
bool members_leave_out(const FitOptions& options);

/// Rows of member `member` (0-based). EM: drawn with replacement by `seed` (bagging: Breiman 1996).
/// Mini-batches: all but a part of its own, at most a tenth, by which it stops (a cross-validation committee:
/// Parmanto, Munro & Doyle 1996), because networks lose more by rows that they never see than the average
/// gains by members that differ in them.
MemberRows member_rows(const FitOptions& options, const Source& source, std::uint64_t seed, int member);

}  // namespace moekit::train
