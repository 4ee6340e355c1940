#include "train/lbfgs.hpp"

#include <lbfgs.h>

#include <cmath>
#include <exception>
#include <memory>

#include "train/loss.hpp"
#include "train/parameters.hpp"

namespace moekit::train {

namespace {

/// Corrections that stand for the Hessian; a stretch between two updates of the penalties.
constexpr int kCorrections = 12, kStretch = 40;
/// Iterations over which the gain is looked at: one alone can be small by chance.
constexpr int kWindow = 4;

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
  bool evidence() const {
    return options_.penalty.mode == Penalty::Mode::evidence && m_.experts->closed_step() &&
           m_.gate->closed_step() && gradient_.loss == Loss::likelihood;
  }
  void refresh_penalties();
  bool stretch(int most);
  void sum_rows(Mixture& at, std::span<double> total);
  double evaluate(const double* x, double* g);
  void visit(Archive& archive);
  void mark();
  bool resume();
  void begin_stretch();
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
  uword size_ = 0;
  double weight_ = 0, small_ = 0;
  double prior_ = 0;            // at the last evaluation
  std::vector<double> values_;  // of the accepted iterations of a stretch
  int stretch_ = 0;
  bool settled_ = false, stopped_ = false;
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
  archive(weight_, small_, prior_, stretch_, settled_, last_);
}

/// The place where the stretch began, and what was evaluated since.
void LbfgsRun::mark() {
  unit_.mark([&](Archive& archive) { archive(begin_, known_); });
}

/// At the beginning of a stretch: an interrupted one, or a new one.
bool LbfgsRun::resume() {
  const bool resumed = unit_.resume([&](Archive& archive) { archive(begin_, known_); });
  if (!resumed) return false;
  Archive archive(begin_);
  visit(archive);
  return true;
}

void LbfgsRun::begin_stretch() {
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

/// Minus the objective and its gradient.
double LbfgsRun::evaluate(const double* x, double* g) {
  Mixture at = m_;
  const vec values(const_cast<double*>(x), size_, false, true);
  set_moving_parameters(at, values);
  const std::size_t size = values.n_elem;
  std::vector<double> total(size + 2, 0.0);
  sum_rows(at, total);
  ++result_.passes;
  weight_ = total[size + 1];
  small_ = std::max(options_.tolerance * weight_, options_.enough);
  add_prior_gradient(at, gate_parameters(at), std::span(total).first(size));
  for (std::size_t i = 0; i < size; ++i) g[i] = -total[i];
  // Below its least value a parameter changes nothing.
  std::size_t place = 0;
  for (const Field& f : at.fields()) {
    if (f.kind == Field::Kind::fixed) continue;
    for (std::size_t i = 0; i < f.values.size(); ++i, ++place)
      if (f.kind == Field::Kind::positive && f.least > 0 && x[place] < std::log(f.least)) g[place] = 0;
  }
  prior_ = log_prior(at);
  const double objective = total[size] + prior_;
  return std::isfinite(objective) ? -objective : 1e300;
}

int LbfgsRun::progress(double value) {
  values_.push_back(value);
  result_.penalised.push_back(-value);
  result_.trace.push_back(-value - prior_);
  result_.stretch.push_back(stretch_);
  if (!watch(-value)) stopped_ = true;
  const std::size_t n = values_.size();
  settled_ = n > kWindow && values_[n - 1 - kWindow] - value < small_;
  return stopped_ || settled_ || result_.passes >= options_.max_passes;
}

/// Up to `most` iterations at constant penalties; false when nothing improves any more.
bool LbfgsRun::stretch(int most) {
  const vec start = moving_parameters(m_);
  ++stretch_;
  const int size = static_cast<int>(start.n_elem);
  if (size == 0) return false;
  struct Free {
    void operator()(double* p) const { lbfgs_free(p); }
  };
  const std::unique_ptr<double, Free> x(lbfgs_malloc(size));
  std::copy(start.begin(), start.end(), x.get());
  lbfgs_parameter_t parameters;
  lbfgs_parameter_init(&parameters);
  parameters.m = kCorrections;
  parameters.epsilon = 1e-12;
  parameters.max_iterations = most;
  values_.clear();
  settled_ = false;
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
  set_moving_parameters(m_, vec(x.get(), start.n_elem));
  return values_.size() > 1;
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
  size_ = moving_parameters(m_).n_elem;
  for (bool resumed = resume();; resumed = false) {
    if (!resumed) {
      if (evidence()) refresh_penalties();
      begin_stretch();
    }
    used_ = 0;
    const bool moved = stretch(evidence() ? kStretch : options_.max_passes);
    if (stopped_ || result_.passes >= options_.max_passes) break;
    PassSums sums;
    em_pass(m_, schema_, source_, compute_, sums);
    const double change = std::abs(sums.joint() - last_);
    last_ = sums.joint();
    if (!evidence() || (!moved && change < 10 * small_) || (settled_ && change < 10 * small_)) {
      result_.status = EmResult::Status::converged;
      break;
    }
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
