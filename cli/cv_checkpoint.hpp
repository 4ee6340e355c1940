#pragma once
#include <string>
#include <utility>
#include <vector>

#include "folds.hpp"
#include "held_out_scores.hpp"
#include "moekit/fit_checkpoint.hpp"

namespace moekit::cli {

/// What cv knows of a finished fit beside the scores of its held-out rows.
struct FoldResult {
  uword fitted = 0;  ///< experts of the model
  uword found = 0;   ///< of its first member
  double seconds = 0;
};

/// Says what the cross-validation is of: `fit` (fit_identity()), with the numbers of experts in place of one,
/// and the folds. Errors: those of FitCheckpoint::begin().
void begin_cv(FitCheckpoint& checkpoint, std::vector<std::pair<std::string, std::string>> fit,
              const std::vector<uword>& experts, const Folds& folds);
/// How many fits of all are in the checkpoint.
std::size_t folds_kept(const FitCheckpoint& checkpoint, const std::vector<uword>& experts,
                       std::uint32_t folds);
/// Takes a fit's result, the scores of `rows` among it, from the checkpoint; false where it is not there.
/// Errors: Errc::model_format.
bool take_fold(const FitCheckpoint* checkpoint, uword experts, std::uint32_t fold,
               const std::vector<std::uint64_t>& rows, HeldOutScores& scores, FoldResult& result);
/// Keeps it, and writes the file.
void keep_fold(FitCheckpoint* checkpoint, uword experts, std::uint32_t fold,
               const std::vector<std::uint64_t>& rows, HeldOutScores& scores, FoldResult result);

}  // namespace moekit::cli
