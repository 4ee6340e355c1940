#include "moekit/diagnose.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "components.hpp"
#include "moekit/targets.hpp"
#include "region_columns.hpp"
#include "running_moments.hpp"
#include "simd/vector_math.hpp"

namespace moekit {

namespace {

/// Sums of at most so many numbers are made for each block and then added up.
constexpr std::size_t kMostCells = 400'000;
/// Half of what the central 99.9 % leaves out.
constexpr double kOutlierTail = 0.0005;

bool is_outlier(const Prediction& p, uword row) {
  if (!p.has_target || std::isnan(p.log_density[row])) return false;
  for (const Prediction& each : p.targets)
    if (is_outlier(each, row)) return true;
  if (!p.targets.empty()) return false;
  const double density = std::exp(p.log_density[row]);
  if (!p.probability.is_empty()) return density < 2 * kOutlierTail;
  // A count's own probability belongs to neither tail.
  const double strictly_below = p.discrete ? p.cumulative[row] - density : p.cumulative[row];
  return p.cumulative[row] < kOutlierTail || strictly_below > 1 - kOutlierTail;
}

}  // namespace

std::vector<PartitionRow> partition_rows(const Prediction& prediction) {
  const mat& gate = prediction.gate;
  const uword n = gate.n_rows;
  std::vector<PartitionRow> out(n);
  std::vector<double> first(n), second(n), logs(n);
  for (uword k = 0; k < gate.n_cols; ++k) {
    const double* g = gate.colptr(k);
    // 0 ln 0 is 0, and no logarithm of a subnormal number is asked for.
    for (uword i = 0; i < n; ++i) logs[i] = std::max(g[i], std::numeric_limits<double>::min());
    simd::log_inplace(logs.data(), n);
    for (uword i = 0; i < n; ++i) {
      out[i].gate_entropy -= g[i] * logs[i];
      second[i] = std::max(second[i], std::min(first[i], g[i]));
      first[i] = std::max(first[i], g[i]);
    }
  }
  for (uword i = 0; i < n; ++i) {
    out[i].gate_entropy = std::max(out[i].gate_entropy, 0.0);  // also no minus zero
    out[i].boundary = gate.n_cols > 1 && second[i] >= 0.5 * first[i];
    out[i].outlier = is_outlier(prediction, i);
  }
  return out;
}

PartitionRow partition_row(const Prediction& prediction, uword row) {
  return partition_rows(prediction)[row];
}

/// Sums over rows; those of a region weighted by gate weight times the row's weight.
struct Diagnoser::Sums {
  Sums(const Model& model, const std::vector<std::string>& groups)
      : evaluator(model),
        columns(model.schema, model.members.front().count()),
        region(columns.regions()),
        routing(experts_of(model), picks_of(model), groups.empty() ? model.schema.target.labels : groups),
        scored(model.members.front().routing.score != RoutingRule::Score::hash) {
    for (RegionSums& each : region) {
      each.classes.resize(model.schema.target.labels.size());
      each.targets.resize(model.schema.targets());
    }
  }
  static std::size_t picks_of(const Model& model);

  struct RegionSums {
    double gate = 0, responsibility = 0, won = 0;
    double known = 0;  // weight of rows with a target
    struct OfTarget {
      double error = 0;  // weighted squared (or counted) errors
      RunningMoments moments;
    };
    std::vector<OfTarget> targets;
    std::vector<double> classes;
    void merge(const RegionSums& later);
  };
  void add(const Model& model, const Block& block, const Prediction& p, const std::vector<PartitionRow>& of,
           std::span<const std::uint32_t> label);
  void merge(const Sums& later);
  /// About how many numbers these are.
  std::size_t cells() const { return columns.cells() + routing.cells() + region.size() * region_cells(); }

  Evaluator evaluator;
  RegionColumns columns;
  std::vector<RegionSums> region;
  RoutingTally routing;
  bool scored;  // do picks follow from scores?
  double weight = 0, known = 0, entropy = 0, boundary = 0, outlier = 0, spread = 0;

