#pragma once
#include <string>
#include <vector>

#include "console.hpp"
#include "held_out_scores.hpp"
#include "json_output.hpp"

namespace moekit::cli {

/// One number of experts, or as many as each fold finds (--experts auto).
struct CvResult {
  CvResult(uword k, std::size_t rows) : experts(k), scores(rows) {}
  bool automatic() const { return experts == 0; }
  uword experts;  ///< 0: auto
  HeldOutScores scores;
  std::vector<uword> found;  ///< auto: in each fold
  std::size_t fewer = 0;     ///< folds that ended with fewer experts
  double seconds = 0;
};

/// The comparison: held-out figures with standard errors, and the choice by the one-standard-error rule: the
/// fewest experts whose nll is at most the best nll plus its standard error.
class CvTable {
 public:
  /// `results`: K = 1 first. `cluster`: the group of each row, or empty.
  CvTable(const Schema& schema, std::uint32_t folds, std::vector<CvResult> results,
          const std::vector<std::uint32_t>& cluster);
  Json json() const;
  std::string text(const Console& console) const;

 private:
  struct Row {
    Json experts_json() const { return experts > 0 ? Json(experts) : Json("auto"); }
    std::string experts_text() const;
    uword experts;              ///< 0: auto
    std::vector<uword> found;   ///< auto: in each fold
    Estimate nll, error, gain;  ///< error: rmse or accuracy; gain: nll less that of K = 1
    double seconds;
  };
  bool classes_;
  std::string task_;
  bool grouped_;
  std::vector<std::string> targets_;
  std::uint64_t rows_;
  std::uint32_t folds_;
  std::vector<Row> table_;
  std::size_t chosen_ = 0;
};

}  // namespace moekit::cli
