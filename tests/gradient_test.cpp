#include <doctest/doctest.h>

#include <cmath>

#include "reference/banks.hpp"
#include "standard_errors/moving.hpp"
#include "train/loss.hpp"
#include "train/parameters.hpp"

using namespace moekit;
using namespace moekit::fit_testing;
using namespace moekit::train;

// The gradients of everything that gradient fits climb, against central differences.

namespace {

/// What a case is made of; the mixture's gate has its p features from the batch.
struct Case {
  Kind kind;
  std::string gate = "softmax";
  std::vector<uword> hidden = {};
  GradientOptions options = {};
  RoutingRule routing = {};
};

struct Made {
  Mixture m;
  Batch batch;
  std::vector<double> weight, offset;
};

Made make(const Case& c, uword n = 23, uword k = 4, uword p = 3) {
  Made out;
  Bank bank = make_bank(c.kind, n, p, k, 11);
  ExpertShape shape = c.kind.shape(k, p);
  shape.hidden = c.hidden;
  out.m.experts = Value<ExpertFamily>(make_experts(c.kind.family, shape));
  out.m.gate = Value<GateFamily>(make_gate(c.gate, gate_shape(k, p)));
  out.m.gate_basis = Basis(std::vector<Term>(p));
  if (gate_traits(c.gate).hierarchy) {  // its first update arranges it
    std::vector<double> sums(out.m.gate->sums(), 0.0);
    mat prob(n, k);
    prob.fill(0.25);
    out.m.gate->add(bank.batch, prob, bank.responsibility, sums);
    out.m.gate->update(sums, {});
  }
  draw_fields(out.m.gate->fields(), Rng(5, 1));
  for (uword j = 0; j < k; ++j) draw_fields(out.m.experts->fields(j), Rng(5, 2 + j));
  out.m.routing = c.routing;
  out.batch = bank.batch;
  out.offset = bank.offset;
  if (!out.offset.empty()) out.batch.offset = out.offset.data();
  Rng rng(3, 4);
  for (uword i = 0; i < n; ++i) out.weight.push_back(i % 7 == 0 ? 0.0 : rng.uniform() * 2);
  out.batch.weight = out.weight.data();
  return out;
}

/// Objective and gradient at moving parameters (and the coefficients of the noise behind them).
double value_at(Made& made, const GradientOptions& options, const vec& at, vec* gradient) {
  Objective objective(made.m, options, 9);
  set_moving_parameters(made.m, at.head(objective.parameters()));
  for (uword i = 0; i < objective.noise_parameters(); ++i)
    objective.noise()[i] = at[objective.parameters() + i];
  std::vector<double> sums(at.n_elem, 0.0);
  const double value = objective.add(made.m, made.batch, sums);
  if (gradient) *gradient = vec(sums);
  return value;
}

/// Largest difference to central differences, relative to the largest slope.
double error_of_gradient(const Case& c) {
  Made made = make(c);
  vec at = moving_parameters(made.m), gradient;
  const uword moving = at.n_elem;
  Objective sized(made.m, c.options, 9);
  at.resize(moving + sized.noise_parameters());
  Rng rng(8, 8);
  for (uword i = moving; i < at.n_elem; ++i) at[i] = 0.3 * rng.normal();
  value_at(made, c.options, at, &gradient);
  double worst = 0;
  for (uword i = 0; i < at.n_elem; ++i) {
    const double h = 1e-5;
    vec up = at, down = at;
    up[i] += h;
    down[i] -= h;
    const double slope =
        (value_at(made, c.options, up, nullptr) - value_at(made, c.options, down, nullptr)) / (2 * h);
    worst = std::max(worst, std::abs(slope - gradient[i]));
  }
  return worst / (1 + arma::abs(gradient).max());
}

RoutingRule top(uword k, RoutingRule::Score score = RoutingRule::Score::softmax) {
  RoutingRule rule;
  rule.top_k = k;
  rule.score = score;
  return rule;
}

}  // namespace

TEST_CASE("the gradient of the likelihood is right for every family") {
  for_each_family([](const Kind& kind) { CHECK(error_of_gradient({kind}) < 1e-7); });
}

TEST_CASE("the gradient is right for every gate, dense and routed") {
  std::vector<std::string> gates = gate_families();
  gates.push_back("mlp:5");
  gates.push_back("mlp:4,3");
  for (const std::string& gate : gates) {
    CAPTURE(gate);
    CHECK(error_of_gradient({{"gaussian"}, gate}) < 1e-7);
    CHECK(error_of_gradient({{"gaussian"}, gate, {}, {}, top(2)}) < 1e-7);
    if (!gate_traits(gate).logits) continue;
    CHECK(error_of_gradient({{"logistic", 3}, gate, {}, {}, top(2, RoutingRule::Score::sigmoid)}) < 1e-7);
  }
}

