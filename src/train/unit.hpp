#pragma once
#include <functional>

#include "moekit/archive.hpp"
#include "moekit/fit_checkpoint.hpp"
#include "train/pass.hpp"

namespace moekit::train {

struct EmOptions;
struct EmResult;

/// The parameters, and all else that the next update of them depends on.
void archive_mixture(Archive& archive, Mixture& mixture);
/// A result without the sums that only a next step would need.
void archive_result(Archive& archive, EmResult& result);

/// One climb as a checkpoint knows it. Without a checkpoint it does nothing.
class Unit {
 public:
  using Visit = std::function<void(Archive&)>;  ///< names the parts of a state, to write or to read them

  Unit() = default;
  Unit(FitCheckpoint* checkpoint, std::uint64_t key) : checkpoint_(checkpoint), key_(key) {}

  /// Another climb within this one, such as an opening.
  Unit part(std::uint64_t index) const { return {checkpoint_, key_ ^ (index << 56)}; }

  bool active() const { return checkpoint_ != nullptr; }
  /// Reads the result of a climb that is finished already; false if it is not.
  bool restore(const Visit& visit) const { return read(true, visit); }
  /// Reads the last state of a climb that was interrupted; false if there is none.
  bool resume(const Visit& visit) const { return read(false, visit); }
  void finish(const Visit& visit) const;
  /// The climb can go on from here: after a halt, or when the checkpoint is due.
  void mark(const Visit& visit);
  /// Should a mark be made? For climbs that can make one anywhere.
  bool due() const { return active() && checkpoint_->due(); }
  void count_pass() const {
    if (active()) checkpoint_->count_pass();
  }
  /// Writes the last mark and throws Halted; without a checkpoint it returns.
  void halt() const;

 private:
  bool read(bool finished, const Visit& visit) const;

  FitCheckpoint* checkpoint_ = nullptr;
  std::uint64_t key_ = 0;
  std::string mark_;
};

/// The unit that climbs from this mixture. `options`: of the climb.
Unit unit_of(FitCheckpoint* checkpoint, Mixture& mixture, const Schema& schema, const Source& rows,
             const Compute& compute, const EmOptions& options, std::uint64_t seed);

}  // namespace moekit::train
