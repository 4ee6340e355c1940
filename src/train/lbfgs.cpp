#include "train/lbfgs.hpp"

#include <lbfgs.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <memory>
#include <optional>

#include "train/loss.hpp"
#include "train/metric.hpp"
#include "train/parameters.hpp"

namespace moekit::train {

namespace {

/// Corrections that stand for the Hessian; evaluations that a line search may take.
constexpr int kCorrections = 12, kLineSearch = 20;
/// Most iterations of a stretch. Under the evidence the first ones are short, as penalties change most then.
constexpr int kStretch = 40, kFirstStretch = 5;
/// Iterations over which the gain is looked at: one alone can be small by chance.
constexpr int kWindow = 4;
/// Passes of EM that a climb opens with.
constexpr int kOpening = 24;
constexpr std::uint64_t kOpeningPart = 1, kEndPart = 2;
/// Log units that a stretch gains at least, or EM goes on: less says nothing, but steps of EM find out soon
/// whether there is more to come.
constexpr double kWorthStretch = 0.01;
/// Of the tolerance of EM, where its passes cannot be the end.
constexpr double kStricter = 0.01;

class LbfgsRun {
 public:
  LbfgsRun(Mixture& m, const Schema& schema, const Source& source, const EmOptions& options,
           const GradientOptions& gradient, const Compute& compute, const Watch& watch, Unit unit)
      : m_(m),
        schema_(schema),
        source_(source),
        options_(options),
        gradient_(gradient),
        compute_(compute),
        watch_(watch),
        unit_(std::move(unit)) {}

  EmResult run();

 private:
  /// Does EM climb the same?
  bool closed() const {
    return m_.experts->closed_step() && m_.gate->closed_step() && gradient_.loss == Loss::likelihood;
  }
  bool evidence() const { return options_.penalty.mode == Penalty::Mode::evidence && closed(); }
  /// Can passes of EM stand among its own?
  bool passes_of_em() const {
    const bool balanced = std::ranges::any_of(
        gradient_.balance, [](Balance b) { return b != Balance::automatic && b != Balance::none; });
    return closed() && !m_.routing.active(m_.count()) && !balanced && gradient_.z_loss == 0;
  }
  /// Has the likelihood kinks where it is highest?
  bool kinked() const { return family_traits(m_.experts->name()).kink; }
  int longest() const;
  bool spent() const { return stopped_ || result_.passes >= options_.max_passes; }
  void em(int passes, std::uint64_t part);
  void refresh_penalties();
  void begin();
  bool stretch();
  void sum_rows(Mixture& at, std::span<double> total);
  double objective(Mixture& at, const vec& values, vec& slope);
  double evaluate(const double* z, double* g);
  void visit(Archive& archive);
  void mark();
  bool resume();
  void remember();
  bool watch(double value);
  int progress(double value);
  void finish();

