#pragma once
#include <limits>
#include <vector>

#include "train/start_run.hpp"

namespace moekit::train {

/// A mixture on its way from one expert to many. A step splits the expert whose rows gain most when two
/// answer for them, tried out on those rows alone (weights times responsibilities); then all experts go on
/// together for a few passes of EM. Works for every gate; for a tree the gain of a leaf's rows is a lower
/// bound of the gain of the whole (Jensen), so the choice is the one of greedy growth (Jordan & Jacobs 1994;
/// Waterhouse & Robinson 1996).
class Grower {
 public:
  /// `prototype`: parameters at zero, any number of experts. `stream`: tells the draws of several growers
  /// apart. What is referred to must outlive the grower.
  Grower(const SearchTask& task, const Mixture& prototype, const Source& rows, const Compute& compute,
         std::uint64_t stream, Watch watch);

  const Mixture& mixture() const { return now_.mixture; }
  /// One expert more (or as many, where one was left without rows); false where nothing can be split.
  bool split();
  /// Splits until there are so many experts, or no more can be told apart.
  const Mixture& grow_to(uword experts);

 private:
  /// How one expert would be split.
  struct Proposal {
    double weight = -1;  ///< rows that it answered for when this was tried; negative: not yet
    double gain = -std::numeric_limits<double>::infinity();  ///< less the parameters it takes
    Mixture pair;
  };
  void propose(uword j, Proposal& to) const;
  double worth(Candidate& c, const Source& rows, const std::vector<std::uint32_t>& region) const;
  void take(uword j, const Mixture& pair);
  void drop_idle();

  const SearchTask& task_;
  const Source& rows_;
  Compute compute_;
  std::uint64_t stream_;
  Watch watch_;
  Mixture one_, two_;  // prototypes
  Candidate now_;
  mat responsibility_;  // n x K
  vec row_weight_;      // n
  std::vector<Proposal> proposal_;
};

}  // namespace moekit::train
