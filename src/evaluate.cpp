#include "moekit/evaluate.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "curve_area.hpp"
#include "moekit/error.hpp"
#include "moekit/targets.hpp"
#include "running_moments.hpp"
#include "scores.hpp"

namespace moekit {

namespace {

constexpr std::size_t kBins = 15;

}  // namespace

/// Sums over rows. Regression: on the standardised target.
struct Evaluator::State {
  std::uint64_t rows = 0;
  double weight = 0, log_density = 0;
  double squares = 0, absolute = 0, covered = 0, crps = 0, log_grid = 0;
  RunningMoments target;
  double correct = 0, brier = 0;
  std::array<double, kBins> bin_confidence{}, bin_correct{};
  CurveArea curve;               // two classes
  std::vector<Model> marginals;  // several targets
  std::vector<Evaluator> targets;

  /// inside: does y lie inside the central 90 %?
  void add_value(const Prediction& p, uword i, double y, double w, const Unit& unit, bool inside);
  void add_class(const Prediction& p, uword i, double y, double w);
  void merge(const State& other);
};

void Evaluator::State::add_value(const Prediction& p, uword i, double y, double w, const Unit& unit,
                                 bool inside) {
  const double error = (y - p.mean[i]) / unit.sd;
  squares += w * error * error;
  absolute += w * std::abs(error);
  target.add(unit.standard(y), w);
  if (inside) covered += w;
}

void Evaluator::State::add_class(const Prediction& p, uword i, double y, double w) {
  const auto code = static_cast<uword>(y);
  const uword label = p.label[i], classes = p.probability.n_cols;
  const double top = p.probability(i, label), hit = label == code ? 1 : 0;
  correct += w * hit;
  for (uword c = 0; c < classes; ++c) {
    const double gap = p.probability(i, c) - (c == code ? 1 : 0);
    brier += w * gap * gap;
  }
  const std::size_t bin = std::min(static_cast<std::size_t>(top * kBins), kBins - 1);
  bin_confidence[bin] += w * top;
  bin_correct[bin] += w * hit;
  if (classes == 2) curve.add(p.probability(i, 1), w, code == 1);
}

void Evaluator::State::merge(const State& other) {
  rows += other.rows;
  target.merge(other.target);
  for (double State::*sum : {&State::weight, &State::log_density, &State::squares, &State::absolute,
                             &State::covered, &State::crps, &State::log_grid, &State::correct, &State::brier})
    this->*sum += other.*sum;
  for (std::size_t b = 0; b < kBins; ++b) {
    bin_confidence[b] += other.bin_confidence[b];
    bin_correct[b] += other.bin_correct[b];
  }
  curve.merge(other.curve);
  for (std::size_t j = 0; j < other.targets.size(); ++j) targets[j].merge(other.targets[j]);
}

Evaluator::Evaluator(const Model& model) : model_(model), state_(std::make_shared<State>()) {
  if (model.schema.targets() < 2) return;
  for (uword j = 0; j < model.schema.targets(); ++j) state_->marginals.push_back(marginal(model, j));
  for (const Model& each : state_->marginals) state_->targets.emplace_back(each);
}

void Evaluator::add(const Block& block) {
  if (block.target) add(block, predict(model_, block));
}

void Evaluator::merge(const Evaluator& other) { state_->merge(*other.state_); }

void Evaluator::add(const Block& block, const Prediction& prediction) {
  if (!block.target) return;
  for (uword j = 0; j < state_->targets.size(); ++j)
    state_->targets[j].add(target_block(block, j), prediction.targets[j]);
  const bool classes = model_.schema.target.task == Task::classification;
  const Unit unit = target_unit(model_.schema.target);
  State sums;  // of this block: adding block by block keeps more digits
  // At most 5 % lies strictly below the central 90 %, at most 5 % strictly above: a score of at most 0.9.
  const double widest = model_.conformal.known() ? model_.conformal.threshold(0.9) : 0.9;
  const bool joint = !state_->targets.empty();
  const RowScores scores = classes || joint ? RowScores{} : row_scores(model_, block, prediction);
  for (uword i = 0; i < block.rows; ++i) {
    const double y = block.target[i], w = block.weight ? block.weight[i] : 1.0;
    if (std::isnan(prediction.log_density[i]) || !(w > 0)) continue;
    ++sums.rows;
    sums.weight += w;
    sums.log_density += w * prediction.log_density[i];
    if (joint) continue;
    if (classes) {
      sums.add_class(prediction, i, y, w);
      continue;
    }
    sums.add_value(prediction, i, y, w, unit, conformal_score(prediction, i, y) <= widest);
    sums.crps += w * scores.crps[i];
    if (!scores.log_grid.is_empty()) sums.log_grid += w * scores.log_grid[i];
  }
  state_->merge(sums);
}

Metrics Evaluator::metrics() const {
  const State& s = *state_;
  const Target& target = model_.schema.target;
  if (s.rows == 0) throw Error(Errc::data, "no row has a known '" + target.name + "' to compare with");
  const Unit unit = target_unit(target);
  Metrics out;
  out.rows = s.rows;
  out.task = target.task;
  out.target = target.name;
  out.nll = -s.log_density / s.weight;
  for (const Evaluator& each : s.targets) out.targets.push_back(each.metrics());
  if (!out.targets.empty()) return out;
  if (target.task == Task::classification) {
    out.log_loss = out.nll;
    out.accuracy = s.correct / s.weight;
    out.brier = s.brier / s.weight;
    for (std::size_t b = 0; b < kBins; ++b)
      out.ece += std::abs(s.bin_correct[b] - s.bin_confidence[b]) / s.weight;
    if (const auto area = s.curve.area()) {
      out.auc = area->value;
      out.auc_error = area->error;
    }
    return out;
  }
  out.rmse = unit.sd * std::sqrt(s.squares / s.weight);
  out.mae = unit.sd * (s.absolute / s.weight);
  out.r2 = s.target.squares > 0 ? 1 - s.squares / s.target.squares : 0;
  out.coverage_90 = s.covered / s.weight;
  out.crps = unit.sd * (s.crps / s.weight);
  if (target.step > 0 && target.task == Task::regression) out.nll_grid = -s.log_grid / s.weight;
  return out;
}

Metrics evaluate(const Model& model, const Source& source, const Compute& compute) {
  // Blocks are scored side by side and added in order, so that the sums do not depend on the threads.
  constexpr std::size_t kTogether = 64;
  Evaluator total(model);
  for (std::size_t begin = 0; begin < source.blocks(); begin += kTogether) {
    std::vector<Evaluator> part;
    for (std::size_t i = begin; i < std::min(begin + kTogether, source.blocks()); ++i)
      part.emplace_back(model);
    parallel_for(part.size(), compute, [&](std::size_t i) {
      BlockData buffer;
      part[i].add(source.read(begin + i, buffer));
    });
    for (const Evaluator& p : part) total.merge(p);
  }
  return total.metrics();
}

}  // namespace moekit