  Mixture& m_;
  const Schema& schema_;
  const Source& source_;
  const EmOptions& options_;
  const GradientOptions& gradient_;
  const Compute& compute_;
  const Watch& watch_;
  EmResult result_;
  double weight_ = 0, small_ = 0;
  double prior_ = 0;  // at the last evaluation
  // Of a stretch: where it began, minus the objective there and after the accepted iterations, the variables
  // in which it goes, the bounds of the parameters, and those that stay at theirs.
  vec origin_;
  std::vector<double> values_;
  std::optional<Metric> metric_;
  Bounds bounds_;
  std::vector<bool> held_;
  bool met_bound_ = false;       // did the last evaluation cross one?
  int stretch_ = 0, begun_ = 0;  // penalties in force; stretches of L-BFGS
  bool opened_ = false, stopped_ = false;
  std::exception_ptr failure_;
  double last_ = -arma::datum::inf;  // joint log-likelihood after the last stretch
  // The state when this stretch began, the sums over the rows of its evaluations, and how many of those were
  // used.
  std::vector<double> known_;
  std::string begin_;
  std::size_t used_ = 0;
  bool again_ = false;  // was the last evaluation one of those?
  Unit unit_;
};

/// The first evaluations of a stretch do without the later ones, so there may be a limit.
constexpr std::size_t kMostKnown = std::size_t{1} << 24;

/// Where a stretch begins.
void LbfgsRun::visit(Archive& archive) {
  archive_mixture(archive, m_);
  archive_result(archive, result_);
  archive(weight_, small_, prior_, stretch_, begun_, opened_, last_);
}

/// The place where the stretch began, and what was evaluated since.
void LbfgsRun::mark() {
  unit_.mark([&](Archive& archive) { archive(begin_, known_); });
}

/// Goes on where an interrupted stretch began.
bool LbfgsRun::resume() {
  const bool resumed = unit_.resume([&](Archive& archive) { archive(begin_, known_); });
  if (!resumed) return false;
  Archive archive(begin_);
  visit(archive);
  return true;
}

void LbfgsRun::remember() {
  known_.clear();
  if (!unit_.active()) return;
  Archive archive;
  visit(archive);
  begin_ = archive.take();
}

/// Of the objective: its gradient, its value and the weight of the rows.
void LbfgsRun::sum_rows(Mixture& at, std::span<double> total) {
  again_ = known_.size() - used_ >= total.size();
  if (again_) {
    std::copy_n(known_.begin() + static_cast<std::ptrdiff_t>(used_), total.size(), total.begin());
    used_ += total.size();
    return;
  }
  const std::size_t size = total.size() - 2;
  sum_over(source_, compute_, total, [&]() -> Adder {
    return [&, work = std::make_shared<Objective>(at, gradient_, 0), batch = std::make_shared<Batch>()](
               const Block& block, std::span<double> sums) {
      at.prepare(schema_, block, *batch);
      sums[size] += work->add(at, *batch, sums.first(size));
      sums[size + 1] += arma::accu(work->weights());
    };
  });
  unit_.count_pass();
  if (!unit_.active() || known_.size() + total.size() > kMostKnown) return;
  known_.insert(known_.end(), total.begin(), total.end());
  used_ = known_.size();
  if (unit_.due()) mark();
}

bool LbfgsRun::watch(double value) {
  if (again_ || !watch_ || watch_(result_.passes, value)) return true;
  mark();
  unit_.halt();
  return false;
}

double LbfgsRun::objective(Mixture& at, const vec& values, vec& slope) {
  set_moving_parameters(at, values);
  const std::size_t size = values.n_elem;
  std::vector<double> total(size + 2, 0.0);
  sum_rows(at, total);
  ++result_.passes;
  weight_ = total[size + 1];
  const double share = evidence() || passes_of_em() ? 1 : kStricter;
  small_ = std::max(share * options_.tolerance * weight_, options_.enough);
  add_prior_gradient(at, gate_parameters(at), std::span(total).first(size));
  slope = vec(total.data(), size);
  prior_ = log_prior(at);
  return total[size] + prior_;
}

/// Minus the objective and its gradient, in the variables of the stretch.
double LbfgsRun::evaluate(const double* z, double* g) {
  Mixture at = m_;
  const vec values = origin_ + metric_->step(z);
  vec slope;
  const double reached = objective(at, values, slope);
  met_bound_ = false;
  for (uword i = 0; i < values.n_elem; ++i) {
    // Beyond its bounds a parameter changes nothing.
    const bool beyond = values[i] < bounds_.least[i] || values[i] > bounds_.most[i];
    if (beyond || held_[i]) slope[i] = 0;
    met_bound_ |= beyond && !held_[i];
  }
  metric_->slope(-slope, g);
  return std::isfinite(reached) ? -reached : 1e300;
}

int LbfgsRun::progress(double value) {
  values_.push_back(value);
  result_.penalised.push_back(-value);
  result_.trace.push_back(-value - prior_);
  result_.stretch.push_back(stretch_);
  if (!watch(-value)) stopped_ = true;
  const std::size_t n = values_.size();
  // Parameters that have just met their bounds are to stay there.
  return spent() || met_bound_ || (n > kWindow && values_[n - 1 - kWindow] - value < small_);
}

/// The variables of a stretch from here.
void LbfgsRun::begin() {
  origin_ = moving_parameters(m_);
  bounds_ = bounds_of_parameters(m_);
  Mixture at = m_;
  vec slope;
  values_ = {-objective(at, origin_, slope)};
  held_.assign(origin_.n_elem, false);
  for (uword i = 0; i < origin_.n_elem; ++i)
    held_[i] =
        (origin_[i] <= bounds_.least[i] && slope[i] < 0) || (origin_[i] >= bounds_.most[i] && slope[i] > 0);
  metric_.emplace(m_, schema_, source_, compute_, held_);
}

int LbfgsRun::longest() const {
  if (!evidence()) return kStretch;
  return begun_ < 4 ? std::min(kStretch, kFirstStretch << begun_) : kStretch;
}

/// Some iterations at constant penalties; false when they gain next to nothing.
bool LbfgsRun::stretch() {
  const int most = longest();
  begin();
  ++stretch_;
  ++begun_;
  const int size = static_cast<int>(origin_.n_elem);
  if (size == 0) return false;
  struct Free {
    void operator()(double* p) const { lbfgs_free(p); }
  };
  const std::unique_ptr<double, Free> x(lbfgs_malloc(size));
  std::fill_n(x.get(), size, 0.0);
  lbfgs_parameter_t parameters;
  lbfgs_parameter_init(&parameters);
  parameters.m = kCorrections;
  parameters.epsilon = 1e-12;
  parameters.max_iterations = most;
  parameters.max_linesearch = kLineSearch;
  double value = 0;
  const auto evaluate = [](void* self, const double* at, double* g, const int, const double) {
    auto& run = *static_cast<LbfgsRun*>(self);
    try {
      if (!run.failure_) return run.evaluate(at, g);
    } catch (...) {  // no exception may pass through the library
      run.failure_ = std::current_exception();
    }
    return 1e300;
  };
  const auto progress = [](void* self, const double*, const double*, const double fx, const double,
                           const double, const double, int, int, int) {
    auto& run = *static_cast<LbfgsRun*>(self);
    try {
      return run.progress(fx);
    } catch (...) {
      run.failure_ = std::current_exception();
    }
    return 1;
  };
  lbfgs(size, x.get(), &value, evaluate, progress, this, &parameters);
  if (failure_) std::rethrow_exception(failure_);
  set_moving_parameters(m_, origin_ + metric_->step(x.get()));
  return met_bound_ || values_.front() - values_.back() > small_;
}

/// Goes on with passes of EM, which a checkpoint knows as a part of this climb.
void LbfgsRun::em(int passes, std::uint64_t part) {
  EmOptions options = options_;
  options.max_passes = std::min(passes, options_.max_passes - result_.passes);
  const int before = result_.passes;
  const Watch watch = [&](int pass, double value) { return !watch_ || watch_(before + pass, value); };
  EmResult climbed = run_em(m_, schema_, source_, options, compute_, watch, unit_.part(part));
  for (int& s : climbed.stretch) s += stretch_;
  if (!climbed.stretch.empty()) stretch_ = climbed.stretch.back() + 1;
  const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(result_.trace, climbed.trace);
  append(result_.penalised, climbed.penalised);
  append(result_.stretch, climbed.stretch);
  result_.passes += climbed.passes;
  result_.status = climbed.status;
  stopped_ = climbed.status == EmResult::Status::stopped;
}

/// The evidence's precisions from an EM update at this place, which itself is not moved.
void LbfgsRun::refresh_penalties() {
  PassSums sums;
  em_pass(m_, schema_, source_, compute_, sums);
  ++result_.passes;
  const vec here = moving_parameters(m_);
  Penalty penalty = options_.penalty;
  penalty.refresh = true;
  m_.gate->update(sums.gate, penalty);
  m_.experts->update(sums.experts, penalty);
  set_moving_parameters(m_, here);
}

void LbfgsRun::finish() {
  em_pass(m_, schema_, source_, compute_, result_.sums);
  result_.log_likelihood = result_.sums.log_likelihood;
  result_.objective = result_.sums.joint() + log_prior(m_);
  if (!moving_parameters(m_).is_finite()) result_.objective = arma::datum::nan;
  if (!result_.trace.empty()) return;
  // Where no step gained anything the beginning is the one accepted pass.
  result_.trace.push_back(result_.sums.joint());
  result_.penalised.push_back(result_.objective);
  result_.stretch.push_back(stretch_);
}

EmResult LbfgsRun::run() {
  set_penalty(m_, options_.penalty);
  bool resumed = resume();
  if (!opened_ && passes_of_em()) em(kOpening, kOpeningPart);
  opened_ = true;
  bool done = result_.status == EmResult::Status::converged;
  while (!done && !spent()) {
    if (!resumed) {
      if (evidence()) refresh_penalties();
      remember();
    }
    resumed = false;
    used_ = 0;
    const bool moved = stretch();
    if (spent()) break;
    const double joint = -values_.back() - log_prior(m_), change = std::abs(joint - last_);
    last_ = joint;
    done = !moved && (!evidence() || change < 10 * small_);
    if (done) result_.status = EmResult::Status::converged;
    const bool idle = values_.front() - values_.back() < kWorthStretch && !met_bound_;
    if (!passes_of_em() || !(kinked() || (!evidence() && (done || idle)))) continue;
    // Where the likelihood has kinks, or a gate becomes a step, EM comes further.
    mark();
    em(options_.max_passes, kEndPart);
    break;
  }
  if (stopped_) result_.status = EmResult::Status::stopped;
  settle_noise(m_, schema_, source_, compute_, gradient_.loss);
  finish();
  return std::move(result_);
}

}  // namespace

EmResult run_lbfgs(Mixture& mixture, const Schema& schema, const Source& source, const EmOptions& options,
                   const GradientOptions& gradient, const Compute& compute, const Watch& watch, Unit unit) {
  return LbfgsRun(mixture, schema, source, options, gradient, compute, watch, std::move(unit)).run();
}

}  // namespace moekit::train
