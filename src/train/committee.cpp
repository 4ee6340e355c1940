#include "train/committee.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "log_sum.hpp"
#include "train/member_rows.hpp"

namespace moekit::train {

namespace {

/// Factors that are tried are e^(step kStep), -kDown <= step <= kUp: from 1/148 to 5. Further down than up:
/// an update moves the logarithm of a noise by no more than the learning rate, so members of a table with
/// next to none stop, or end their epochs, while theirs still is many times too large.
constexpr int kDown = 100, kUp = 32, kGrid = kDown + kUp + 1;
constexpr double kStep = 0.05;
/// So many rows saying otherwise weigh as much as the prior that the members are right: a standard deviation
/// of 0.22 of the factor's logarithm, since that of n rows is (2 n)^-1/2 for normal errors.
constexpr double kPriorRows = 10;
/// The average of very many members has at least this part of the noise of the average of two.
constexpr double kLeastOfTwo = 0.5;

/// The experts' noise, where it is a standard deviation each.
std::vector<Field> noise_fields(Mixture& member) {
  std::vector<Field> all;
  for (uword k = 0; k < member.count(); ++k)
    for (const Field& field : member.experts->fields(k))
      if (field.name == "noise" && field.kind == Field::Kind::positive) all.push_back(field);
  return all;
}

/// What one member says of the rows of a block.
struct Said {
  mat log_weight, mean, sd;  // n x K
};

void ask(const Mixture& member, const Schema& schema, const Block& block, Posterior& work, Said& out) {
  gate_weights(member, schema, block, work);
  member.experts->moments(work.batch, out.mean, out.sd);
  out.log_weight = arma::log(arma::clamp(work.gate, 1e-300, 1.0));
}

/// ln density of a row at y, up to a constant, with all noise times `factor`.
double log_density(const Said& said, uword row, double y, double factor, double least) {
  LogSum sum;
  for (uword k = 0; k < said.mean.n_cols; ++k) {
    const double sd = std::max(factor * said.sd(row, k), least), z = (y - said.mean(row, k)) / sd;
    sum.add(said.log_weight(row, k) - 0.5 * z * z - std::log(sd));
  }
  return sum.value();
}

/// The factor at the maximum of values on the grid, between its points by a parabola.
double best_factor(std::span<const double> values) {
  const auto at = std::max_element(values.begin(), values.end()) - values.begin();
  if (!std::isfinite(values[at])) return 1;  // a target so far away that its square is infinite
  double step = static_cast<double>(at - kDown);
  if (at > 0 && at + 1 < kGrid) {
    const double before = values[at] - values[at - 1], after = values[at] - values[at + 1];
    if (before + after > 0) step += 0.5 * (before - after) / (before + after);
  }
  return std::exp(kStep * step);
}

}  // namespace

LeftOutNoise left_out_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                            const FitOptions& options, const Compute& compute) {
  std::array<double, kGrid> factors;
  for (int g = 0; g < kGrid; ++g) factors[g] = std::exp(kStep * (g - kDown));
  // Sums by factor of ln density: of each of two members; of their average. Sums of weights; of their
  // squares.
  std::array<double, 2 * kGrid + 2> total{};
  const double least = noise_fields(members.front()).front().least;
  for (const LeftOutPart& part : left_out_twice(options, source.rows())) {
    if (part.rows.empty()) continue;
    const MemorySource rows = take_rows(source, part.rows);
    sum_over(rows, compute, total, [&]() -> Adder {
      return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
        Said first, second;
        ask(members[part.first], schema, block, *work, first);
        ask(members[part.second], schema, block, *work, second);
        for (uword i = 0; i < block.rows; ++i) {
          const double w = block.weight ? block.weight[i] : 1.0, y = work->batch.target[i];
          for (int g = 0; g < kGrid; ++g) {
            const double a = log_density(first, i, y, factors[g], least),
                         b = log_density(second, i, y, factors[g], least);
            sums[g] += w * (a + b);
            sums[kGrid + g] += w * (std::max(a, b) + std::log1p(std::exp(-std::abs(a - b))));
          }
          sums[2 * kGrid] += w;
          sums[2 * kGrid + 1] += w * w;
        }
      };
    });
  }
  const double weight = total[2 * kGrid], squares = total[2 * kGrid + 1];
  if (!(weight > 0)) return {};
  const std::span<const double> all(total);
  return {best_factor(all.first(kGrid)), best_factor(all.subspan(kGrid, kGrid)), weight * weight / squares};
}

double committee_factor(const LeftOutNoise& found, std::size_t members) {
  const double one = found.one * found.one, two = found.two * found.two;
  const double more = 1 - 2 / static_cast<double>(members);
  const double all = std::max(kLeastOfTwo * kLeastOfTwo * two, two - more * std::max(0.0, one - two));
  return std::pow(all, 0.5 * found.rows / (found.rows + kPriorRows));
}

double scale_noise(std::vector<Mixture>& members, const Schema& schema, const Source& source,
                   const FitOptions& options, const Compute& compute) {
  if (schema.target.task != Task::regression || schema.targets() > 1 || members.size() < 2 ||
      members.size() < static_cast<std::size_t>(options.ensemble) || noise_fields(members.front()).empty())
    return 1;
  const double factor =
      committee_factor(left_out_noise(members, schema, source, options, compute), members.size());
  for (Mixture& member : members)
    for (const Field& field : noise_fields(member))
      for (double& sd : field.values) sd = std::max(factor * sd, field.least);
  return factor;
}

}  // namespace moekit::train