 private:
  std::size_t region_cells() const {
    return region.empty() ? 0 : 4 + 4 * region[0].targets.size() + region[0].classes.size();
  }
  void add_region(uword k, const Model& model, const Block& block, const Prediction& p);
  void add_values(RegionSums& to, const double* inside, const Model& model, const Block& block,
                  const Prediction& p);
  void add_rows(const std::vector<PartitionRow>& of, const Block& block, const Prediction& p);
  void add_routing(const std::vector<PartitionRow>& of, const Block& block, const Prediction& p,
                   std::span<const std::uint32_t> label);
};

struct Diagnoser::State {
  State(const Model& model, std::vector<std::string> names)
      : groups(std::move(names)), sums(model, groups), rules(model) {}
  std::vector<std::string> groups;  // names that the caller gave
  Sums sums;
  RuleFinder rules;
  std::uint64_t rows = 0;
};

void Diagnoser::Sums::add_rows(const std::vector<PartitionRow>& of, const Block& block, const Prediction& p) {
  for (uword i = 0; i < block.rows; ++i) {
    const double w = block.weight ? block.weight[i] : 1.0;
    weight += w;
    if (!p.member_spread.is_empty()) spread += w * p.member_spread[i];
    entropy += w * of[i].gate_entropy;
    if (of[i].boundary) boundary += w;
    if (of[i].outlier) outlier += w;
    if (p.has_target && !std::isnan(p.log_density[i])) known += w;
  }
}

void Diagnoser::Sums::add_values(RegionSums& to, const double* inside, const Model& model, const Block& block,
                                 const Prediction& p) {
  const uword targets = model.schema.targets();
  for (uword j = 0; j < targets; ++j) {
    const Unit unit = target_unit(model.schema.target_at(j));
    const double* y = block.target_column(j);
    const vec& mean = (targets > 1 ? p.targets[j] : p).mean;
    double inside_all = 0, sum = 0, error = 0, squares = 0;
    for (uword i = 0; i < block.rows; ++i) {
      if (std::isnan(p.log_density[i])) continue;
      const double gap = (y[i] - mean[i]) / unit.sd;
      error += inside[i] * gap * gap;
      inside_all += inside[i];
      sum += inside[i] * unit.standard(y[i]);
    }
    to.targets[j].error += error;
    if (!(inside_all > 0)) continue;
    const double centre = sum / inside_all;
    for (uword i = 0; i < block.rows; ++i)
      if (!std::isnan(p.log_density[i])) {
        const double off = unit.standard(y[i]) - centre;
        squares += inside[i] * off * off;
      }
    to.targets[j].moments.merge({inside_all, centre, squares});
  }
}

void Diagnoser::Sums::add_region(uword k, const Model& model, const Block& block, const Prediction& p) {
  const bool classes = model.schema.target.task == Task::classification;
  RegionSums& to = region[k];
  std::vector<double> inside(p.gate.colptr(k), p.gate.colptr(k) + block.rows);
  if (block.weight)
    for (uword i = 0; i < block.rows; ++i) inside[i] *= block.weight[i];
  for (uword i = 0; i < block.rows; ++i) {
    const double w = block.weight ? block.weight[i] : 1.0;
    const bool known_target = p.has_target && !std::isnan(p.log_density[i]);
    to.gate += inside[i];
    to.responsibility += known_target ? w * p.responsibility(i, k) : inside[i];
    if (p.region(i) == k) to.won += w;
    if (!known_target) continue;
    to.known += inside[i];
    if (!classes) continue;
    const auto code = static_cast<uword>(block.target[i]);
    to.targets[0].error += p.label[i] == code ? 0 : inside[i];
    to.classes[code] += inside[i];
  }
  if (p.has_target && !classes) add_values(to, inside.data(), model, block, p);
}

/// Most picks of a row; without routing its expert with the largest weight.
std::size_t Diagnoser::Sums::picks_of(const Model& model) {
  const Mixture& m = model.members.front();
  if (model.neurons.count > 0)
    return std::min(model.neurons.count, model.neurons.heads * model.neurons.picks);
  if (!m.routing.active(m.count())) return 1;
  std::size_t shared = 0;
  for (const std::uint8_t s : m.routing.shared) shared += s;
  return std::min<std::size_t>(m.count(), (m.routing.top_k == 0 ? m.count() : m.routing.top_k) + shared);
}

void Diagnoser::Sums::add_routing(const std::vector<PartitionRow>& of, const Block& block,
                                  const Prediction& p, std::span<const std::uint32_t> label) {
  std::vector<std::uint32_t> group(label.begin(), label.end());
  if (group.empty() && p.label.n_elem > 0 && block.target)
    for (uword i = 0; i < block.rows; ++i)
      group.push_back(std::isnan(block.target[i]) ? kNoLabel : static_cast<std::uint32_t>(block.target[i]));
  if (p.pick.is_empty()) {
    std::vector<double> gate_entropy(block.rows);
    for (uword i = 0; i < block.rows; ++i) gate_entropy[i] = of[i].gate_entropy;
    routing.add_single({p.expert.memptr(), block.rows}, {p.gate.memptr(), p.gate.n_elem}, gate_entropy,
                       group);
    return;
  }
  // Neurons are picked inside their network, and a hash has no scores.
  const bool known_scores = scored && !p.gate_before.is_empty();
  const mat probability = known_scores ? mat(p.gate_before.t()) : mat();
  std::vector<std::uint32_t> pick;
  std::vector<double> share;
  for (uword i = 0; i < block.rows; ++i) {
    pick.clear();
    share.clear();
    for (uword j = 0; j < p.pick.n_cols; ++j)
      if (p.pick_weight(i, j) > 0) {
        pick.push_back(static_cast<std::uint32_t>(p.pick(i, j)));
        share.push_back(p.pick_weight(i, j));
      }
    RoutedRow row{pick, share};
    if (known_scores) row.probability = {probability.colptr(i), probability.n_rows};
    if (!group.empty()) row.label = group[i];
    routing.add(row);
  }
}

Diagnoser::Diagnoser(const Model& model, std::vector<std::string> labels)
    : model_(model), state_(std::make_shared<State>(model, std::move(labels))) {}

void Diagnoser::Sums::add(const Model& model, const Block& block, const Prediction& p,
                          const std::vector<PartitionRow>& of, std::span<const std::uint32_t> label) {
  if (block.target) evaluator.add(block, p);
  for (uword k = 0; k < region.size(); ++k) add_region(k, model, block, p);
  add_rows(of, block, p);
  add_routing(of, block, p, label);
  columns.add(model.schema, block, p.gate);
}

void Diagnoser::Sums::RegionSums::merge(const RegionSums& later) {
  for (double RegionSums::*sum :
       {&RegionSums::gate, &RegionSums::responsibility, &RegionSums::won, &RegionSums::known})
    this->*sum += later.*sum;
  for (std::size_t j = 0; j < targets.size(); ++j) {
    targets[j].error += later.targets[j].error;
    targets[j].moments.merge(later.targets[j].moments);
  }
  for (std::size_t c = 0; c < classes.size(); ++c) classes[c] += later.classes[c];
}

void Diagnoser::Sums::merge(const Sums& later) {
  evaluator.merge(later.evaluator);
  columns.merge(later.columns);
  for (std::size_t k = 0; k < region.size(); ++k) region[k].merge(later.region[k]);
  routing.merge(later.routing);
  for (double Sums::*sum :
       {&Sums::weight, &Sums::known, &Sums::entropy, &Sums::boundary, &Sums::outlier, &Sums::spread})
    this->*sum += later.*sum;
}

Diagnoser::Part Diagnoser::measure(const Block& block, const Prediction& prediction,
                                   const std::vector<PartitionRow>& rows,
                                   std::span<const std::uint32_t> label) const {
  Part part;
  if (!state_->groups.empty()) part.label_.assign(label.begin(), label.end());
  if (state_->sums.cells() > kMostCells) return part;
  const auto sums = std::make_shared<Sums>(model_, state_->groups);
  sums->add(model_, block, prediction, rows, part.label_);
  part.sums_ = sums;
  return part;
}

void Diagnoser::add(const Block& block, const Prediction& prediction, const Part& part) {
  State& s = *state_;
  if (part.sums_)
    s.sums.merge(*part.sums_);
  else
    s.sums.add(model_, block, prediction, partition_rows(prediction), part.label_);
  s.sums.columns.sample(block, prediction.gate, s.rows);
  s.rules.add(block, prediction);
  s.rows += block.rows;
}

void Diagnoser::add(const Block& block, const Prediction& prediction, std::span<const std::uint32_t> label) {
  add(block, prediction, measure(block, prediction, partition_rows(prediction), label));
}

namespace {

double share_of(double part, double whole) { return whole > 0 ? part / whole : 0; }

/// How evenly the experts are used (the balance terms of Shazeer et al. 2017), and who is not used at all.
void fill_balance(Diagnosis& out) {
  const double k = static_cast<double>(out.regions.size());
  double most = 0;
  for (uword j = 0; j < out.regions.size(); ++j) {
    const double share = out.regions[j].share;
    out.load_cv2 += (k * share - 1) * (k * share - 1) / k;
    most = std::max(most, share);
    if (share < 1 / (100 * k)) out.dead.push_back(j);
  }
  out.max_over_mean = k * most;
}

}  // namespace

Diagnosis Diagnoser::diagnosis(const Compute& compute) const {
  const Sums& s = state_->sums;
  const bool classes = model_.schema.target.task == Task::classification;
  const Mixture& mixture = model_.members.front();
  std::vector<Value<ExpertFamily>> experts;  // of each target
  for (uword j = 0; j < model_.schema.targets(); ++j) experts.emplace_back(mixture.experts->marginal(j));
  Diagnosis out;
  out.rows = state_->rows;
  out.has_target = s.known > 0;
  out.gate_entropy = share_of(s.entropy, s.weight);
  out.member_spread = share_of(s.spread, s.weight);
  out.boundary_share = share_of(s.boundary, s.weight);
  out.outlier_share = share_of(s.outlier, s.known);
  std::vector<std::vector<RegionColumn>> columns;
  parallel_for(2, compute, [&](std::size_t task) {
    if (task == 0)
      columns = s.columns.columns(model_.schema);
    else
      out.rules = state_->rules.rules();
  });
  for (uword k = 0; k < s.region.size(); ++k) {
    const Sums::RegionSums& sums = s.region[k];
    Region r;
    r.share = share_of(sums.gate, s.weight);
    r.effective_rows = sums.responsibility;
    r.rows_won = share_of(sums.won, s.weight);
    for (uword j = 0; j < experts.size(); ++j) {
      const Unit unit = target_unit(model_.schema.target_at(j));
      const Sums::RegionSums::OfTarget& of = sums.targets[j];
      RegionTarget t;
      if (!classes && sums.known > 0) t.mean = unit.user(of.moments.mean);
      t.sd = unit.sd * of.moments.sd();
      if (!family_traits(model_.family).log_link) t.noise = unit.sd * experts[j]->noise(k);
      const double error = share_of(of.error, sums.known);
      t.error = classes ? error : unit.sd * std::sqrt(error);
      r.targets.push_back(t);
    }
    for (const double c : sums.classes) r.class_shares.push_back(share_of(c, sums.known));
    r.columns = columns[k];
    out.regions.push_back(std::move(r));
  }
  out.routing = s.routing.report();
  fill_balance(out);
  out.coefficients = coefficients(model_);
  if (out.has_target) out.metrics = s.evaluator.metrics();
  return out;
}

}  // namespace moekit
