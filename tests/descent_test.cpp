#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "fit_helpers.hpp"
#include "moekit/csv.hpp"
#include "moekit/error.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/model_io.hpp"
#include "train/shuffle.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// Adam and SGD on mini-batches, networks, and what keeps sparse experts busy.

namespace {

FitOptions batches(uword experts, Method method = Method::adam, int epochs = 20) {
  FitOptions o = options(experts, 0, 1);
  o.ridge_mode = Penalty::Mode::none;
  o.method = method;
  o.gradient.epochs = epochs;
  o.gradient.batch_size = 64;
  return o;
}

Metrics score(const Model& model, const MemorySource& rows) {
  Evaluator evaluator(model);
  for (std::size_t i = 0; i < rows.blocks(); ++i) evaluator.add(rows.data(i).view());
  return evaluator.metrics();
}

/// Largest and least share of the slots that an expert gets, times the number of experts.
std::pair<double, double> load(const Model& model, const Source& source) {
  const Mixture& m = model.members.front();
  std::vector<double> count(m.count(), 0.0);
  Posterior work;
  BlockData buffer;
  double slots = 0;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    gate_weights(m, model.schema, source.read(b, buffer), work);
    for (uword k = 0; k < m.count(); ++k) {
      count[k] += static_cast<double>(work.picks.count(k));
      slots += static_cast<double>(work.picks.count(k));
    }
  }
  const double experts = static_cast<double>(m.count());
  return {*std::max_element(count.begin(), count.end()) * experts / slots,
          *std::min_element(count.begin(), count.end()) * experts / slots};
}

}  // namespace

TEST_CASE("an epoch shows every row once, in an order of its own") {
  Columns c = piecewise(70 * 1024 + 17, 1, 1, 3);  // more than a window holds
  for (uword i = 0; i < c.y.n_elem; ++i) c.y[i] = static_cast<double>(i);
  const MemorySource source = to_source(c);
  train::Shuffle shuffle(source, 5, 1000), twin(source, 5, 1000);
  std::vector<double> first;
  for (const std::uint64_t epoch : {0, 1}) {
    shuffle.begin_epoch(epoch);
    twin.begin_epoch(epoch);
    BlockData batch, same;
    std::vector<double> seen;
    std::uint64_t batches = 0;
    while (shuffle.next(batch)) {
      REQUIRE(twin.next(same));
      CHECK(batch.target == same.target);
      CHECK(batch.rows <= 1000);
      ++batches;
      for (uword i = 0; i < batch.rows; ++i) {
        seen.push_back(batch.target[i]);
        CHECK(batch.numeric[i] == c.x(static_cast<uword>(batch.target[i]), 0));
      }
    }
    CHECK(batches == shuffle.batches());
    CHECK(seen != first);
    first = seen;
    CHECK(std::set<double>(seen.begin(), seen.end()).size() == c.y.n_elem);
    CHECK(seen.size() == c.y.n_elem);
  }
}

TEST_CASE("Adam and SGD come near the optimum of EM on a linear mixture") {
  const Rows rows = to_rows(piecewise(2000, 1, 2, 4));
  FitOptions o = options(2, 0, 4);
  const Provenance em = fit(rows.schema, rows.source, o).provenance;
  // Of what two experts gain over one: EM's gate becomes steeper than epochs have time for.
  const auto gained = [&](const Model& model) {
    return (model.provenance.log_likelihood - em.single_log_likelihood) /
           (em.log_likelihood - em.single_log_likelihood);
  };
  o = batches(2, Method::adam, 60);
  o.gradient.learning_rate = 0.02;
  o.restarts = 3;
  const Model adam = fit(rows.schema, rows.source, o);
  CHECK(gained(adam) > 0.85);
  CHECK(adam.provenance.starts.size() == 3);
  CHECK(adam.provenance.starts[0].log_likelihood != adam.provenance.starts[1].log_likelihood);
  o.method = Method::sgd;
  CHECK(gained(fit(rows.schema, rows.source, o)) > 0.8);
}