TEST_CASE("the gradient is right for every loss, of linear experts and of networks") {
  for (const Loss loss : {Loss::likelihood, Loss::competitive, Loss::cooperative})
    for (const Kind& kind : {Kind{"gaussian"}, Kind{"logistic", 2}, Kind{"logistic", 3}})
      for (const std::vector<uword>& hidden : {std::vector<uword>{}, {4}, {4, 3}})
        for (const uword k : {0, 2}) {
          CAPTURE(kind.family);
          CAPTURE(static_cast<int>(loss));
          GradientOptions options;
          options.loss = loss;
          CHECK(error_of_gradient({kind, "softmax", hidden, options, top(k)}) < 1e-7);
        }
}

TEST_CASE("the gradient of what balances is right") {
  // The share of picks in Switch's loss is a constant by definition, and moves with no small step.
  for (const Balance balance : {Balance::importance, Balance::switching, Balance::load}) {
    GradientOptions options;
    options.balance = {balance};
    options.balance_weight = 0.7;
    options.z_loss = 0.3;
    options.noisy = balance == Balance::load;
    CAPTURE(static_cast<int>(balance));
    CHECK(error_of_gradient({{"gaussian"}, "softmax", {}, options, top(2)}) < 1e-7);
    CHECK(error_of_gradient({{"gaussian"}, "mlp:3", {}, options, top(1)}) < 1e-7);
  }
  GradientOptions noisy;
  noisy.noisy = true;
  CHECK(error_of_gradient({{"gaussian"}, "softmax", {3}, noisy, top(2)}) < 1e-7);
}

TEST_CASE("the gradient of the log prior is right, for every family and gate and every penalty") {
  const auto check = [](const Case& c, const Penalty& penalty) {
    Made made = make(c);
    set_penalty(made.m, penalty);
    // Centres and penalties of the evidence, where an update sets them.
    if (made.m.experts->closed_step()) {
      std::vector<double> sums(made.m.experts->sums(), 0.0);
      mat r(made.batch.rows, made.m.count());
      r.fill(0.25);
      made.m.experts->add(made.batch, r, sums);
      made.m.experts->update(sums, penalty);
      std::vector<double> of_gate(made.m.gate->sums(), 0.0);
      if (made.m.gate->closed_step()) {
        made.m.gate->add(made.batch, r, r, of_gate);
        made.m.gate->update(of_gate, penalty);
      }
    }
    const vec at = moving_parameters(made.m);
    std::vector<double> gradient(at.n_elem, 0.0);
    add_prior_gradient(made.m, gate_parameters(made.m), gradient);
    // A parameter at its bound is stopped there by one of the two steps.
    const std::vector<bool> at_bound = errors::Moving(made.m).at_bound();
    double worst = 0, largest = 1;
    for (uword i = 0; i < at.n_elem; ++i) {
      if (at_bound[i]) continue;
      const double h = 1e-5;
      vec to = at;
      to[i] += h;
      set_moving_parameters(made.m, to);
      const double up = log_prior(made.m);
      to[i] -= 2 * h;
      set_moving_parameters(made.m, to);
      worst = std::max(worst, std::abs((up - log_prior(made.m)) / (2 * h) - gradient[i]));
      largest = std::max(largest, std::abs(gradient[i]));
    }
    CHECK(worst < 1e-7 * largest);
  };
  for (const Penalty::Mode mode : {Penalty::Mode::none, Penalty::Mode::fixed, Penalty::Mode::evidence}) {
    Penalty penalty;
    penalty.mode = mode;
    penalty.ridge = mode == Penalty::Mode::fixed ? 2 : 0;
    CAPTURE(static_cast<int>(mode));
    for_each_family([&](const Kind& kind) { check({kind}, penalty); });
    std::vector<std::string> gates = gate_families();
    gates.push_back("mlp:4");
    for (const std::string& gate : gates) {
      CAPTURE(gate);
      check({{"gaussian"}, gate}, penalty);
    }
    check({{"gaussian"}, "softmax", {4}}, penalty);
  }
}

TEST_CASE("the scores of a network are its gradient row by row") {
  Made made = make({{"logistic", 3}, "mlp:4", {5}});
  made.batch.weight = nullptr;
  for (uword k = 0; k < 4; ++k) {
    mat scores, of_gate, weight(made.batch.rows, 4, arma::fill::zeros);
    weight.col(k).ones();
    made.m.experts->scores(made.batch, k, scores);
    std::vector<double> all(scores.n_cols * 4, 0.0);
    made.m.experts->add_gradient(made.batch, weight, all);
    for (uword j = 0; j < scores.n_cols; ++j)
      CHECK(arma::accu(scores.col(j)) == doctest::Approx(all[k * scores.n_cols + j]).epsilon(1e-10));
    made.m.gate->scores(made.batch, k, of_gate);
    std::vector<double> gate(of_gate.n_cols, 0.0);
    made.m.gate->add_gradient(made.batch, weight, gate);
    for (uword j = 0; j < of_gate.n_cols; ++j)
      CHECK(arma::accu(of_gate.col(j)) == doctest::Approx(gate[j]).epsilon(1e-10));
  }
}
