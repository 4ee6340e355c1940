#include "held_out_scores.hpp"

#include <cmath>
#include <map>

namespace moekit::cli {

double squared_error(const Schema& schema, const Block& block, const Prediction& p, uword row) {
  if (schema.targets() == 1) return std::pow(block.target[row] - p.mean[row], 2);
  double sum = 0;
  for (uword j = 0; j < schema.targets(); ++j)
    sum += std::pow((block.target_column(j)[row] - p.targets[j].mean[row]) / schema.target_at(j).sd, 2);
  return sum / static_cast<double>(schema.targets());
}

void HeldOutScores::add(const Model& model, const Source& held, const std::vector<std::uint64_t>& row,
                        const Compute& compute) {
  const bool classes = model.schema.target.task == Task::classification;
  // Blocks write to rows of their own, so the threads do not meet.
  parallel_for(held.blocks(), compute, [&](std::size_t b) {
    BlockData buffer;
    const Block block = held.read(b, buffer);
    const Prediction p = predict(model, block);
    for (uword i = 0; i < block.rows; ++i) {
      const std::uint64_t to = row[b * kBlockRows + i];
      nll[to] = -p.log_density[i];
      loss[to] = classes ? (p.label[i] == static_cast<uword>(block.target[i]) ? 0.0 : 1.0)
                         : squared_error(model.schema, block, p, i);
      if (block.weight) weight[to] = block.weight[i];
    }
  });
}

Estimate weighted_mean(const std::vector<double>& values, const std::vector<double>& weights,
                       const std::vector<std::uint32_t>& cluster) {
  double sum = 0, total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sum += weights[i] * values[i];
    total += weights[i];
  }
  Estimate out;
  out.value = sum / total;
  std::map<std::uint32_t, double> of_cluster;
  double squares = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double deviation = weights[i] * (values[i] - out.value);
    if (cluster.empty()) {
      squares += deviation * deviation;
    } else {
      of_cluster[cluster[i]] += deviation;
    }
  }
  for (const auto& [_, deviation] : of_cluster) squares += deviation * deviation;
  const double n = static_cast<double>(cluster.empty() ? values.size() : of_cluster.size());
  out.error = n > 1 ? std::sqrt(squares * n / (n - 1)) / total : NAN;
  return out;
}

Estimate paired_difference(const std::vector<double>& a, const std::vector<double>& b,
                           const std::vector<double>& weights, const std::vector<std::uint32_t>& cluster) {
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return weighted_mean(difference, weights, cluster);
}

Estimate root(const Estimate& mean) {
  const double value = std::sqrt(mean.value);
  return {value, value > 0 ? mean.error / (2 * value) : 0};
}

}  // namespace moekit::cli
