#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "moekit/block.hpp"

namespace moekit {

/// A row without a label.
inline constexpr std::uint32_t kNoLabel = UINT32_MAX;

/// What a router did with one row. Spans need only live during the call that takes them.
struct RoutedRow {
  std::span<const std::uint32_t> pick;       ///< the chosen experts, 0-based, all different: at most K
  std::span<const double> weight;            ///< what each adds with; empty: equal weights
  std::span<const double> probability = {};  ///< E, sum 1; empty: not known (product keys)
  std::span<const std::uint8_t> dropped =
      {};  ///< 1: this pick found its expert full; empty: none was dropped
  /// Score of the last pick less that of the first left out. NaN: taken from `probability`.
  double margin = std::numeric_limits<double>::quiet_NaN();
  double entropy = std::numeric_limits<double>::quiet_NaN();  ///< of `probability`; NaN: taken from it
  std::uint32_t label = kNoLabel;                             ///< index into the labels
};

/// Lower edges of the bins of the margin; the first also takes what is below 0 (picked against the
/// probabilities, as balancing does), the last everything from 0.5 on.
inline constexpr std::array<double, 11> kMarginEdges = {0,    1e-6, 1e-4, 1e-3, 0.01, 0.02,
                                                        0.05, 0.1,  0.2,  0.3,  0.5};

/// Most experts for which pairs of picks are counted.
inline constexpr std::size_t kMostPairedExperts = 256;

/// Who gets the rows, how evenly, how surely. A slot is one pick of one row; there are K T of them when every
/// row has K picks. Logarithms are natural. Without rows every figure is 0.
struct RoutingReport {
  std::uint64_t rows = 0;   ///< T
  std::size_t experts = 0;  ///< E
  std::size_t picks = 0;    ///< K
  std::uint64_t slots = 0;  ///< dropped ones too

  std::vector<std::uint64_t> counts;  ///< E: c_i, rows that expert i worked on (dropped picks do not count)
  std::vector<double> utilisation;    ///< E: E c_i / slots; 1 for all when balanced
  std::vector<double> importance;     ///< E: sum of the weights / T
  std::vector<double> mean_probability;  ///< E: P_i, mean of p_i; empty when not known
  double load_cv2 = 0;                   ///< squared coefficient of variation of the counts
  double importance_cv2 = 0;             ///< the same of the importance (Shazeer et al. 2017)
  /// E sum_i f_i P_i with f_i = c_i / slots: the Switch loss (Fedus et al. 2021) scaled so that balance is 1
  /// for any K. NaN when probabilities are not known.
  double switch_balance = 0;
  double gate_entropy = 0;          ///< mean over rows of the entropy of p; NaN when not known
  double load_entropy = 0;          ///< entropy of c_i / sum c; at most ln E
  double max_over_mean = 0;         ///< largest count over the mean count
  std::vector<std::uint32_t> dead;  ///< experts with utilisation under 1 / 100
  double dropped = 0;               ///< share of the slots

  std::array<std::uint64_t, kMarginEdges.size()> margins{};  ///< rows by margin; rows with no expert left out
                                                             ///< are in no bin
  /// E x E, symmetric, row by row: rows that picked both; the diagonal holds the counts of picks. Empty above
  /// kMostPairedExperts.
  std::vector<std::uint64_t> together;

  std::vector<std::string> labels;          ///< L
  std::vector<std::uint64_t> label_counts;  ///< L x E, label by label: picks that were not dropped
  /// Between the expert of a slot and the label of its row, over slots of labelled rows.
  double mutual_information = 0;
  double label_entropy = 0;  ///< of the same slots: what mutual information can reach
  /// What independent experts and labels would show on so few slots: (E' - 1) (L' - 1) / (2 slots), E' and L'
  /// those that occur (Miller 1955).
  double mutual_information_by_chance = 0;
};

/// Adds up a RoutingReport row by row. Two tallies can be merged; rows must then meet in the same order for
/// the same bits.
class RoutingTally {
 public:
  /// `labels`: names of the groups that rows may carry (class, token type, source), or none. Memory: E, plus
  /// E x E up to kMostPairedExperts, plus L x E.
  RoutingTally(std::size_t experts, std::size_t picks, std::vector<std::string> labels = {});
  /// Errors: Errc::internal for indices and lengths that do not fit.
  void add(const RoutedRow& row);
  /// The same for a block of rows that each go to one expert, in a fraction of the time: `pick` by row,
  /// `probability` column by column, expert by expert; `entropy` of each row; `label` of each row or empty.
  void add_single(std::span<const uword> pick, std::span<const double> probability,
                  std::span<const double> entropy, std::span<const std::uint32_t> label);
  /// Errors: Errc::internal when the other is of other experts, picks or labels.
  void merge(const RoutingTally& later);
  RoutingReport report() const;
  /// About how many numbers are summed.
  std::size_t cells() const { return 4 * experts_ + together_.size() + label_counts_.size(); }

 private:
  void add_probability(const RoutedRow& row);
  void add_margin(const RoutedRow& row);
  void count_margin(double margin);

  std::size_t experts_, picks_;
  std::vector<std::string> labels_;
  std::uint64_t rows_ = 0, slots_ = 0, dropped_ = 0, with_probability_ = 0;
  std::vector<std::uint64_t> counts_, together_, label_counts_;
  std::vector<double> weight_, probability_;
  std::vector<std::uint8_t> picked_;  // marks of the row at hand
  double entropy_ = 0;
  std::array<std::uint64_t, kMarginEdges.size()> margins_{};
};

}  // namespace moekit
