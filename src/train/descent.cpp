#include "train/descent.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "simd/adam.hpp"
#include "train/loss.hpp"
#include "train/parameters.hpp"
#include "train/shuffle.hpp"

namespace moekit::train {

namespace {

constexpr double kMomentum = 0.9, kSquares = 0.999, kSmall = 1e-8;  // Kingma & Ba 2015
constexpr double kAdamRate = 0.003, kSgdRate = 0.03, kRowRate = 0.02;
/// An expert with less than this share of an even load is dead; copies differ from what they copy by this
/// much; in the last part of the epochs nobody begins again.
constexpr double kDeadLoad = 0.01, kCopyNoise = 0.05, kReseedUntil = 0.7;
constexpr double kComparing = 0.5;  // of the updates see two picks where one is asked for
constexpr std::uint64_t kReseedStream = 0x72657365;
constexpr std::uint64_t kWatched =
    64;  // batches between two looks at whether to stop, beside those after epochs

double batch_weight(const BlockData& rows) {
  if (rows.weight.empty()) return static_cast<double>(rows.rows);
  return std::accumulate(rows.weight.begin(), rows.weight.end(), 0.0);
}

class Descent {
 public:
  Descent(Mixture& m, const Schema& schema, const Source& source, const FitOptions& options,
          const Penalty& penalty, const Compute& compute, const Watch& watch, Unit unit)
      : m_(m),
        schema_(schema),
        source_(source),
        options_(options),
        gradient_options_(options.gradient),
        compute_(compute),
        watch_(watch),
        unit_(std::move(unit)),
        best_(m),
        objective_(m, options.gradient, options.seed),
        shuffle_(source, options.seed, options.gradient.batch_size) {
    set_penalty(m_, penalty);
    sparse_ = m.experts->part_count() > 0;
    const std::size_t size = objective_.parameters() + objective_.noise_parameters();
    gradient_.resize(size);
    first_.assign(size, 0.0);
    if (options.method == Method::adam) second_.assign(size, 0.0);
    load_.assign(m.count(), 0.0);
  }

  EmResult run();

 private:
  double schedule() const;
  double rate() const;
  uword picks_in_training() const;
  void update(double weight);
  double sparse_update(const Batch& batch);
  void move(double* values, std::size_t at, std::size_t n, double decay);
  double epoch(int index);
  void step(const BlockData& rows, Batch& batch);
  void visit(Archive& archive);
  void save();
  bool ends(double climbed);
  double held_out() const;
  void reseed(int epoch);
  void finish();

