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
  /// Log-likelihood of the rows (with the features', where the gate has a density of them) less the
  /// parameters that they determine: what mixtures of different size are compared by.
  double worth() const { return now_.result.sums.joint() - mixture().effective_parameters(); }
  /// One expert more (or as many, where one was left without rows); false where nothing can be split.
  bool split();
  /// One expert fewer: the one that is missed least. Its rows go to the others; in a tree, to its sibling.
  void drop();
  /// Splits until there are so many experts; false where no more can be told apart.
  bool grow_to(uword experts);
  /// Splits one expert and drops another as long as that fits better, a few times at most (split and merge:
  /// Ueda, Nakano, Ghahramani & Hinton 2000).
  void improve();

 private:
  /// How one expert would be split.
  struct Proposal {
    double weight = -1;  ///< rows that it answered for when this was tried; negative: not yet
    double gain = -std::numeric_limits<double>::infinity();  ///< less the parameters it takes
    Mixture pair;
  };
  void propose(uword j, Proposal& to) const;
  double fit_alone(Candidate& c, const Source& rows, const std::vector<std::uint32_t>& region) const;
  void keep(const std::vector<uword>& experts);
  void take(uword j, const Mixture& pair);
  void drop_idle();

  const SearchTask& task_;
  const Source& rows_;
  Compute compute_;
  std::uint64_t stream_;
  Watch watch_;
  Mixture one_, two_;  // prototypes
  Candidate now_;
  mat responsibility_;                                // n x K
  vec row_weight_;                                    // n
  std::vector<Proposal> proposal_, proposal_before_;  // of each expert: now, and before the last split
};

}  // namespace moekit::train
