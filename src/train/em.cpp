#include "train/em.hpp"

#include <algorithm>
#include <cmath>

#include "train/parameters.hpp"

namespace moekit::train {

namespace {

/// Penalties are updated in every cycle; with many parameters in each of the first, then in one of three.
constexpr uword kMany = 200;
constexpr int kEveryCycle = 12, kThen = 3;

/// Under top-k routing an expert that a row does not ask learns nothing from it, and the first picks would
/// stay. So at first so many times more experts are asked, for so many passes; then half as many, until k.
constexpr uword kWiden = 4;
constexpr int kWidePasses = 8;

/// A mixture with the sums of a pass at its parameters.
struct State {
  Mixture mixture;
  PassSums sums;
  double objective = 0;
};

class EmRun {
 public:
  EmRun(const Schema& schema, const Source& source, const EmOptions& options, const Compute& compute,
        const Watch& watch, Unit unit)
      : schema_(schema),
        source_(source),
        options_(options),
        compute_(compute),
        watch_(watch),
        unit_(std::move(unit)) {}

  EmResult run(Mixture& mixture);

 private:
  void evaluate(State& state);
  void accept(const State& state);
  void begin(State& state, double& last);
  void visit(Archive& archive, State& state, double& last);
  bool evidence() const { return options_.penalty.mode == Penalty::Mode::evidence; }
  bool spent() const { return stopped_ || result_.passes >= options_.max_passes; }
  Mixture updated(const State& from, bool refresh) const;
  bool em_step(State& state, bool refresh, double& start);
  bool settle(const State& from, State& candidate);
  bool cycle(State& state);
  bool extrapolate(const vec& before, State& middle, State& state);
  void widen(Mixture& mixture, uword times);
  void ask(Mixture& mixture) const;
  bool narrow(State& state, double& last);
  bool wide_enough() const {
    return result_.passes - wide_since_ >= std::min(kWidePasses, options_.max_passes / 4);
  }

