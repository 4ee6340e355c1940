#include "train/committee.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "components.hpp"

namespace moekit::train {

namespace {

constexpr double kLeastFactor = 0.5;

}  // namespace

double narrow_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                    const Compute& compute) {
  if (schema.target.task != Task::regression || schema.targets() > 1 || members.size() < 2) return 1;
  const double count = static_cast<double>(members.size());
  double total[2] = {0, 0};  // sums over rows: spread between the members' means, their mean variance
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
      mat means, sds;
      vec first(block.rows, arma::fill::zeros), second = first, own = first;
      for (const Mixture& member : members) {
        gate_weights(member, schema, block, *work);
        member.experts->moments(work->batch, means, sds);
        const Moments m = moments(work->gate, means, sds);
        first += m.mean / count;
        second += arma::square(m.mean) / count;
        own += (arma::square(m.within) + arma::square(m.between)) / count;
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
