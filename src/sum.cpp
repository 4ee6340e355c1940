#include "moekit/sum.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "moekit/error.hpp"
#include "thread_pool.hpp"

extern "C" void openblas_set_num_threads(int);

namespace moekit {

const Communicator& one_rank() {
  static const Communicator communicator;
  return communicator;
}

void Communicator::send(int, std::span<const double>) const {
  throw Error(Errc::internal, "there is no other rank");
}
void Communicator::receive(int, std::span<double>) const {
  throw Error(Errc::internal, "there is no other rank");
}

std::size_t lanes_of(std::size_t blocks) {
  std::size_t lanes = std::min(kLanes, blocks);
  while (lanes >= kLanes && lanes < kMostLanes && lanes * 128 <= blocks) lanes *= 2;
  return lanes;
}

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

namespace {

/// OpenBLAS would put its own threads under each of ours, and does not split long thin products anyway.
/// It is set once for the process: setting it back could race with another caller's products.
void pin_blas() {
  static const bool pinned = (openblas_set_num_threads(1), true);
  (void)pinned;
}

/// Runs work(worker) on `threads` threads, this one among them; the first exception is thrown again here.
void run_threads(int threads, const std::function<void(int)>& work) {
  std::exception_ptr failure;
  std::mutex mutex;
  const auto guarded = [&](int worker) {
    try {
      work(worker);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  run_on_threads(threads, guarded);
  if (failure) std::rethrow_exception(failure);
}

/// The lanes of a rank: first .. end - 1 of all.
struct LaneRange {
  std::size_t first, end, all;
};

/// The first rank has a lane even where there are more ranks than lanes.
std::size_t first_lane(std::size_t lanes, int rank, int size) {
  const auto ranks = static_cast<std::size_t>(size);
  return (lanes * static_cast<std::size_t>(rank) + ranks - 1) / ranks;
}

/// A node of the tree of lanes: place i of level l stands for the lanes i 2^l .. (i + 1) 2^l - 1 that exist.
struct Node {
  int level = 0;
  std::size_t place = 0;
  std::size_t first() const { return place << level; }
  std::size_t end(std::size_t lanes) const { return std::min(lanes, (place + 1) << level); }
  Node parent() const { return {level + 1, place / 2}; }
  Node left() const { return {level - 1, 2 * place}; }
  Node right() const { return {level - 1, 2 * place + 1}; }
  auto operator<=>(const Node&) const = default;
};

Node root_of(std::size_t lanes) {
  Node root;
  while (root.end(lanes) < lanes) ++root.level;
  return root;
}

void add_to(std::vector<double>& sums, const std::vector<double>& more) {
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
}

/// Merges lanes along the tree although they finish in any order, and hands buffers on. What is left are the
/// largest nodes whose lanes are all of this rank.
class LaneMerge {
 public:
  LaneMerge(std::size_t size, const LaneRange& own) : size_(size), own_(own) {}

  std::vector<double> buffer() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::vector<double>(size_, 0.0);
    std::vector<double> b = std::move(free_.back());
    free_.pop_back();
    std::fill(b.begin(), b.end(), 0.0);
    return b;
  }

  void finish(std::size_t lane, std::vector<double>&& sums) {
    Node node{0, lane};
    std::unique_lock lock(mutex_);
    for (;; node = node.parent()) {
      const Node parent = node.parent();
      const bool whole = node.first() == 0 && node.end(own_.all) == own_.all;
      if (whole || parent.first() < own_.first || parent.end(own_.all) > own_.end) break;
      const Node other = {node.level, node.place ^ 1};
      if (other.first() >= own_.all) continue;
      const auto at = done_.find(other);
      if (at == done_.end()) break;
      std::vector<double> sibling = std::move(at->second);
      done_.erase(at);
      lock.unlock();
      if (node < other) {
        add_to(sums, sibling);
      } else {
        add_to(sibling, sums);
        std::swap(sums, sibling);
      }
      lock.lock();
      free_.push_back(std::move(sibling));
    }
    done_.emplace(node, std::move(sums));
  }

  std::vector<double> take(const Node& node) { return std::move(done_.at(node)); }

 private:
  const std::size_t size_;
  const LaneRange own_;
  std::mutex mutex_;
  std::map<Node, std::vector<double>> done_;
  std::vector<std::vector<double>> free_;
};

/// Goes on along the tree where lanes belong to several ranks. The rank of a node's first lane comes to hold
/// its sum; what the others return is empty. Every rank goes through the nodes in the same order.
class RankMerge {
 public:
  RankMerge(LaneMerge& own, const LaneRange& range, std::size_t size, const Communicator& comm)
      : own_(own), range_(range), size_(size), comm_(comm) {}

  std::vector<double> merge(const Node& node) {
    const std::size_t first = node.first(), end = node.end(range_.all);
    if (end <= range_.first || first >= range_.end) return {};
    if (first >= range_.first && end <= range_.end) return own_.take(node);
    std::vector<double> sums = merge(node.left());
    const Node right = node.right();
    if (right.first() >= range_.all) return sums;
    std::vector<double> more = merge(right);
    const int to = owner(first), from = owner(right.first());
    if (to == from) {
      if (to == comm_.rank()) add_to(sums, more);
    } else if (from == comm_.rank()) {
      comm_.send(to, more);
    } else if (to == comm_.rank()) {
      more.resize(size_);
      comm_.receive(from, more);
      add_to(sums, more);
    }
    return sums;
  }

 private:
  int owner(std::size_t lane) const {
    int rank = static_cast<int>(lane * static_cast<std::size_t>(comm_.size()) / range_.all);
    while (first_lane(range_.all, rank + 1, comm_.size()) <= lane) ++rank;
    while (first_lane(range_.all, rank, comm_.size()) > lane) --rank;
    return rank;
  }

  LaneMerge& own_;
  const LaneRange& range_;
  const std::size_t size_;
  const Communicator& comm_;
};

}  // namespace

void sum_over(const Source& source, const Compute& compute, std::span<double> total,
              const std::function<Adder()>& make_adder) {
  pin_blas();
  const std::size_t blocks = source.blocks(), lanes = lanes_of(blocks);
  if (lanes == 0) return;
  const Communicator& comm = *compute.comm;
  const LaneRange own{first_lane(lanes, comm.rank(), comm.size()),
                      first_lane(lanes, comm.rank() + 1, comm.size()), lanes};
  const int wanted = compute.threads > 0 ? compute.threads : available_cores();
  const int threads =
      static_cast<int>(std::min<std::size_t>(wanted, std::max<std::size_t>(own.end - own.first, 1)));
  LaneMerge merge(total.size(), own);
  std::atomic<std::size_t> next{own.first};
  std::atomic<bool> failed{false};
  run_threads(threads, [&](int) {
    const Adder add = make_adder();
    BlockData buffer;
    try {
      for (std::size_t lane; !failed && (lane = next++) < own.end;) {
        std::vector<double> sums = merge.buffer();
        for (std::size_t i = lane * blocks / lanes; i < (lane + 1) * blocks / lanes; ++i)
          add(source.read(i, buffer), sums);
        merge.finish(lane, std::move(sums));
      }
    } catch (...) {
      failed = true;
      throw;
    }
  });
  std::vector<double> sums = RankMerge(merge, own, total.size(), comm).merge(root_of(lanes));
  if (comm.size() > 1) {
    sums.resize(total.size());
    comm.share(std::span<double>(sums));
  }
  for (std::size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
}

void parallel_for(std::size_t count, const Compute& compute, const std::function<void(std::size_t)>& task) {
  pin_blas();
  const int wanted = compute.threads > 0 ? compute.threads : available_cores();
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  run_threads(static_cast<int>(std::min<std::size_t>(wanted, std::max<std::size_t>(count, 1))), [&](int) {
    try {
      for (std::size_t i; !failed && (i = next++) < count;) task(i);
    } catch (...) {
      failed = true;
      throw;
    }
  });
}

}  // namespace moekit