  const Schema& schema_;
  const Source& source_;
  const EmOptions& options_;
  const Compute& compute_;
  const Watch& watch_;
  Unit unit_;
  EmResult result_;
  bool stopped_ = false;
  int stretch_ = 0, cycles_ = 0;
  bool refreshed_ = false, refresh_next_ = false;  // were penalties updated in the last cycle; must they be
  double longest_ = 4;                             // longest extrapolation, adapted
  uword picks_ = 0;                                // a row, in the end
  uword wide_ = 1;                                 // times that many now
  int wide_since_ = 0;                             // passes before
  double gain_ = 0;  // of the last cycle, at constant penalties; infinite if it was cut short
};

void EmRun::evaluate(State& state) {
  em_pass(state.mixture, schema_, source_, compute_, state.sums);
  state.objective = state.sums.joint() + log_prior(state.mixture);
  // A parameter that is not a number must not hide behind the other experts' densities.
  if (!moving_parameters(state.mixture).is_finite()) state.objective = arma::datum::nan;
  ++result_.passes;
  unit_.count_pass();
  if (watch_ && !watch_(result_.passes, state.sums.log_likelihood)) {
    unit_.halt();
    stopped_ = true;
  }
}

void EmRun::accept(const State& state) {
  result_.trace.push_back(state.sums.joint());
  result_.penalised.push_back(state.objective);
  result_.stretch.push_back(stretch_);
}

Mixture EmRun::updated(const State& from, bool refresh) const {
  Mixture next = from.mixture;
  Penalty penalty = options_.penalty;
  penalty.refresh = refresh;
  next.gate->update(from.sums.gate, penalty);
  next.experts->update(from.sums.experts, penalty);
  return next;
}

/// Halves the step until the objective does not fall; false if no step helps.
bool EmRun::settle(const State& from, State& candidate) {
  constexpr int kHalvings = 12;
  const double slack = 1e-10 * (1 + std::abs(from.objective));
  Mixture start = from.mixture;
  for (int halving = 0;; ++halving) {
    if (std::isfinite(candidate.objective) && candidate.objective >= from.objective - slack) return true;
    if (halving == kHalvings || spent()) return false;
    const vec middle = 0.5 * (moving_parameters(start) + moving_parameters(candidate.mixture));
    set_moving_parameters(candidate.mixture, middle);
    evaluate(candidate);
  }
}

/// `start` is the objective before the step, under the penalties after it.
bool EmRun::em_step(State& state, bool refresh, double& start) {
  State next{updated(state, refresh), {}, 0};
  if (refresh) {
    // The objective changes with the penalties: what is compared is the old place under the new ones.
    ++stretch_;
    copy_penalties(next.mixture, state.mixture);
    state.objective = state.sums.joint() + log_prior(state.mixture);
  }
  start = state.objective;
  evaluate(next);
  if (!settle(state, next)) return false;
  state = std::move(next);
  accept(state);
  return true;
}

/// From before, middle and the EM step after it, jumps along the curve they lie on; `state` becomes the best
/// place that is not worse than the middle. False if the plain step fails too.
bool EmRun::extrapolate(const vec& before, State& middle, State& state) {
  Mixture after = updated(middle, false);
  const vec at_middle = moving_parameters(middle.mixture), at_after = moving_parameters(after);
  const vec first = at_middle - before, second = at_after - at_middle;
  const vec curve = second - first;
  const double bend = arma::norm(curve);
  const double length = bend > 0 ? std::min(arma::norm(first) / bend, longest_) : 1.0;
  if (options_.accelerate && std::isfinite(length) && length > 1.01) {
    State jump{after, {}, 0};
    set_moving_parameters(jump.mixture, before + 2 * length * first + length * length * curve);
    evaluate(jump);
    if (std::isfinite(jump.objective) && jump.objective >= middle.objective) {
      if (length == longest_) longest_ *= 4;
      state = std::move(jump);
      accept(state);
      return true;
    }
    longest_ = std::max(2.0, longest_ / 2);
    if (spent()) return false;
  }
  State next{std::move(after), {}, 0};
  evaluate(next);
  if (!settle(middle, next)) return false;
  state = std::move(next);
  accept(state);
  return true;
}

/// Two EM steps and the extrapolation through them; false when nothing improves any more.
bool EmRun::cycle(State& state) {
  const vec before = moving_parameters(state.mixture);
  gain_ = arma::datum::inf;
  State middle = state;
  double start = 0;
  // Penalties settle sooner than parameters, and updating them costs the inverse of every curvature.
  refreshed_ =
      evidence() && (refresh_next_ || before.n_elem < kMany || cycles_ < kEveryCycle || cycles_ % kThen == 0);
  ++cycles_;
  if (!em_step(middle, refreshed_, start)) return false;
  if (spent()) {
    state = std::move(middle);
    return true;
  }
  State end = middle;
  const bool moved = extrapolate(before, middle, end);
  if (!moved) end = std::move(middle);
  if (moved || !spent()) gain_ = end.objective - start;
  state = std::move(end);
  return true;
}

void EmRun::widen(Mixture& mixture, uword times) {
  wide_ = times;
  wide_since_ = result_.passes;
  ask(mixture);
}

/// As many experts a row as are asked now.
void EmRun::ask(Mixture& mixture) const {
  if (picks_ > 0) mixture.routing.top_k = std::min(wide_ * picks_, mixture.count());
}

/// Fewer experts a row from here on; false if they are as few as they are to be.
bool EmRun::narrow(State& state, double& last) {
  if (wide_ == 1) return false;
  widen(state.mixture, wide_ / 2);
  evaluate(state);
  ++stretch_;
  accept(state);
  last = state.sums.joint();
  refresh_next_ = false;
  return true;
}

/// The first pass, or the place where an interrupted run began its last cycle.
void EmRun::begin(State& state, double& last) {
  const RoutingRule& rule = state.mixture.routing;
  const bool by_score = rule.active(state.mixture.count()) && rule.score != RoutingRule::Score::hash;
  if (by_score) picks_ = rule.top_k;
  if (unit_.resume([&](Archive& archive) { visit(archive, state, last); })) {
    ask(state.mixture);
    return em_pass(state.mixture, schema_, source_, compute_, state.sums);
  }
  widen(state.mixture, picks_ > 0 ? kWiden : 1);
  evaluate(state);
  accept(state);
  last = state.sums.joint();
}

void EmRun::visit(Archive& archive, State& state, double& last) {
  archive_mixture(archive, state.mixture);
  archive_result(archive, result_);
  archive(state.objective, last, stretch_, cycles_, refreshed_, refresh_next_, longest_, gain_, wide_,
          wide_since_);
}

EmResult EmRun::run(Mixture& mixture) {
  State state{mixture, {}, 0};
  double last = 0;
  begin(state, last);
  while (std::isfinite(state.objective) && !spent()) {
    unit_.mark([&](Archive& archive) { visit(archive, state, last); });
    if (wide_ > 1 && wide_enough()) {
      narrow(state, last);
      continue;
    }
    if (!cycle(state)) {
      // Penalties of an earlier place can stand in the way: once more under those of this one.
      if (evidence() && !refreshed_ && !spent()) {
        refresh_next_ = true;
        continue;
      }
      if (!spent() && narrow(state, last)) continue;
      if (!spent()) result_.status = EmResult::Status::converged;
      break;
    }
    const double change = std::abs(state.sums.joint() - last);
    last = state.sums.joint();
    const double small = std::max(options_.tolerance * state.sums.weight, options_.enough);
    // At a penalised optimum the likelihood itself still has a slope: it must have settled too.
    refresh_next_ = gain_ < small && change < (evidence() ? 10 : 1) * small;
    if (refresh_next_ && (refreshed_ || !evidence())) {
      if (narrow(state, last)) continue;
      result_.status = EmResult::Status::converged;
      break;
    }
  }
  if (wide_ > 1) {
    widen(state.mixture, 1);
    em_pass(state.mixture, schema_, source_, compute_, state.sums);
    state.objective = state.sums.joint() + log_prior(state.mixture);
  }
  if (stopped_) result_.status = EmResult::Status::stopped;
  result_.log_likelihood = state.sums.log_likelihood;
  result_.objective = state.objective;
  result_.sums = std::move(state.sums);
  mixture = std::move(state.mixture);
  return std::move(result_);
}

}  // namespace

EmResult run_em(Mixture& mixture, const Schema& schema, const Source& source, const EmOptions& options,
                const Compute& compute, const Watch& watch, Unit unit) {
  return EmRun(schema, source, options, compute, watch, std::move(unit)).run(mixture);
}

}  // namespace moekit::train
