#include "row_input.hpp"

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

}  // namespace

void for_each_piece(RowInput& input, const std::vector<CellUse>& uses, const Compute& compute,
                    const std::function<Deliver(const RawRows&, const ParsedRows&)>& use) {
  Turns turns(input);
  const auto work = [&](std::size_t) {
    const std::unique_ptr<RowParser> parser = input.parser(uses);
    RawRows raw;
    for (;;) {
      std::uint64_t number = 0;
      std::exception_ptr failure;
      Deliver deliver;
      try {
        number = turns.take(raw);
        if (number == 0) return;
        deliver = use(raw, parser->parse(raw));
      } catch (...) {
        failure = std::current_exception();
        if (number == 0) number = turns.taken() + 1;  // taking failed: after all pieces before
      }
      if (!turns.wait(number)) return;
      try {
        if (failure) std::rethrow_exception(failure);
        deliver();
      } catch (...) {
        turns.fail();
        throw;
      }
      turns.done();
    }
  };
  Compute local;
  local.threads = compute.threads;
  const int threads = compute.threads > 0 ? compute.threads : available_cores();
  parallel_for(static_cast<std::size_t>(threads), local, work);
}

}  // namespace moekit::csv