  Mixture& m_;
  const Schema& schema_;
  const Source& source_;
  const FitOptions& options_;
  const GradientOptions& gradient_options_;
  const Compute& compute_;
  const Watch& watch_;
  Unit unit_;
  Mixture best_;  // on the held-out rows
  double best_score_ = -arma::datum::inf;
  int best_epoch_ = 0;
  Objective objective_;
  Shuffle shuffle_;
  std::vector<double> gradient_, first_, second_;  // by parameter; second_: Adam's only
  std::vector<double> load_;                       // of the epoch, by expert
  std::uint64_t batches_ = 0;                      // of the epoch so far
  double sum_ = 0, weight_ = 0;                    // what they climbed, and of how much weight
  double slots_ = 0, dropped_ = 0;
  simd::AdamStep step_now_{.momentum = kMomentum, .squares = kSquares, .small = kSmall};
  std::uint64_t step_ = 0, steps_ = 0;
  bool sparse_ = false;  // the experts step by themselves
  bool stop_ = false;    // as soon as the epoch is done with
  int reseeded_ = 0, last_reseed_ = 0;
  EmResult result_;
};

/// What the schedule leaves of the first rate.
double Descent::schedule() const {
  if (!gradient_options_.cosine) return 1;
  const double part = static_cast<double>(step_) / static_cast<double>(std::max<std::uint64_t>(1, steps_));
  return 0.5 * (1 + std::cos(std::numbers::pi * part));
}

double Descent::rate() const {
  const double usual = options_.method == Method::adam ? kAdamRate : kSgdRate;
  return schedule() * (gradient_options_.learning_rate > 0 ? gradient_options_.learning_rate : usual);
}

/// values (n) move against gradient_, whose places begin at `at`.
void Descent::move(double* values, std::size_t at, std::size_t n, double decay) {
  if (!second_.empty()) {
    step_now_.decay = decay;
    simd::adam(step_now_, &gradient_[at], &first_[at], &second_[at], values, n);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    first_[at + i] = kMomentum * first_[at + i] + step_now_.scale * gradient_[at + i];
    values[i] -= decay * values[i] + step_now_.rate * first_[at + i];
  }
}

/// A step up the slope in gradient_, a sum over rows of this weight.
void Descent::update(double weight) {
  const vec all(gradient_.data(), gradient_.size(), false, true);
  const double norm = std::sqrt(arma::dot(all, all)) / weight;
  const double clip = gradient_options_.clip;
  step_now_.scale = -(clip > 0 && norm > clip ? clip / norm : 1.0) / weight;
  const double now = rate(), t = static_cast<double>(step_ + 1);
  step_now_.rate = second_.empty() ? now : now / (1 - std::pow(kMomentum, t));
  step_now_.seen = 1 - std::pow(kSquares, t);
  const double decay = now * gradient_options_.weight_decay;
  std::size_t at = 0;
  for (const Field& f : m_.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    if (f.kind == Field::Kind::free) {
      move(f.values.data(), at, f.values.size(), decay);
    } else {
      for (std::size_t i = 0; i < f.values.size(); ++i) {
        double log = std::log(f.values[i]);
        move(&log, at + i, 1, 0);
        f.values[i] = std::clamp(std::exp(log), f.least, f.most);
      }
    }
    at += f.values.size();
  }
  move(objective_.noise().memptr(), at, objective_.noise_parameters(), 0);
  ++step_;
}

/// One pick has the weight 1 whatever the gate says, so the gate would never learn which expert is better.
/// First there are two.
uword Descent::picks_in_training() const {
  const bool alone = m_.routing.top_k == 1 && options_.shared_experts == 0;
  const double done = static_cast<double>(step_) / static_cast<double>(steps_);
  return alone && done < kComparing ? 2 : m_.routing.top_k;
}

/// Of a network that is too large for a gradient of all its parameters.
double Descent::sparse_update(const Batch& batch) {
  const double given = gradient_options_.learning_rate, rows = schedule() * (given > 0 ? given : kRowRate);
  const double value = m_.experts->sparse_step(
      batch, {rows, schedule() * kAdamRate, rows * gradient_options_.weight_decay, compute_.threads});
  ++step_;
  return value;
}

void Descent::step(const BlockData& rows, Batch& batch) {
  m_.prepare(schema_, rows.view(), batch);
  if (sparse_) {
    sum_ += sparse_update(batch);
    weight_ += batch_weight(rows);
    return;
  }
  // The prior's slope first, times the batch's share of the rows.
  std::fill(gradient_.begin(), gradient_.end(), 0.0);
  add_prior_gradient(m_, objective_.gate_parameters(), std::span(gradient_).first(objective_.parameters()));
  vec all(gradient_.data(), gradient_.size(), false, true);
  all *= batch_weight(rows) / schema_.total_weight;
  const uword picks = std::exchange(m_.routing.top_k, picks_in_training());
  const double value = objective_.add(m_, batch, gradient_);
  m_.routing.top_k = picks;
  const double own = arma::accu(objective_.weights());
  if (!(own > 0)) return;
  sum_ += value;
  weight_ += own;
  update(own);
  if (wants(gradient_options_, Balance::bias)) objective_.router().balance_step(m_.routing, schedule());
  for (std::size_t k = 0; k < load_.size(); ++k) {
    load_[k] += objective_.router().counts()[k];
    slots_ += objective_.router().counts()[k];
  }
  dropped_ += objective_.router().dropped();
}

/// One pass over the rows, or the rest of one; what was climbed, a unit of weight.
double Descent::epoch(int index) {
  shuffle_.begin_epoch(static_cast<std::uint64_t>(index));
  BlockData rows;
  Batch batch;
  for (std::uint64_t i = 0; i < batches_; ++i) shuffle_.next(rows);
  while (shuffle_.next(rows)) {
    step(rows, batch);
    ++batches_;
    if (!unit_.active()) continue;
    const bool stop = batches_ % kWatched == 0 && watch_ &&
                      !watch_(index + 1, result_.trace.empty() ? 0 : result_.trace.back());
    if (stop || unit_.due()) save();
    if (stop) unit_.halt();
  }
  unit_.count_pass();
  const double climbed = weight_ > 0 ? sum_ / weight_ : 0;
  batches_ = 0;
  sum_ = weight_ = 0;
  return climbed;
}

void Descent::visit(Archive& archive) {
  archive_mixture(archive, m_);
  archive_mixture(archive, best_);
  archive_result(archive, result_);
  for (std::vector<double>* v : {&first_, &second_, &load_}) archive.fixed(std::span(*v));
  archive.fixed(std::span(objective_.noise().memptr(), objective_.noise().n_elem));
  archive.fixed(objective_.router().load());
  archive(best_score_, best_epoch_, batches_, sum_, weight_, slots_, dropped_, step_, reseeded_, last_reseed_,
          objective_.router().calls());
  Archive::require(batches_ <= shuffle_.batches());
}

void Descent::save() {
  unit_.mark([&](Archive& archive) { visit(archive); });
}

double Descent::held_out() const {
  double total[2] = {0, 0};
  sum_over(*options_.validation, compute_, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
      posterior(m_, schema_, block, *work);
      for (uword i = 0; i < block.rows; ++i) {
        const double w = block.weight ? block.weight[i] : 1.0;
        sums[0] += w * work->log_likelihood[i];
        sums[1] += w;
      }
    };
  });
  return total[1] > 0 ? total[0] / total[1] : 0;
}

