#include "thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "moekit/sum.hpp"

namespace moekit {

namespace {

/// How long a thread looks for what it waits for before it sleeps: about as long as the serial work between
/// two passes. Not where threads outnumber cores, as others need them then.
constexpr std::chrono::microseconds kLooks{100};

/// Waits until ready(), which is made true under `mutex` and told by `told`.
template <class Ready>
void wait_until(bool looks, std::mutex& mutex, std::condition_variable& told, const Ready& ready) {
  if (looks) {
    const auto end = std::chrono::steady_clock::now() + kLooks;
    while (!ready() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  }
  if (ready()) return;
  std::unique_lock lock(mutex);
  told.wait(lock, ready);
}

class Pool {
 public:
  /// False if it is in use.
  bool run(int threads, const std::function<void(int)>& work);

 private:
  struct Worker {
    std::mutex mutex;
    std::condition_variable told;
    std::atomic<const std::function<void(int)>*> work{nullptr};
  };
  void add_worker();
  void serve(Worker& worker, int number);

  std::mutex in_use_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> looks_{false};
  // Workers that are not done yet.
  std::mutex mutex_;
  std::condition_variable done_;
  std::atomic<int> left_{0};
};

/// Is this thread at work for the pool?
thread_local bool at_work = false;

void Pool::serve(Worker& worker, int number) {
  at_work = true;
  for (;;) {
    wait_until(looks_, worker.mutex, worker.told, [&] { return worker.work.load() != nullptr; });
    (*worker.work.load())(number);
    worker.work = nullptr;
    const std::lock_guard lock(mutex_);
    if (--left_ == 0) done_.notify_one();
  }
}

void Pool::add_worker() {
  auto worker = std::make_unique<Worker>();
  workers_.reserve(workers_.size() + 1);
  std::thread([this, &own = *worker, number = static_cast<int>(workers_.size()) + 1] {
    serve(own, number);
  }).detach();
  workers_.push_back(std::move(worker));
}

bool Pool::run(int threads, const std::function<void(int)>& work) {
  if (at_work) return false;
  const std::unique_lock use(in_use_, std::try_to_lock);
  if (!use) return false;
  const int others = threads - 1;
  looks_ = threads <= available_cores();
  while (std::ssize(workers_) < others) add_worker();
  left_ = others;
  for (int i = 0; i < others; ++i) {
    Worker& worker = *workers_[static_cast<std::size_t>(i)];
    {
      const std::lock_guard lock(worker.mutex);
      worker.work = &work;
    }
    worker.told.notify_one();
  }
  at_work = true;
  work(0);
  at_work = false;
  wait_until(looks_, mutex_, done_, [&] { return left_ == 0; });
  return true;
}

}  // namespace

void run_on_threads(int threads, const std::function<void(int)>& work) {
  if (threads <= 1) return work(0);
  // Never destroyed: its threads end with the process.
  static Pool& pool = *new Pool;
  if (pool.run(threads, work)) return;
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
  work(0);
  for (std::thread& t : others) t.join();
}

}  // namespace moekit
