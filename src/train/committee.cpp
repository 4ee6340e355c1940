#include "train/committee.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

namespace moekit::train {

namespace {

constexpr double kLeastFactor = 0.5;

/// Mean and variance of each row under one member: n each, standardised target.
void member_moments(const Mixture& member, const Schema& schema, const Block& block, Posterior& work,
                    vec& mean, vec& variance) {
  mat means, sds;
  gate_weights(member, schema, block, work);
  member.experts->moments(work.batch, means, sds);
  mean = arma::sum(work.gate % means, 1);
  variance = arma::sum(work.gate % (arma::square(sds) + arma::square(means)), 1) - arma::square(mean);
}

}  // namespace

double narrow_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                    const Compute& compute) {
  if (schema.target.task != Task::regression || schema.targets() > 1 || members.size() < 2) return 1;
  const double count = static_cast<double>(members.size());
  double total[2] = {0, 0};  // sums over rows: spread between the members' means, their mean variance
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
      vec mean, variance, first(block.rows, arma::fill::zeros), second = first, own = first;
      for (const Mixture& member : members) {
        member_moments(member, schema, block, *work, mean, variance);
        first += mean / count;
        second += arma::square(mean) / count;
        own += variance / count;
      }
      for (uword i = 0; i < block.rows; ++i) {
        const double w = block.weight ? block.weight[i] : 1.0;
        sums[0] += w * std::max(0.0, second[i] - first[i] * first[i]);
        sums[1] += w * own[i];
      }
    };
  });
  if (!(total[1] > 0)) return 1;
  const double factor = std::sqrt(std::max(kLeastFactor * kLeastFactor, 1 - 2 * total[0] / total[1]));
  bool found = false;
  for (Mixture& member : members)
    for (uword k = 0; k < member.count(); ++k)
      for (const Field& field : member.experts->fields(k)) {
        if (field.name != "noise" || field.kind != Field::Kind::positive) continue;
        for (double& sd : field.values) sd = std::max(factor * sd, field.least);
        found = true;
      }
  return found ? factor : 1;
}

}  // namespace moekit::train
