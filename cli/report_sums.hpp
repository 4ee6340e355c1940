#pragma once
#include <array>
#include <unordered_map>
#include <vector>

#include "json_output.hpp"
#include "moekit/model.hpp"
#include "scan.hpp"

namespace moekit::cli {

/// The figures of a report that are sums over all rows. What is said of a region weighs rows by gate weight
/// (and by the weight column), as in experts.csv. Memory: a few hundred numbers a region.
class ReportSums {
 public:
  explicit ReportSums(const Model& model);
  void add(const Scored& scored);
  /// Adds what another one of the same model has seen.
  void merge(const ReportSums& later);

  /// Of the gate weights: histogram over rows, mean and share of boundary rows by region, which regions meet.
  Json entropy() const;
  /// Regression and counts, for each target: PIT histogram, coverage by level and by region. Classes:
  /// reliability, and error against confidence by region.
  Json calibration() const;
  /// Classes: truth against prediction, over all rows and by region. Else null.
  Json confusion() const;

  static constexpr std::size_t kBins = 20;         ///< of entropy and PIT
  static constexpr std::size_t kTopBins = 15;      ///< of the top probability, as in ece
  static constexpr std::size_t kMostClasses = 12;  ///< of a confusion matrix; the rest are one class
  static constexpr std::size_t kMostRegions = 64;  ///< with a matrix of their own

 private:
  struct Bin {
    double weight = 0, confidence = 0, correct = 0;
  };
  struct OfTarget {
    std::array<double, kBins> pit{};
    std::vector<double> covered_first;    // weight, by the first level that covers
    std::vector<double> weight, covered;  // by region
    double known = 0;
  };

  void add_gate(const Scored& scored, const std::vector<double>& w);
  void add_values(const Prediction& p, const Prediction& whole, const double* y, const std::vector<double>& w,
                  OfTarget& to) const;
  void add_pit(const Prediction& p, uword i, double w, OfTarget& to) const;
  void add_class(const Prediction& p, uword i, double y, double w);
  std::size_t class_place(uword code) const { return place_[code]; }

  const Model& model_;
  uword experts_;
  std::vector<double> reach_;  // score up to which a central interval goes, by level
  double reach_90_ = 0.9;
  double weight_ = 0;
  std::array<double, kBins> entropy_{};
  std::vector<double> region_weight_, region_entropy_, region_boundary_;
  std::unordered_map<std::size_t, double> meeting_;  // weight of boundary rows by pair of regions, a K + b
  std::vector<OfTarget> targets_;
  std::vector<std::size_t> place_;    // of each class in the matrices
  std::vector<std::string> classes_;  // names of these places
  std::vector<double> confusion_;     // (1 + regions) x truth x prediction
  std::vector<Bin> reliability_;      // (1 + K) x kTopBins
};

}  // namespace moekit::cli
