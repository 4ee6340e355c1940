#pragma once
#include <functional>
#include <span>
#include <string>

#include "moekit/source.hpp"

namespace moekit {

/// How several processes that run the same program on the same data share the work: every rank comes to the
/// same calls in the same order, and all decisions are made from numbers that are the same on all. One rank
/// unless a program brings another communicator.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  /// To and from another rank: the sizes agree, and what one rank sends to another arrives in order.
  virtual void send(int to, std::span<const double> values) const;
  virtual void receive(int from, std::span<double> values) const;
  /// Replaces `values`, or `bytes`, on every rank by those of rank 0.
  virtual void share(std::span<double>) const {}
  virtual void share(std::string&) const {}
};
const Communicator& one_rank();

/// How much of the machine to use. Results do not depend on it.
struct Compute {
  int threads = 0;  ///< 0: the cores that this process may use
  const Communicator* comm = &one_rank();
};

/// Cores that this process may use (its affinity mask), at least 1.
int available_cores();

/// Rows are cut into contiguous lanes of blocks: at most this many, more where each still has 64 blocks. A
/// lane is summed by one worker, and lanes are merged along a fixed binary tree, so the bits of a sum depend
/// neither on the number of threads nor on that of ranks.
inline constexpr std::size_t kLanes = 64, kMostLanes = 65536;
std::size_t lanes_of(std::size_t blocks);

/// Adds what one block contributes to the sums. An adder is used by one worker, so it may own buffers.
using Adder = std::function<void(const Block&, std::span<double>)>;

/// total += the sum over all blocks of what the adders add. `make_adder` is called once a worker. Of several
/// ranks each reads and sums a part of the lanes, and all get the sum; `total` is the same on all before it.
/// Exceptions of an adder or of the source reach the caller, after all workers have stopped.
void sum_over(const Source& source, const Compute& compute, std::span<double> total,
              const std::function<Adder()>& make_adder);

/// Calls task(i) for i = 0 .. count - 1, from several threads; tasks must not depend on each other.
void parallel_for(std::size_t count, const Compute& compute, const std::function<void(std::size_t)>& task);

}  // namespace moekit
