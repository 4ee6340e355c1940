#pragma once
#include <functional>
#include <span>

#include "moekit/source.hpp"

namespace moekit {

/// Where sums of several processes meet. One rank unless a program brings another communicator.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  /// Replaces `values` on every rank by their sum over ranks, added in rank order.
  virtual void sum(std::span<double> values) const { (void)values; }
};
const Communicator& one_rank();

/// How much of the machine to use. Results do not depend on it.
struct Compute {
  int threads = 0;  ///< 0: the cores that this process may use
  const Communicator* comm = &one_rank();
};

/// Cores that this process may use (its affinity mask), at least 1.
int available_cores();

/// Rows are cut into this many contiguous lanes of blocks; a lane is summed by one worker and the lanes are
/// merged in order, so the bits of a sum do not depend on the number of threads.
inline constexpr std::size_t kLanes = 64;

/// Adds what one block contributes to the sums. An adder is used by one worker, so it may own buffers.
using Adder = std::function<void(const Block&, std::span<double>)>;

/// total += the sum over all blocks of what the adders add. `make_adder` is called once a worker.
/// Exceptions of an adder or of the source reach the caller, after all workers have stopped.
void sum_over(const Source& source, const Compute& compute, std::span<double> total,
              const std::function<Adder()>& make_adder);

/// Calls task(i) for i = 0 .. count - 1, from several threads; tasks must not depend on each other.
void parallel_for(std::size_t count, const Compute& compute, const std::function<void(std::size_t)>& task);

}  // namespace moekit
