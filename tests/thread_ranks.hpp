#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "moekit/sum.hpp"

/// Ranks that are threads of one program.
namespace moekit::testing {

/// What ranks send each other, in order.
class Post {
 public:
  void put(int from, int to, std::vector<double> values) {
    const std::lock_guard lock(mutex_);
    bytes_ += values.size() * sizeof(double);
    box_[{from, to}].push_back(std::move(values));
    arrived_.notify_all();
  }
  std::vector<double> take(int from, int to) {
    std::unique_lock lock(mutex_);
    auto& box = box_[{from, to}];
    arrived_.wait(lock, [&] { return !box.empty() || closed_; });
    if (box.empty()) throw std::runtime_error("another rank has failed");
    std::vector<double> values = std::move(box.front());
    box.pop_front();
    return values;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    arrived_.notify_all();
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::pair<int, int>, std::deque<std::vector<double>>> box_;
  bool closed_ = false;
  std::size_t bytes_ = 0;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(Post& post, int rank, int size) : post_(post), rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void send(int to, std::span<const double> values) const override {
    post_.put(rank_, to, {values.begin(), values.end()});
  }
  void receive(int from, std::span<double> values) const override {
    const std::vector<double> got = post_.take(from, rank_);
    if (got.size() != values.size()) throw std::logic_error("ranks disagree about a size");
    std::copy(got.begin(), got.end(), values.begin());
  }
  void share(std::span<double> values) const override {
    for (int to = 1; rank_ == 0 && to < size_; ++to) send(to, values);
    if (rank_ > 0) receive(0, values);
  }
  void share(std::string& bytes) const override {
    std::vector<double> codes(bytes.begin(), bytes.end());
    for (int to = 1; rank_ == 0 && to < size_; ++to) send(to, codes);
    if (rank_ > 0) codes = post_.take(0, rank_);
    bytes.assign(codes.begin(), codes.end());
  }

 private:
  Post& post_;
  int rank_, size_;
};

/// Calls work(communicator) on so many ranks at once; the first failure is thrown again. Returns the bytes
/// that they sent.
inline std::size_t on_ranks(int size, const std::function<void(const Communicator&)>& work) {
  Post post;
  std::vector<std::thread> threads;
  std::exception_ptr failure;
  std::mutex mutex;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      const ThreadRank communicator(post, rank, size);
      try {
        work(communicator);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        post.close();
      }
    });
  for (std::thread& t : threads) t.join();
  if (failure) std::rethrow_exception(failure);
  return post.bytes();
}

}  // namespace moekit::testing
