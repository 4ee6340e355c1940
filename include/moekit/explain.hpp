#pragma once
#include <string>
#include <vector>

#include "moekit/predict.hpp"

namespace moekit {

/// What one input adds to a sum, or would have to become.
struct InputPart {
  std::string column;
  std::string value;  ///< of the row; empty: missing
  double amount = 0;
};

/// One expert's part in the prediction.
struct ExpertPart {
  uword member = 0, expert = 0;  ///< 0-based
  double weight = 0;             ///< gate weight / number of members
  double answer = 0;             ///< mean, or probability of the predicted class
  double contribution = 0;       ///< weight x answer
};

/// The nearest value of one input, all others as they are, at which another expert has the largest weight.
struct Crossing {
  std::string column, from, to;
  uword expert = 0;     ///< who would answer then, 0-based
  double distance = 0;  ///< |to - from| / sd of the column; categories: 1
};

/// How one row was scored. `experts` add up to `prediction`.
struct Explanation {
  double prediction = 0;            ///< mean in the units of the target, or probability of `label`
  std::string label;                ///< classification: the predicted class
  std::vector<ExpertPart> experts;  ///< by falling weight
  /// `base` + the amounts of `inputs` = `total`. What is summed is the prediction, with the gate weights as
  /// they are (`of` empty); behind a logarithm ln of the mean of the leading expert, and for classes its log
  /// odds of `label` against the last other class (`of` says so). `base` is the value at the average row.
  /// Empty for networks, whose inputs act together.
  std::string of;
  double base = 0, total = 0;
  std::vector<InputPart> inputs;  ///< by falling size
  uword leading = 0, second = 0;  ///< experts with the largest gate weights of the first member, 0-based
  /// ln of the ratio of their weights, before the others are left out by top-k; of a softmax of scores the
  /// sum of `gate_base` and `gate`.
  double log_odds = 0, gate_base = 0;
  std::vector<InputPart> gate;
  std::vector<Crossing> crossings;  ///< nearest first
};

/// Explains row `row` of a block; of several targets the first one (see marginal()).
Explanation explain(const Model& model, const Block& block, uword row);

}  // namespace moekit
