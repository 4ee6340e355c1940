#include "moekit/fit.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "collinear.hpp"
#include "fit_check.hpp"
#include "moekit/error.hpp"
#include "moekit/fit_identity.hpp"
#include "moekit/rng.hpp"
#include "moekit/version.hpp"
#include "train/committee.hpp"
#include "train/how_many.hpp"
#include "train/member_rows.hpp"
#include "train/select.hpp"

namespace moekit {

namespace {

constexpr std::uint64_t kMemberStream = 0x656e73656d;

/// What gate, experts and their noise see.
struct Bases {
  Basis gate, expert, noise;
};

/// The mixture before it has learnt anything.
Mixture prototype(const FitOptions& o, const Schema& schema, const Bases& bases, uword experts) {
  Mixture m;
  m.gate_basis = bases.gate;
  m.expert_basis = bases.expert;
  m.noise_basis = bases.noise;
  // A network of neurons is one expert, whatever its number of neurons.
  const bool network = gate_traits(o.gate).product_keys;
  Neurons neurons = network ? o.neurons : Neurons{};
  if (network) neurons.count = o.experts;
  m.gate = Value<GateFamily>(make_gate(o.gate, {experts, bases.gate.groups()}));
  m.experts = Value<ExpertFamily>(
      make_experts(family_of(o, schema),
                   {experts, bases.expert.groups(), bases.noise.groups(), schema.target.labels.size(),
                    schema.targets(), full_covariance_of(o, schema), o.hidden, neurons, schema.most_mean()}));
  m.routing.score = experts > 1 ? o.gate_score : RoutingRule::Score::softmax;
  m.routing.top_k = std::min(o.top_k, experts);
  if (o.shared_experts > 0 && o.shared_experts < experts) {
    m.routing.shared.assign(experts, 0);
    std::fill_n(m.routing.shared.begin(), o.shared_experts, std::uint8_t{1});
  }
  return m;
}

/// One note, however many they are.
void note_combinations(const std::vector<std::string>& terms, bool exact, std::vector<std::string>& notes) {
  constexpr std::size_t kNamed = 4;
  if (terms.empty()) return;
  std::string names;
  for (std::size_t i = 0; i < std::min(terms.size(), kNamed); ++i)
    names += (i ? ", '" : "'") + terms[i] + "'";
  if (terms.size() > kNamed) names += " and " + std::to_string(terms.size() - kNamed) + " more";
  const bool one = terms.size() == 1;
  notes.push_back((one ? names + " is" : std::to_string(terms.size()) + " terms (" + names + ") are each") +
                  " a combination of other inputs" +
                  (exact ? ": left out"
                   : one ? ": they share its effect"
                         : ": they share the effects"));
}

/// Notes about the columns, and bases that can be fitted: exact maximum likelihood leaves out features that
/// are combinations of others, penalties share them out.
void settle_bases(const Schema& schema, const Source& source, const Compute& compute, bool exact,
                  Bases& bases, std::vector<std::string>& notes) {
  for (const Column& c : schema.inputs) {
    if (c.missing >= 1)
      notes.push_back("column '" + c.name + "' has no value in any row: left out");
    else if (c.kind == ColumnKind::numeric ? !(c.max > c.min) : occurring(c.shares) < 2)
      notes.push_back("column '" + c.name + "' is constant: left out");
  }
  for (uword j = 0; j < schema.targets(); ++j)
    if (const Target& target = schema.target_at(j);
        target.task != Task::classification && !(target.max > target.min))
      notes.push_back("the target '" + target.name + "' is constant");
  if (schema.target.task == Task::classification && occurring(schema.target.shares) < 2)
    notes.push_back("the target '" + schema.target.name + "' has one class only");
  std::vector<std::string> combinations;
  const auto settle = [&](Basis& basis) {
    const std::vector<uword> dependent = dependent_features(basis, schema, source, compute);
    for (const uword j : dependent) {
      // Penalised fits give each level its own effect on purpose, and ramps stand beside the whole line.
      const Term::Kind kind = basis.terms()[j].kind;
      if (!exact && (kind == Term::Kind::level || kind == Term::Kind::ramp)) continue;
      const std::string name = basis.name(schema, j);
      if (std::find(combinations.begin(), combinations.end(), name) == combinations.end())
        combinations.push_back(name);
    }
    if (exact) basis = without(basis, dependent);
  };
  const Basis before = bases.expert;
  settle(bases.expert);
  for (Basis* other : {&bases.gate, &bases.noise})
    if (*other == before)
      *other = bases.expert;
    else
      settle(*other);
  note_combinations(combinations, exact, notes);
}

void sort_by_share(Mixture& mixture, const std::vector<double>& rows, double weight) {
  std::vector<uword> order(mixture.count());
  for (uword k = 0; k < order.size(); ++k) order[k] = k;
  std::stable_sort(order.begin(), order.end(), [&](uword a, uword b) { return rows[a] > rows[b]; });
  mixture.select(order);
  mixture.share.clear();
  for (const uword k : order) mixture.share.push_back(weight > 0 ? rows[k] / weight : 0);
}

/// What is still to be known of a finished fit.
struct Closing {
  double entropy = 0;   // of the responsibilities
  double doubtful = 0;  // weight of rows whose own class has a probability of at most 1/2
};

Closing close_fit(const Mixture& mixture, const Schema& schema, const Source& source,
                  const Compute& compute) {
  double total[2] = {0, 0};
  sum_over(source, compute, total, [&]() -> Adder {
    return [&, work = std::make_shared<Posterior>()](const Block& block, std::span<double> sums) {
      posterior(mixture, schema, block, *work);
      for (uword k = 0; k < work->responsibility.n_cols; ++k)
        for (uword i = 0; i < block.rows; ++i) {
          const double r = work->responsibility(i, k);
          if (r > 0) sums[0] -= (block.weight ? block.weight[i] : 1.0) * r * std::log(r);
        }
      for (uword i = 0; i < block.rows; ++i)
        if (!(work->log_likelihood[i] > std::log(0.5))) sums[1] += block.weight ? block.weight[i] : 1.0;
    };
  });
  return {total[0], total[1]};
}

void fill_criteria(Provenance& p, const Mixture& m, double weight, double entropy) {
  p.parameters = m.free_parameters();
  p.effective_parameters = m.effective_parameters();
  p.aic = -2 * p.log_likelihood + 2 * p.parameters;
  p.bic = -2 * p.log_likelihood + p.parameters * std::log(std::max(weight, 1e-300));
  p.icl = p.bic + 2 * entropy;
}

/// Starts that ended where the best one did.
int count_hits(const std::vector<train::Candidate>& all) {
  int hits = 0;
  const double best = all.front().start.log_likelihood;
  const double near = std::max(1e-2, 1e-7 * std::abs(best));
  for (const auto& c : all)
    hits += c.start.finished && !c.start.refused && std::abs(c.start.log_likelihood - best) < near;
  return hits;
}

std::string_view status_name(train::EmResult::Status s) {
  if (s == train::EmResult::Status::converged) return "converged";
  return s == train::EmResult::Status::stopped ? "stopped" : "iteration_limit";
}

/// Where the inputs tell the classes apart without error, only penalty or iterations bound the coefficients.
void note_separation(Provenance& p, const Schema& schema, const Closing& closing) {
  if (schema.target.task == Task::classification && occurring(schema.target.shares) > 1 &&
      closing.doubtful == 0)
    p.notes.push_back(
        "the inputs separate the classes without error: coefficients are as large as the penalty "
        "and the iterations let them be");
}

void record(Model& model, std::vector<train::Candidate>& all, bool stopped) {
  Provenance& p = model.provenance;
  const train::Candidate& best = all.front();
  const double unit = best.result.sums.weight * log_unit(model.schema);
  p.status = stopped ? "stopped" : status_name(best.result.status);
  p.iterations = best.result.passes;
  p.log_likelihood = best.start.log_likelihood;
  for (const double ll : best.result.trace) p.trace.push_back(ll + unit);
  p.best_hits = count_hits(all);
}

/// The best fit of as many experts as can be fitted, after that of one.
struct Search {
  std::vector<train::Candidate> all;  // best first
  std::vector<std::string> notes;
  std::vector<GrowthStep> growth;
  double single_log_likelihood = 0;
  bool stopped = false;
};

Search search_experts(const train::SearchTask& task, const Bases& bases) {
  const FitOptions& options = task.options;
  Search out;
  FitOptions single = options;
  single.initial_region.clear();
  const train::SearchTask single_task{task.schema,  task.source,       single,
                                      task.compute, task.on_iteration, task.penalty};
  std::vector<train::Candidate> one;
  const auto fit_one = [&] {
    one = train::search(single_task, prototype(options, task.schema, bases, 1), out.stopped);
    // Of a network of neurons this is the fit itself.
    if (!gate_traits(options.gate).product_keys) out.single_log_likelihood = one.front().start.log_likelihood;
  };
  // Epochs are long, and one expert is no help to the many.
  out.single_log_likelihood = arma::datum::nan;
  if (!in_batches(options.method) || options.experts == 1) fit_one();
  FitOptions many = options;
  train::Growth growth;
  bool growth_stopped = false;
  if (options.grow) {
    growth = train::grow_by_held_out(task, prototype(options, task.schema, bases, 1), growth_stopped);
    out.growth = growth.path;
    many.experts = growth.mixture.count();
    many.restarts = (options.restarts + 1) / 2;  // the growth itself has been a search
  }
  const train::SearchTask many_task{task.schema,
                                    task.source,
                                    many,
                                    task.compute,
                                    task.on_iteration,
                                    task.penalty,
                                    options.grow ? &growth.mixture : nullptr};
  uword experts = std::min<uword>(many.experts, task.source.rows());
  if (gate_traits(options.gate).product_keys) experts = many.experts = 1;
  if (task.schema.target.task == Task::classification && occurring(task.schema.target.shares) < 2)
    experts = 1;
  if (experts < many.experts)
    out.notes.push_back("there is no use for " + std::to_string(many.experts) +
                        " experts here: " + std::to_string(experts) + " are fitted");
  while (experts > 1 && !out.stopped) {
    out.all = train::search(many_task, prototype(options, task.schema, bases, experts), out.stopped);
    if (!out.all.front().start.refused || out.stopped) break;
    // One at a time would be a search for each of hundreds; half of those in the way leaves the rest a
    // chance.
    const uword fewer = std::clamp<uword>((out.all.front().degenerate + 1) / 2, 1, experts - 1);
    out.notes.push_back("every start with " + std::to_string(experts) + " experts was refused (" +
                        out.all.front().start.reason + "): " + std::to_string(experts - fewer) + " fitted");
    experts -= fewer;
    if (!options.initial_region.empty()) experts = 1;
  }
  if (out.all.empty() || out.all.front().start.refused) {
    if (one.empty()) fit_one();
    out.all = std::move(one);
  }
  out.stopped = out.stopped || growth_stopped;
  if (!std::isfinite(out.all.front().result.log_likelihood))
    throw Error(Errc::numeric, "the log-likelihood of expert 1 is not a number at iteration " +
                                   std::to_string(out.all.front().result.passes));
  return out;
}

Mixture finished_member(const Search& found, const train::SearchTask& task) {
  const train::Candidate& best = found.all.front();
  Mixture mixture = best.mixture;
  if (!gate_traits(task.options.gate).inputs) mixture.gate_basis = Basis();
  sort_by_share(mixture, best.result.sums.rows, best.result.sums.weight);
  mixture.shapes = region_shapes(mixture, task.schema, task.source, task.compute);
  return mixture;
}

/// The target as the experts' family wants it: behind a log link a regression target is scaled only.
Schema with_unit(Schema schema, const std::string& family) {
  for (uword j = 0; j < schema.targets(); ++j) {
    Target& target = schema.target_at(j);
    if (target.task != Task::regression || !family_traits(family).log_link) continue;
    target.sd = target.mean;
    target.mean = 0;
  }
  return schema;
}

/// The search that the model's figures come from: on all rows, or on those that the first member is given.
Search first_member(const train::SearchTask& task, const Bases& bases, std::vector<std::string>& notes) {
  if (!train::members_leave_out(task.options)) return search_experts(task, bases);
  const train::MemberRows rows = train::member_rows(task.options, task.source, task.options.seed, 0);
  notes.push_back(
      "each member leaves out rows of its own and stops by them: the first, which the log-likelihood is "
      "of, " +
      std::to_string(rows.held.rows()) + " of " + std::to_string(task.source.rows()));
  FitOptions options = task.options;
  if (rows.held.rows() > 0) options.validation = &rows.held;
  return search_experts({task.schema, rows.rows, options, task.compute, task.on_iteration, task.penalty},
                        bases);
}

/// Members beside the first: each is fitted to rows of its own, from starts of its own, a third as many as
/// the first had.
void add_members(const train::SearchTask& whole, const Bases& bases, Model& model) {
  std::vector<Mixture> members(static_cast<std::size_t>(whole.options.ensemble) - 1);
  std::vector<char> complete(members.size(), 0);
  std::mutex mutex;
  bool stop = false;
  const OnIteration watch = [&](const Iteration& at) {
    const std::lock_guard lock(mutex);
    if (!stop && whole.on_iteration && whole.on_iteration(at) == Next::stop) stop = true;
    return stop ? Next::stop : Next::proceed;
  };
  const auto fit_member = [&](std::size_t b, const Compute& own) {
    FitOptions options = whole.options;
    options.seed = Rng(whole.options.seed, kMemberStream, b).next();
    options.restarts = std::max(1, (options.restarts + 2) / 3);
    options.grow = false;
    options.experts = model.members.front().count();
    const train::MemberRows rows =
        train::member_rows(whole.options, whole.source, options.seed, static_cast<int>(b) + 1);
    for (std::size_t i = 0; i < options.initial_region.size(); ++i)
      options.initial_region[i] = whole.options.initial_region[rows.index[i]];
    if (rows.held.rows() > 0) options.validation = &rows.held;
    const train::SearchTask task{whole.schema, rows.rows, options, own, watch, whole.penalty};
    const Search found = search_experts(task, bases);
    members[b] = finished_member(found, task);
    complete[b] = !found.stopped;
  };
  train::for_each_start(members.size(), whole.source.rows(), whole.compute, fit_member);
  for (std::size_t b = 0; b < members.size(); ++b)
    if (complete[b]) model.members.push_back(std::move(members[b]));
  if (stop) model.provenance.status = "stopped";
}

}  // namespace

Model fit(const Schema& schema, const Source& source, const FitOptions& asked, const Compute& compute,
          const OnIteration& on_iteration, FitReport* report) {
  const auto begin = std::chrono::steady_clock::now();
  check_fit(asked, schema, source);
  const FitOptions options = settled(asked);
  Model model;
  model.family = family_of(options, schema);
  model.gate_family = options.gate;
  model.hidden = options.hidden;
  if (gate_traits(options.gate).product_keys) {
    model.neurons = options.neurons;
    model.neurons.count = options.experts;
  }
  model.full_covariance = full_covariance_of(options, schema);
  model.schema = with_unit(schema, model.family);
  Provenance& p = model.provenance;
  p.version = kVersion;
  p.seed = options.seed;
  p.fingerprint = fingerprint(schema, source, compute);
  const Penalty penalty = train::penalty_of(options, model.schema);
  const bool exact = penalty.mode == Penalty::Mode::none;
  if (penalty.noise_floor > 0)
    p.notes.push_back("the target is rounded: no expert's noise is taken below the rounding's own");
  const auto basis = [&](const BasisKind& kind, const std::vector<std::string>& columns) {
    return make_basis(kind, schema, source, columns, !exact);
  };
  Bases bases{basis(options.gate_basis, options.gate_columns),
              basis(options.expert_basis, options.expert_columns),
              basis(options.noise_basis, options.expert_columns)};
  settle_bases(schema, source, compute, exact, bases, p.notes);
  if (exact && source.rows() <= bases.expert.size()) {
    p.notes.push_back(
        "not more rows than coefficients: exact maximum likelihood does not exist, so experts are "
        "constant; --ridge auto can use the inputs");
    bases.expert = Basis();
  }

  if (options.checkpoint)
    options.checkpoint->begin(fit_identity(options, schema, source, p.fingerprint, compute));
  const train::SearchTask task{model.schema, source, options, compute, on_iteration, penalty};
  Search found = first_member(task, bases, p.notes);
  p.notes.insert(p.notes.end(), found.notes.begin(), found.notes.end());
  const std::vector<std::string>& of_best = found.all.front().result.notes;
  p.notes.insert(p.notes.end(), of_best.begin(), of_best.end());
  p.single_log_likelihood = found.single_log_likelihood;
  p.growth = found.growth;
  for (const auto& c : found.all) p.starts.push_back(c.start);
  record(model, found.all, found.stopped);
  model.members.push_back(finished_member(found, task));
  const Mixture& mixture = model.members.front();
  const Closing closing = close_fit(mixture, model.schema, source, compute);
  note_separation(p, schema, closing);
  fill_criteria(p, mixture, found.all.front().result.sums.weight, closing.entropy);
  if (options.ensemble > 1 && !found.stopped) add_members(task, bases, model);
  if (train::members_leave_out(options)) {
    const double factor = train::scale_noise(model.members, model.schema, source, options, compute);
    if (factor != 1)
      p.notes.push_back("the noise of all members is taken times " + std::to_string(factor) +
                        ", which makes their average the likeliest at rows that they did not see");
  }
  if (report) {
    report->status = p.status;
    report->seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return model;
}

}  // namespace moekit