TEST_CASE("trees learn on mini-batches, dense and routed, and are saved") {
  const Rows rows = to_rows(piecewise(3000, 2, 4, 4));
  FitOptions o = batches(8, Method::adam, 40);
  o.gate = "tree";
  o.gradient.learning_rate = 0.02;
  const double one = fit(rows.schema, rows.source, batches(1, Method::adam, 40)).provenance.log_likelihood;
  const Model dense = fit(rows.schema, rows.source, o);
  o.gate = "softmax";
  const double flat = fit(rows.schema, rows.source, o).provenance.log_likelihood;
  CHECK(dense.provenance.log_likelihood - one > 0.9 * (flat - one));
  o.gate = "tree";
  o.top_k = 2;
  const Model routed = fit(rows.schema, rows.source, o);
  CHECK(routed.provenance.log_likelihood - one > 0.8 * (flat - one));
  CHECK(load(routed, rows.source).first < 2);
  CHECK(load(routed, rows.source).second > 0.3);
  for (const Model* model : {&dense, &routed}) {
    std::size_t nodes = 0;
    for (const GateForm& form : model->members.front().gate->forms())
      nodes += form.kind == GateForm::Kind::node;
    CHECK(nodes == 7);
    CHECK(model_text(parse_model(model_text(*model), "m")) == model_text(*model));
  }
}

TEST_CASE("a fit on mini-batches depends on the seed and not on threads") {
  const Rows rows = to_rows(piecewise(1500, 2, 3, 6, 3));
  FitOptions o = batches(6, Method::adam, 3);
  o.hidden = {5};
  o.top_k = 2;
  Compute one, five;
  one.threads = 1;
  five.threads = 5;
  const std::string a = model_text(fit(rows.schema, rows.source, o, one)),
                    b = model_text(fit(rows.schema, rows.source, o, five));
  CHECK(a == b);
  o.seed = 1;
  CHECK(model_text(fit(rows.schema, rows.source, o, one)) != a);
}

TEST_CASE("networks learn what lines cannot, are saved, and answer the same when read again") {
  Columns c = piecewise(3000, 2, 1, 1);
  Rng rng(4, 4);
  for (uword i = 0; i < c.y.n_elem; ++i) c.y[i] = std::sin(2 * c.x(i, 0)) * c.x(i, 1) + 0.1 * rng.normal();
  const Rows rows = to_rows(c);
  FitOptions o = batches(4, Method::adam, 30);
  o.hidden = {16};
  o.gate = "mlp:8";
  o.gradient.learning_rate = 0.02;
  const Model model = fit(rows.schema, rows.source, o);
  CHECK(score(model, rows.source).r2 > 0.95);
  const Model back = parse_model(model_text(model), "m");
  CHECK(back.hidden == std::vector<uword>{16});
  CHECK(score(back, rows.source).nll == score(model, rows.source).nll);
}

TEST_CASE("every loss lowers its own error, and leaves a density") {
  const Rows rows = to_rows(piecewise(1200, 2, 3, 2));
  for (const Loss loss : {Loss::likelihood, Loss::competitive, Loss::cooperative}) {
    FitOptions o = batches(3, Method::adam, 40);
    o.gradient.learning_rate = 0.02;
    o.gradient.loss = loss;
    const Model model = fit(rows.schema, rows.source, o);
    const Metrics m = score(model, rows.source);
    CAPTURE(static_cast<int>(loss));
    CHECK(m.r2 > 0.6);
    CHECK(m.coverage_90 > 0.8);
    // Cooperating experts may lie far apart on either side of what they say together.
    if (loss != Loss::cooperative) CHECK(m.coverage_90 < 0.98);
  }
}

TEST_CASE("validation rows stop the fit and keep the best epoch") {
  const Rows rows = to_rows(piecewise(200, 4, 2, 3));
  const Rows held = to_rows(piecewise(200, 4, 2, 33));
  FitOptions o = batches(4, Method::adam, 300);
  o.hidden = {32};
  o.gradient.learning_rate = 0.02;
  o.gradient.cosine = false;
  o.gradient.patience = 5;
  o.validation = &held.source;
  const Model model = fit(rows.schema, rows.source, o);
  CHECK(model.provenance.iterations < 300);
  CHECK(model.provenance.status == "converged");
  o.validation = nullptr;
  o.gradient.epochs = model.provenance.iterations;
  CHECK(score(model, held.source).nll <= score(fit(rows.schema, rows.source, o), held.source).nll);
}

