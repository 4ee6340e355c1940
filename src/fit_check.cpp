#include "fit_check.hpp"

#include <cmath>
#include <functional>

#include "moekit/error.hpp"
#include "train/router.hpp"

namespace moekit {

namespace {

/// Experts of a bank: a model file holds no more.
constexpr uword kMostInBank = 10'000;

using Problem = std::function<void(const std::string&)>;

bool routed(const FitOptions& o) { return o.top_k > 0; }

/// The method against the model that it is to fit.
void check_method(const FitOptions& o, const Problem& problem) {
  const bool networks = !o.hidden.empty() || gate_traits(o.gate).network;
  const GradientOptions& g = o.gradient;
  if (o.method == Method::em) {
    if (networks) problem("mlp experts and gates are trained by gradients; give --fit adam, lbfgs or sgd");
    if (g.loss != Loss::likelihood) problem("--loss needs a gradient fit: --fit lbfgs, adam or sgd");
  } else if (o.lasso > 0) {
    problem("--lasso needs --fit em");
  }
  if (networks && o.grow) problem("--experts auto grows linear experts; give a number of experts");
  if (networks && !o.initial_region.empty())
    problem("starting regions are for linear experts and gates; leave --init-column out");
  if (!o.hidden.empty() && o.noise_basis.form != BasisKind::Form::constant)
    problem("mlp experts have one noise each; leave --noise out");
  if (g.loss != Loss::likelihood && o.noise_basis.form != BasisKind::Form::constant)
    problem("--loss competitive and cooperative know no noise; leave --noise out");
  if (!in_batches(o.method)) return;
  if (o.grow) problem("--experts auto needs --fit em or lbfgs");
  if (!o.initial_region.empty()) problem("--init-column needs --fit em or lbfgs");
  if (g.epochs < 1) problem("--epochs must be at least 1");
  if (g.batch_size < 1) problem("--batch-size must be at least 1");
  for (const double v : {g.learning_rate, g.weight_decay, g.clip, g.balance_weight, g.z_loss, g.capacity})
    if (!(v >= 0) || !std::isfinite(v)) problem("rates, weights and factors must be numbers of at least 0");
}

/// A network of neurons.
void check_neurons(const FitOptions& o, const Problem& problem) {
  if (!gate_traits(o.gate).product_keys) return;
  if (!in_batches(o.method)) problem("--gate product-key is trained by --fit adam or sgd");
  if (!o.hidden.empty()) problem("the experts of --gate product-key are neurons; leave --expert mlp:H out");
  if (o.gradient.loss != Loss::likelihood) problem("--gate product-key has --loss likelihood only");
  if (o.top_k > 0 || o.shared_experts > 0 || o.gate_score != RoutingRule::Score::softmax)
    problem("--gate product-key picks by --heads and --picks; leave the options of routing out");
  if (o.neurons.heads < 1 || o.neurons.picks < 1 || o.neurons.key_width < 1)
    problem("--heads, --picks and --key-width must be at least 1");
  if (o.noise_basis.form != BasisKind::Form::constant)
    problem("--gate product-key has one noise; leave --noise out");
}

/// Which experts answer.
void check_routing(const FitOptions& o, const Problem& problem) {
  const bool scores = gate_traits(o.gate).logits;
  if (!o.grow && o.top_k > o.experts)
    problem("--top-k " + std::to_string(o.top_k) + " is more than there are experts (" +
            std::to_string(o.experts) + ")");
  if (o.top_k == 1 && o.experts > 1 && o.shared_experts == 0 && !in_batches(o.method) &&
      o.gate_score != RoutingRule::Score::hash)
    problem(
        "--top-k 1 leaves the gate nothing to learn from, as its one weight is 1; train with --top-k 2 and "
        "give predict --top-k 1");
  if (o.grow && routed(o)) problem("--top-k needs a number of experts, not --experts auto");
  if (routed(o) && o.top_k < o.experts && o.gate == "constant")
    problem(
        "--gate constant is the same at every row, so --top-k would pick the same experts everywhere; "
        "give another --gate, or leave --top-k out");
  if (o.gate_score == RoutingRule::Score::sigmoid && !scores)
    problem("--gate-score sigmoid needs a gate with scores: --gate softmax or mlp:H");
  if (o.gate_score != RoutingRule::Score::softmax && !routed(o))
    problem("--gate-score sigmoid and hash need --top-k");
  if (o.gate_score == RoutingRule::Score::hash && o.method == Method::lbfgs)
    problem("--gate-score hash needs --fit em, adam or sgd");
  if (o.shared_experts > 0 && (!routed(o) || o.shared_experts + o.top_k > o.experts))
    problem("--shared-experts needs --top-k, and both together are at most --experts");
}

/// Balancing that would silently be off is refused.
void check_balance(const FitOptions& o, const Problem& problem) {
  const GradientOptions& g = o.gradient;
  const bool scores = gate_traits(o.gate).logits, sparse = routed(o) && o.top_k < o.experts;
  const bool asked = g.balance != std::vector<Balance>{Balance::automatic} &&
                     g.balance != std::vector<Balance>{Balance::none};
  if (asked && !in_batches(o.method))
    problem("--balance works between updates of --fit adam or sgd; with this fit it can only be none");
  if (asked && !sparse) problem("--balance needs --top-k with fewer picks than experts");
  if (g.balance.size() > 1 && train::wants(g, Balance::none)) problem("--balance none stands alone");
  if (asked && (o.gate_score == RoutingRule::Score::hash || g.expert_choice))
    problem("hashes and --expert-choice balance by themselves; leave --balance out");
  if (train::wants(g, Balance::load) && !g.noisy) problem("--balance load needs --noisy-top-k");
  if ((train::wants(g, Balance::switching) || g.z_loss > 0 || g.noisy) && !scores)
    problem("--balance switch, --z-loss and --noisy-top-k need a gate with scores: --gate softmax or mlp:H");
  if (g.z_loss > 0 && o.gate_score == RoutingRule::Score::hash)
    problem("--z-loss needs scores that route; leave --gate-score hash out");
  if (g.z_loss > 0 && !in_batches(o.method)) problem("--z-loss needs --fit adam or sgd");
  if ((g.noisy || g.expert_choice || g.capacity > 0) && (!sparse || !in_batches(o.method)))
    problem("--noisy-top-k, --expert-choice and --capacity need --top-k and --fit adam or sgd");
  if (g.noisy && o.gate_score != RoutingRule::Score::softmax)
    problem("--noisy-top-k needs --gate-score softmax");
}

}  // namespace

void check_fit(const FitOptions& o, const Schema& schema, const Source& source) {
  std::string problems;
  const auto problem = [&](const std::string& text) { problems += (problems.empty() ? "" : "; ") + text; };
  if (o.experts < 1) problem("--experts must be at least 1");
  if (o.experts > kMostInBank && !gate_traits(o.gate).product_keys)
    problem("--experts over " + std::to_string(kMostInBank) + " are for --gate product-key");
  if (o.grow && !o.initial_region.empty())
    problem("starting regions say how many experts there are, so it cannot be found (--experts auto)");
  if (o.restarts < 1) problem("--restarts must be at least 1");
  if (o.max_iterations < 1) problem("--max-iterations must be at least 1");
  if (!(o.tolerance >= 0) || !std::isfinite(o.tolerance))
    problem("--tolerance must be a number of at least 0");
  if (!(o.ridge >= 0) || !std::isfinite(o.ridge)) problem("--ridge must be auto or a number of at least 0");
  if (o.ensemble < 1) problem("--ensemble must be at least 1");
  if (!(o.lasso >= 0) || !std::isfinite(o.lasso)) problem("--lasso must be a number of at least 0");
  check_method(o, problem);
  check_neurons(o, problem);
  check_routing(o, problem);
  check_balance(o, problem);
  if (!problems.empty()) throw Error(Errc::usage, problems);
  check_family(o, schema);
  if (source.rows() == 0) throw Error(Errc::data, "there is no row to fit to");
  if (!o.initial_region.empty() && o.initial_region.size() != source.rows())
    throw Error(Errc::usage, "there are " + std::to_string(o.initial_region.size()) +
                                 " starting regions for " + std::to_string(source.rows()) + " rows");
  for (const std::uint32_t r : o.initial_region)
    if (r >= o.experts)
      throw Error(Errc::usage, "a starting region is number " + std::to_string(r + 1) + " of " +
                                   std::to_string(o.experts) + " experts; raise --experts");
}

FitOptions settled(FitOptions o) {
  std::vector<Balance>& balance = o.gradient.balance;
  if (balance == std::vector<Balance>{Balance::automatic}) {
    const bool needed = in_batches(o.method) && o.top_k > 0 && o.top_k < o.experts &&
                        o.gate_score != RoutingRule::Score::hash && !o.gradient.expert_choice;
    balance = {needed ? Balance::bias : Balance::none};
  }
  return o;
}

}  // namespace moekit
