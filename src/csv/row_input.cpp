#include "row_input.hpp"

#include <array>
#include <condition_variable>
#include <mutex>

namespace moekit::csv {

namespace {

/// Pieces are taken one at a time, and given on one at a time in the same order.
class Turns {
 public:
  explicit Turns(RowInput& input) : input_(input) {}

  /// The number of the piece that was taken, from 1; 0 at the end.
  std::uint64_t take(RawRows& raw) {
    const std::lock_guard lock(taking_);
    if (ended_) return 0;
    ended_ = true;  // unless it goes well
    if (!input_.take(raw)) return 0;
    ended_ = false;
    return ++taken_;
  }

  /// Whether all pieces before `number` are done, or one of them failed.
  bool come(std::uint64_t number) {
    const std::lock_guard lock(giving_);
    return failed_ || done_ + 1 == number;
  }
  /// Waits until all pieces before `number` are done; false when one of them failed.
  bool wait(std::uint64_t number) {
    std::unique_lock lock(giving_);
    turn_.wait(lock, [&] { return failed_ || done_ + 1 == number; });
    return !failed_;
  }
  void done() {
    {
      const std::lock_guard lock(giving_);
      ++done_;
    }
    turn_.notify_all();
  }
  void fail() {
    {
      const std::lock_guard lock(giving_);
      failed_ = true;
    }
    turn_.notify_all();
  }
  std::uint64_t taken() {
    const std::lock_guard lock(taking_);
    return taken_;
  }

 private:
  RowInput& input_;
  std::mutex taking_, giving_;
  std::condition_variable turn_;
  std::uint64_t taken_ = 0, done_ = 0;
  bool ended_ = false, failed_ = false;
};

/// A piece that was read and has not been given on.
struct Held {
  std::unique_ptr<RowParser> parser;
  RawRows raw;
  std::uint64_t number = 0;
  Deliver deliver;
  std::exception_ptr failure;
};

/// What one thread does: reads pieces and gives each on in its turn. A piece may wait for its turn while the
/// thread reads the next one, so that a thread that is ahead need not stand still.
class Worker {
 public:
  using Use = std::function<Deliver(const RawRows&, const ParsedRows&)>;
  Worker(Turns& turns, const RowInput& input, const std::vector<CellUse>& uses, const Use& use)
      : turns_(turns), input_(input), uses_(uses), use_(use) {}

  void run() {
    for (;;) {
      while (count_ > 0 && (ended_ || count_ == held_.size() || turns_.come(oldest().number)))
        if (!give_on()) return;
      if (ended_) return;
      read();
    }
  }

 private:
  Held& oldest() { return held_[first_]; }

  void read() {
    Held& held = held_[(first_ + count_) % held_.size()];
    held.failure = nullptr;
    held.number = 0;
    try {
      if (!held.parser) held.parser = input_.parser(uses_);
      held.number = turns_.take(held.raw);
      if (held.number == 0) {
        ended_ = true;
        return;
      }
      held.deliver = use_(held.raw, held.parser->parse(held.raw));
    } catch (...) {
      held.failure = std::current_exception();
      if (held.number == 0) {  // taking failed: after all pieces before
        held.number = turns_.taken() + 1;
        ended_ = true;
      }
    }
    ++count_;
  }

  /// False when another piece has failed.
  bool give_on() {
    Held& held = oldest();
    if (!turns_.wait(held.number)) return false;
    try {
      if (held.failure) std::rethrow_exception(held.failure);
      held.deliver();
    } catch (...) {
      turns_.fail();
      throw;
    }
    turns_.done();
    first_ = (first_ + 1) % held_.size();
    --count_;
    return true;
  }

  Turns& turns_;
  const RowInput& input_;
  const std::vector<CellUse>& uses_;
  const Use& use_;
  std::array<Held, 2> held_;
  std::size_t first_ = 0, count_ = 0;
  bool ended_ = false;
};

}  // namespace

void for_each_piece(RowInput& input, const std::vector<CellUse>& uses, const Compute& compute,
                    const std::function<Deliver(const RawRows&, const ParsedRows&)>& use) {
  Turns turns(input);
  Compute local;
  local.threads = compute.threads;
  const int threads = compute.threads > 0 ? compute.threads : available_cores();
  parallel_for(static_cast<std::size_t>(threads), local,
               [&](std::size_t) { Worker(turns, input, uses, use).run(); });
}

}  // namespace moekit::csv