TEST_CASE("behind a log link descent begins at the level of the counts, offsets and all") {
  constexpr uword n = 400;
  Columns c = piecewise(n, 1, 1, 2);
  Rows rows = to_rows(c);
  Rng rng(4, 4);
  BlockData block = rows.source.data(0);
  for (uword i = 0; i < n; ++i) {
    block.offset.push_back(i % 2 ? 3 : 5);
    const double mean = 8 * std::exp(block.offset[i] + 0.1 * c.x(i, 0));
    block.target[i] = std::round(mean + std::sqrt(mean) * rng.normal());
  }
  rows.source = MemorySource();
  rows.source.push(std::move(block));
  rows.schema.target.task = Task::count;
  rows.schema.offset = "o";
  measure(rows.schema, rows.source);
  for (const std::string family : {"poisson", "negative-binomial"}) {
    FitOptions o = options(1, 0, 1);
    o.family = family;
    const double exact = fit(rows.schema, rows.source, o).provenance.log_likelihood;
    o = batches(2, Method::adam, 60);
    o.family = family;
    o.gradient.learning_rate = 0.02;
    const Provenance adam = fit(rows.schema, rows.source, o).provenance;
    CAPTURE(family);
    CHECK(adam.log_likelihood > exact - 0.3 * n);
    CHECK(adam.notes.empty());
  }
}

TEST_CASE("epochs that ran out are a limit, and a fit that diverged is said to have") {
  const Rows rows = to_rows(piecewise(400, 2, 2, 3));
  FitOptions o = batches(2, Method::adam, 20);
  const Provenance good = fit(rows.schema, rows.source, o).provenance;
  CHECK(good.status == "iteration_limit");
  CHECK(good.notes.empty());
  o.gradient.cosine = false;
  o.gradient.learning_rate = 5;
  const Provenance bad = fit(rows.schema, rows.source, o).provenance;
  CHECK(bad.status == "iteration_limit");
  REQUIRE(bad.notes.size() == 1);
  CHECK(bad.notes[0].find("worse than one constant expert") != std::string::npos);
}

TEST_CASE("balancing keeps experts busy, and switched off it is seen what it was for") {
  const Rows rows = to_rows(piecewise(4000, 4, 6, 5));
  FitOptions o = batches(16, Method::adam, 12);
  o.hidden = {4};
  o.top_k = 2;
  o.gradient.learning_rate = 0.01;
  o.gradient.reseed = false;
  o.gradient.balance = {Balance::none};
  const double without = load(fit(rows.schema, rows.source, o), rows.source).first;
  for (const Balance balance : {Balance::automatic, Balance::switching, Balance::importance}) {
    o.gradient.balance = {balance};
    o.gradient.balance_weight = balance == Balance::automatic ? 0 : 0.3;
    const auto [most, least] = load(fit(rows.schema, rows.source, o), rows.source);
    CAPTURE(static_cast<int>(balance));
    CHECK(most < without);
    CHECK(most < 2.2);
    if (balance != Balance::importance) CHECK(least > 0.1);
  }
  o.gate_score = RoutingRule::Score::sigmoid;
  o.gradient.balance = {Balance::automatic};
  o.gradient.balance_weight = 0;
  CHECK(load(fit(rows.schema, rows.source, o), rows.source).first < 1.3);
  o.top_k = 1;
  o.gradient.epochs = 40;
  for (const RoutingRule::Score score : {RoutingRule::Score::softmax, RoutingRule::Score::sigmoid}) {
    o.gate_score = score;
    const auto [most, least] = load(fit(rows.schema, rows.source, o), rows.source);
    CAPTURE(static_cast<int>(score));
    CHECK(most < 2);
    CHECK(least > 0.3);
  }
}

