#include "moekit/sum.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

extern "C" void openblas_set_num_threads(int);

namespace moekit {

const Communicator& one_rank() {
  static const Communicator communicator;
  return communicator;
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
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(guarded, t);
  guarded(0);
  for (std::thread& t : others) t.join();
  if (failure) std::rethrow_exception(failure);
}

/// Merges lanes in order although they finish in any order, and hands buffers on.
class LaneMerge {
 public:
  explicit LaneMerge(std::span<double> total) : total_(total) {}

  std::vector<double> buffer() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::vector<double>(total_.size(), 0.0);
    std::vector<double> b = std::move(free_.back());
    free_.pop_back();
    std::fill(b.begin(), b.end(), 0.0);
    return b;
  }

  void finish(std::size_t lane, std::vector<double>&& sums) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace(lane, std::move(sums));
    for (auto it = waiting_.begin(); it != waiting_.end() && it->first == next_; ++next_) {
      for (std::size_t i = 0; i < total_.size(); ++i) total_[i] += it->second[i];
      free_.push_back(std::move(it->second));
      it = waiting_.erase(it);
    }
  }

 private:
  std::span<double> total_;
  std::mutex mutex_;
  std::size_t next_ = 0;
  std::map<std::size_t, std::vector<double>> waiting_;
  std::vector<std::vector<double>> free_;
};

}  // namespace

void sum_over(const Source& source, const Compute& compute, std::span<double> total,
              const std::function<Adder()>& make_adder) {
  pin_blas();
  const std::size_t blocks = source.blocks();
  const std::size_t lanes = std::min(kLanes, blocks);
  const int wanted = compute.threads > 0 ? compute.threads : available_cores();
  const int threads = static_cast<int>(std::min<std::size_t>(wanted, std::max<std::size_t>(lanes, 1)));
  LaneMerge merge(total);
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  run_threads(threads, [&](int) {
    const Adder add = make_adder();
    BlockData buffer;
    try {
      for (std::size_t lane; !failed && (lane = next++) < lanes;) {
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
  if (compute.comm->size() > 1) compute.comm->sum(total);
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
