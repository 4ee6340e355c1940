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
/// Mini-batches: all but two of 2 max(10, B) parts, a tenth at most, by which it stops (a cross-validation
/// committee: Parmanto, Munro & Doyle 1996), because networks lose more by rows that they never see than the
/// average gains by members that differ in them. Each of B parts is left out by two members, so that there
/// are rows at which members can be compared that never saw them; the other parts are left out by none.
MemberRows member_rows(const FitOptions& options, const Source& source, std::uint64_t seed, int member);

/// A part of the rows that two members left out.
struct LeftOutPart {
  std::size_t first = 0, second = 0;  ///< the members, 0-based
  std::vector<std::uint64_t> rows;
};

/// All such parts, where members_leave_out(); `rows`: of the table.
std::vector<LeftOutPart> left_out_twice(const FitOptions& options, std::uint64_t rows);

}  // namespace moekit::train