TEST_CASE("clusters of unequal size: every expert gets its share of the rows, with few of them a batch") {
  // Cluster j holds 2^-(j+1) of the rows; a batch of 64 has two picks an expert.
  Columns c = piecewise(6000, 4, 1, 8);
  const mat centre = 4 * normal_matrix(6, 4, Rng(9, 1)), slope = normal_matrix(6, 4, Rng(9, 2));
  for (uword i = 0; i < c.y.n_elem; ++i) {
    const uword cluster = std::min<uword>(5, static_cast<uword>(std::countr_zero(i + 1)));
    c.x.row(i) += centre.row(cluster);
    c.y[i] += arma::dot(slope.row(cluster), c.x.row(i));
  }
  const Rows rows = to_rows(c);
  FitOptions o = batches(64, Method::adam, 40);
  o.hidden = {4};
  o.gradient.learning_rate = 0.01;
  for (const uword picks : {2u, 1u})
    for (const RoutingRule::Score by : {RoutingRule::Score::softmax, RoutingRule::Score::sigmoid}) {
      CAPTURE(picks);
      CAPTURE(static_cast<int>(by));
      o.top_k = picks;
      o.gate_score = by;
      const Model model = fit(rows.schema, rows.source, o);
      CHECK(model.members.front().routing.top_k == picks);
      const auto [most, least] = load(model, rows.source);
      CHECK(most < 1.3);
      CHECK(least > 0.5);
      // One pick has to learn which expert is better, too.
      CHECK(score(model, rows.source).rmse < 0.5 * arma::stddev(c.y));
    }
}

TEST_CASE("capacity, expert choice, noise and shared experts train") {
  const Rows rows = to_rows(piecewise(1000, 2, 4, 6));
  FitOptions o = batches(8, Method::adam, 4);
  o.hidden = {4};
  o.top_k = 2;
  const auto fitted = [&] { return fit(rows.schema, rows.source, o); };
  const double plain = fitted().provenance.log_likelihood;
  o.gradient.capacity = 8.0 / 2;  // CF = E / K holds every row
  CHECK(fitted().provenance.log_likelihood == plain);
  o.gradient.capacity = 0.5;
  const Model dropping = fitted();
  CHECK(dropping.provenance.log_likelihood != plain);
  bool said = false;
  for (const std::string& note : dropping.provenance.notes) said = said || note.starts_with("capacity: ");
  CHECK(said);
  o.gradient.capacity = 0;
  o.gradient.expert_choice = true;
  CHECK(std::isfinite(fitted().provenance.log_likelihood));
  o.gradient.expert_choice = false;
  o.gradient.noisy = true;
  o.gradient.balance = {Balance::load, Balance::importance};
  CHECK(fitted().provenance.log_likelihood != plain);
  o.gradient.noisy = false;
  o.gradient.balance = {Balance::automatic};
  o.shared_experts = 1;
  const Model shared = fitted();
  CHECK(shared.members.front().share[0] > 0.2);  // it answers for every row
  for (const RoutingRule::Score s : {RoutingRule::Score::sigmoid, RoutingRule::Score::hash}) {
    o.shared_experts = 0;
    o.gate_score = s;
    CHECK(std::isfinite(fitted().provenance.log_likelihood));
  }
}

TEST_CASE("combinations in which an option would silently be off are refused, all in one message") {
  const Rows rows = to_rows(piecewise(100, 2, 2, 7));
  const auto refused = [&](const FitOptions& o, const char* with) {
    CHECK_THROWS_WITH_AS(fit(rows.schema, rows.source, o), doctest::Contains(with), Error);
  };
  FitOptions o = options(4, -1, 1);
  o.hidden = {4};
  refused(o, "--fit adam, lbfgs or sgd");
  o = options(4, -1, 1);
  o.gradient.balance = {Balance::bias};
  refused(o, "--balance");
  o.method = Method::adam;
  refused(o, "--balance needs --top-k");
  o.top_k = 2;
  o.gradient.balance = {Balance::load};
  refused(o, "--noisy-top-k");
  o.gradient.balance = {Balance::switching};
  o.gate = "constant";
  refused(o, "gate with scores");
  o = options(4, -1, 1);
  o.gradient.loss = Loss::cooperative;
  refused(o, "--loss");
  o = options(4, -1, 1);
  o.top_k = 5;
  refused(o, "--top-k 5");
  o = batches(4);
  o.family = "student-t";
  o.hidden = {3};
  refused(o, "gaussian or logistic");
  o = batches(4);
  o.lasso = 1;
  o.grow = true;
  refused(o, "--lasso");
  refused(o, "--experts auto");
}