/// Experts that hardly a row goes to begin again as copies of the busiest, one each in turn.
void Descent::reseed(int epoch) {
  const uword experts = m_.count();
  double mean = 0;
  for (const double l : load_) mean += l / static_cast<double>(experts);
  std::vector<uword> from(experts), dead, busy(experts);
  for (uword k = 0; k < experts; ++k) {
    from[k] = busy[k] = k;
    if (load_[k] < kDeadLoad * mean) dead.push_back(k);
  }
  if (dead.empty() || !(mean > 0)) return;
  std::stable_sort(busy.begin(), busy.end(), [&](uword a, uword b) { return load_[a] > load_[b]; });
  for (std::size_t j = 0; j < dead.size(); ++j)
    from[dead[j]] = busy[j % std::max<std::size_t>(1, busy.size() - dead.size())];
  m_.select(from);
  Rng rng(options_.seed, kReseedStream, static_cast<std::uint64_t>(epoch));
  std::size_t at = objective_.gate_parameters();
  for (uword k = 0; k < experts; ++k)
    for (const Field& f : m_.experts->fields(k)) {
      if (f.kind == Field::Kind::fixed) continue;
      for (double& v : f.values) {
        if (from[k] != k) {
          if (f.kind == Field::Kind::free) v *= 1 + kCopyNoise * rng.normal();
          first_[at] = 0;
        }
        ++at;
      }
    }
  reseeded_ += static_cast<int>(dead.size());
  last_reseed_ = epoch + 1;
}

void Descent::finish() {
  settle_noise(m_, schema_, source_, compute_, gradient_options_.loss);
  em_pass(m_, schema_, source_, compute_, result_.sums);
  result_.log_likelihood = result_.sums.log_likelihood;
  result_.objective = result_.sums.joint() + log_prior(m_);
  if (!moving_parameters(m_).is_finite()) result_.objective = arma::datum::nan;
  if (reseeded_ > 0)
    result_.notes.push_back("experts that no row went to began again as copies of the busiest " +
                            std::to_string(reseeded_) + (reseeded_ == 1 ? " time" : " times") +
                            ", last after epoch " + std::to_string(last_reseed_));
  if (dropped_ > 0)
    result_.notes.push_back("capacity: " + std::to_string(100 * dropped_ / slots_) +
                            " % of the picks of training found their expert full and were dropped");
}

/// After an epoch: is it the last?
bool Descent::ends(double climbed) {
  if (!std::isfinite(climbed)) return true;
  stop_ = watch_ && !watch_(result_.passes, result_.trace.back());
  if (stop_ && !unit_.active()) {
    result_.status = EmResult::Status::stopped;
    return true;
  }
  if (!options_.validation) return false;
  const double score = held_out();
  if (score > best_score_) {
    best_score_ = score;
    best_epoch_ = result_.passes;
    best_ = m_;
  } else if (result_.passes - best_epoch_ >= gradient_options_.patience) {
    result_.status = EmResult::Status::converged;
    return true;
  }
  return false;
}

EmResult Descent::run() {
  const int epochs = gradient_options_.epochs;
  steps_ = shuffle_.batches() * static_cast<std::uint64_t>(epochs);
  unit_.resume([&](Archive& archive) { visit(archive); });
  while (result_.passes < epochs) {
    const int index = result_.passes;
    if (batches_ == 0) std::fill(load_.begin(), load_.end(), 0.0);
    const double climbed = epoch(index);
    result_.passes = index + 1;
    result_.trace.push_back(climbed * schema_.total_weight);
    if (ends(climbed)) break;
    if (gradient_options_.reseed && objective_.router().routed() &&
        index + 1 < kReseedUntil * static_cast<double>(epochs))
      reseed(index);
    if (stop_ || unit_.due()) save();
    if (stop_) unit_.halt();
  }
  if (options_.validation) {
    m_ = std::move(best_);
    result_.notes.push_back("the parameters are those after epoch " + std::to_string(best_epoch_) + " of " +
                            std::to_string(result_.passes) + ", the best on the held-out rows");
  }
  finish();
  return std::move(result_);
}

}  // namespace

EmResult run_descent(Mixture& mixture, const Schema& schema, const Source& source, const FitOptions& options,
                     const Penalty& penalty, const Compute& compute, const Watch& watch, Unit unit) {
  return Descent(mixture, schema, source, options, penalty, compute, watch, std::move(unit)).run();
}

}  // namespace moekit::train
