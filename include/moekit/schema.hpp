#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "moekit/source.hpp"
#include "moekit/sum.hpp"

namespace moekit {

/// How text becomes cells; found in the training file, kept in the model, and prediction's default.
struct CsvFormat {
  char separator = 0;                ///< 0: find it among , ; tab |
  char decimal = '.';                ///< or ','
  std::vector<std::string> missing;  ///< tokens beside the built-in ones (empty NA NaN null ? .)
};

enum class ColumnKind { numeric, categorical };

/// An input column: how it is read, and what the training rows looked like (weighted).
struct Column {
  std::string name;
  ColumnKind kind = ColumnKind::numeric;
  std::uint32_t index = 0;          ///< column of Block::numeric or of Block::levels
  std::vector<std::string> levels;  ///< categorical: texts in code order
  double missing = 0;               ///< share of rows without a value
  double mean = 0, sd = 0;          ///< numeric, over present values; divisor = sum of weights
  double min = 0, max = 0;          ///< numeric
  std::vector<double> shares;       ///< categorical: share of each level, and of missing (last)
};

enum class Task { regression, classification, count };
std::string_view task_name(Task task);

struct Target {
  std::string name;
  Task task = Task::regression;
  std::vector<std::string> labels;  ///< classification: texts in code order
  std::vector<double> shares;       ///< classification: share of each label
  double mean = 0, sd = 1;          ///< regression: over training rows; sd is 1 for a constant target
  double min = 0, max = 0;
  double step = 0;             ///< all training values are multiples of it (rounded data), or 0
  std::uint64_t distinct = 0;  ///< distinct values seen, counted up to 1000
};

/// How many levels or labels occur at all.
std::size_t occurring(const std::vector<double>& shares);

/// How the columns of a table become numbers.
struct Schema {
  std::vector<Column> inputs;           ///< in the order of the training file
  Target target;                        ///< the first one
  std::vector<Target> further_targets;  ///< of a model of several targets at once: those beside the first
  std::vector<std::string> id;          ///< columns kept for the output, never inputs
  std::string weights, offset;          ///< column names, or empty
  CsvFormat format;
  double total_weight = 0;  ///< sum of the weights of the training rows
  std::uint64_t rows = 0;   ///< training rows used

  /// What an expert's mean behind a log link may be at most, standardised target: twice the largest
  /// target of training. Extrapolated, a slope on the logarithm has no other end. Infinite with an offset:
  /// rows of more exposure than in training have larger means.
  double most_mean() const;
  uword numeric_inputs() const;
  uword categorical_inputs() const;
  const Column* find(std::string_view name) const;
  uword targets() const { return 1 + further_targets.size(); }
  const Target& target_at(uword j) const { return j == 0 ? target : further_targets[j - 1]; }
  Target& target_at(uword j) { return j == 0 ? target : further_targets[j - 1]; }
};

/// Fills in what has to be counted over the rows: means, spreads, shares, missing shares, the target's step.
/// Safe for offsets of 1e9 and scales of 1e-300 to 1e300 (shifted and scaled sums).
void measure(Schema& schema, const Source& source, const Compute& compute = {});

/// A number that changes when any value, level or the order of rows changes: which rows a model was fitted
/// to.
std::uint64_t fingerprint(const Schema& schema, const Source& source, const Compute& compute = {});

}  // namespace moekit
