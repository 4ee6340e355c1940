#pragma once
#include "moekit/sum.hpp"

namespace moekit::cli {

/// Begins what mpirun started. Called once, before anything else. Errors: Errc::usage when several ranks were
/// started of a program that was built without MPI.
void begin_ranks();
/// The ranks that mpirun started; one without it.
const Communicator& ranks();
/// Threads of each rank: what was asked for, or the cores of the machine shared out among its ranks.
int threads_of_rank(int asked);

/// Before a rank prints why it fails: those above the first wait a little, so that of several only one does.
void wait_to_fail();
/// The end of a rank: all others end with it unless the code is 0. Returns the code where there is one rank.
int end_ranks(int code);

}  // namespace moekit::cli
