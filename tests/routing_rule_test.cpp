#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fit_helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "moekit/predict.hpp"
#include "train/pass.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// Which experts answer for a row, and with which weights.

namespace {

struct Setting {
  std::unique_ptr<GateFamily> gate;
  Batch batch;
};

Setting setting(uword n, uword experts, std::uint64_t seed) {
  Setting s{make_gate("softmax", gate_shape(experts, 3)), {}};
  s.gate->randomise(Rng(seed, 1));
  s.batch.rows = n;
  s.batch.gate = 3 * normal_matrix(n, 3, Rng(seed, 2));
  s.batch.gate.col(0).ones();
  return s;
}

/// The k best by a stable sort of all: equal scores go to the lower index.
std::vector<uword> naive_picks(const arma::rowvec& score, uword k) {
  std::vector<uword> order(score.n_elem);
  std::iota(order.begin(), order.end(), uword{0});
  std::stable_sort(order.begin(), order.end(), [&](uword a, uword b) { return score[a] > score[b]; });
  order.resize(k);
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<std::vector<uword>> picks_by_row(const Picks& picks, uword n) {
  std::vector<std::vector<uword>> out(n);
  for (uword k = 0; k + 1 < picks.begin.size(); ++k)
    for (uword at = picks.begin[k]; at < picks.begin[k + 1]; ++at) out[picks.rows[at]].push_back(k);
  return out;
}

}  // namespace

TEST_CASE("picks are the largest scores, weights the softmax over them") {
  for (const uword experts : {2, 7, 64})
    for (const uword k : {uword{1}, uword{2}, experts}) {
      const Setting s = setting(31, experts, experts + k);
      mat log_gate;
      s.gate->log_prob(s.batch, log_gate);
      const mat all = log_gate;
      RoutingRule rule;
      rule.top_k = k;
      Picks picks;
      route(rule, *s.gate, s.batch, log_gate, picks);
      const auto rows = picks_by_row(picks, 31);
      for (uword i = 0; i < 31; ++i) {
        const auto right = naive_picks(all.row(i), k);
        REQUIRE(rows[i] == right);
        double sum = 0;
        for (const uword j : right) sum += std::exp(all(i, j));
        for (uword j = 0; j < experts; ++j) {
          const bool in = std::find(right.begin(), right.end(), j) != right.end();
          CHECK(std::exp(log_gate(i, j)) ==
                doctest::Approx(in ? std::exp(all(i, j)) / sum : 0).epsilon(1e-12));
        }
      }
    }
}

TEST_CASE("equal scores go to the lower index, and a bias moves picks but not weights") {
  Setting s = setting(1, 5, 1);
  mat log_gate(1, 5), kept;
  log_gate.fill(std::log(0.2));
  kept = log_gate;
  RoutingRule rule;
  rule.top_k = 2;
  Picks picks;
  route(rule, *s.gate, s.batch, log_gate, picks);
  CHECK(picks_by_row(picks, 1)[0] == std::vector<uword>{0, 1});
  rule.bias = {0, -0.1, 0, 0.3, 0};
  log_gate = kept;
  route(rule, *s.gate, s.batch, log_gate, picks);
  CHECK(picks_by_row(picks, 1)[0] == std::vector<uword>{0, 3});
  CHECK(std::exp(log_gate(0, 3)) == doctest::Approx(0.5));
}

TEST_CASE("a small bias leaves the order of small weights beside a sure pick as it is") {
  Setting s = setting(1, 4, 1);
  mat log_gate(1, 4);
  log_gate.row(0) = arma::rowvec{0, -9, -8, -11};
  RoutingRule rule;
  rule.top_k = 2;
  rule.bias = {0, 0.5, 0, 0.5};  // far more than the weights of 1 and 3
  Picks picks;
  route(rule, *s.gate, s.batch, log_gate, picks);
  CHECK(picks_by_row(picks, 1)[0] == std::vector<uword>{0, 2});
}

TEST_CASE("sigmoid scores are divided by their sum over the picks; shared experts always answer") {
  const Setting s = setting(17, 6, 3);
  mat logits, log_gate;
  s.gate->logits(s.batch, logits);
  s.gate->log_prob(s.batch, log_gate);
  RoutingRule rule;
  rule.score = RoutingRule::Score::sigmoid;
  rule.top_k = 2;
  rule.shared = {0, 0, 0, 0, 1, 0};
  Picks picks;
  route(rule, *s.gate, s.batch, log_gate, picks);
  for (uword i = 0; i < 17; ++i) {
    arma::rowvec others = logits.row(i);
    others[4] = -1e9;
    auto right = naive_picks(others, 2);
    right.push_back(4);
    std::sort(right.begin(), right.end());
    REQUIRE(picks_by_row(picks, 17)[i] == right);
    double sum = 0;
    for (const uword j : right) sum += 1 / (1 + std::exp(-logits(i, j)));
    for (const uword j : right)
      CHECK(std::exp(log_gate(i, j)) == doctest::Approx(1 / (1 + std::exp(-logits(i, j))) / sum));
  }
  CHECK_THROWS_AS(route(rule, *make_gate("constant", gate_shape(6, 3)), s.batch, log_gate, picks), Error);
}

TEST_CASE("a hash picks different experts by the inputs alone, and follows experts that are reordered") {
  const Setting s = setting(400, 6, 4);
  mat log_gate(400, 6, arma::fill::zeros);
  RoutingRule rule;
  rule.score = RoutingRule::Score::hash;
  rule.top_k = 2;
  Picks picks, again;
  route(rule, *s.gate, s.batch, log_gate, picks);
  const auto rows = picks_by_row(picks, 400);
  for (uword i = 0; i < 400; ++i) {
    REQUIRE(rows[i].size() == 2);
    CHECK(std::exp(log_gate(i, rows[i][0])) == doctest::Approx(0.5));
  }
  for (uword k = 0; k < 6; ++k) CHECK(picks.count(k) == doctest::Approx(133).epsilon(0.25));
  const std::vector<uword> from{3, 1, 0, 5, 2, 4};
  rule.select(from);
  rule.select(from);
  log_gate.zeros();
  route(rule, *s.gate, s.batch, log_gate, again);
  for (uword k = 0; k < 6; ++k) {
    const uword old = from[from[k]];
    CHECK(std::equal(again.rows.begin() + static_cast<std::ptrdiff_t>(again.begin[k]),
                     again.rows.begin() + static_cast<std::ptrdiff_t>(again.begin[k + 1]),
                     picks.rows.begin() + static_cast<std::ptrdiff_t>(picks.begin[old]),
                     picks.rows.begin() + static_cast<std::ptrdiff_t>(picks.begin[old + 1])));
  }
}

TEST_CASE("EM with top-k of all experts is the dense fit, and with fewer only the picks share a row") {
  const Rows rows = to_rows(piecewise(600, 2, 4, 7));
  FitOptions o = options(4, -1, 3);
  for (const char* gate : {"softmax", "gaussian", "tree"}) {
    CAPTURE(gate);
    o.gate = gate;
    o.top_k = 0;
    const std::string dense = model_text(fit(rows.schema, rows.source, o));
    o.top_k = 4;
    CHECK(model_text(fit(rows.schema, rows.source, o)) == dense);
    o.top_k = 2;
    const Model two = fit(rows.schema, rows.source, o);
    REQUIRE(two.members.front().routing.top_k == 2);
    BlockData buffer;
    const Prediction p = predict(two, rows.source.read(0, buffer));
    for (uword i = 0; i < p.gate.n_rows; ++i) {
      CHECK(arma::accu(p.gate.row(i) > 0) <= 2);
      CHECK(arma::accu(p.gate.row(i)) == doctest::Approx(1).epsilon(1e-12));
    }
    CHECK(std::isfinite(two.provenance.log_likelihood));
  }
  // Its weights are the same everywhere, so it would pick the same experts for every row.
  o.gate = "constant";
  for (const Method method : {Method::em, Method::adam}) {
    o.method = method;
    CHECK_THROWS_WITH_AS(fit(rows.schema, rows.source, o), doctest::Contains("--gate constant"), Error);
  }
}

TEST_CASE("weights before the routing are those of the scores that route") {
  const Rows rows = to_rows(piecewise(300, 2, 4, 7));
  FitOptions o = options(5, -1, 1);
  o.method = Method::adam;
  o.gradient.epochs = 5;
  o.top_k = 2;
  BlockData buffer;
  for (const auto score :
       {RoutingRule::Score::softmax, RoutingRule::Score::sigmoid, RoutingRule::Score::hash}) {
    o.gate_score = score;
    const Model model = fit(rows.schema, rows.source, o);
    const Prediction p = predict(model, rows.source.read(0, buffer));
    for (uword i = 0; i < p.gate.n_rows; ++i) {
      CHECK(arma::accu(p.gate_before.row(i)) == doctest::Approx(1).epsilon(1e-12));
      // The picks' weights are theirs before, divided by their sum.
      const arma::uvec picked = arma::find(p.gate.row(i));
      const double part = arma::accu(vec(p.gate_before.row(i).t())(picked));
      for (const uword k : picked) CHECK(p.gate(i, k) == doctest::Approx(p.gate_before(i, k) / part));
    }
  }
}

TEST_CASE("the gate's sums by the picks alone are those of all experts") {
  const uword n = 90, experts = 80;  // so many that classes have sums of their own
  Setting s = setting(n, experts, 5);
  RoutingRule rule;
  rule.top_k = 3;
  Picks picks;
  mat prob, label = arma::abs(normal_matrix(n, experts, Rng(5, 5)));
  s.gate->log_prob(s.batch, prob);
  route(rule, *s.gate, s.batch, prob, picks);
  prob = arma::exp(prob);
  label %= arma::sign(prob);
  vec sums(s.gate->sums(), arma::fill::zeros), whole = sums;
  s.gate->add(s.batch, prob, label, {whole.memptr(), whole.n_elem});
  s.batch.picks = &picks;
  s.gate->add(s.batch, prob, label, {sums.memptr(), sums.n_elem});
  CHECK(arma::abs(whole).max() > 1);
  CHECK(arma::abs(sums - whole).max() <= 1e-11 * arma::abs(whole).max());
}

TEST_CASE("EM with top-k ends with the picks that were asked for, however few passes it has") {
  const Rows rows = to_rows(piecewise(600, 2, 4, 7));
  FitOptions o = options(8, -1, 1);
  o.top_k = 2;
  for (const int passes : {1, 2, 5, 12, 200}) {
    CAPTURE(passes);
    o.max_iterations = passes;
    const Model model = fit(rows.schema, rows.source, o);
    REQUIRE(model.members.front().routing.top_k == 2);
    CHECK(model.provenance.log_likelihood ==
          doctest::Approx(log_likelihood(model, rows.source)).epsilon(1e-10));
  }
}

TEST_CASE("EM with top-k finds regions: first picks are not for ever") {
  // Eight planes of one input. Regions are contiguous, so two experts a row can describe them.
  const Columns c = piecewise(4000, 2, 8, 11);
  const Rows rows = to_rows(c);
  FitOptions o = options(16, -1, 1);
  const Model dense = fit(rows.schema, rows.source, o);
  o.top_k = 2;
  const Model two = fit(rows.schema, rows.source, o);
  CHECK(two.provenance.log_likelihood > dense.provenance.log_likelihood - 0.1 * 4000);
}

TEST_CASE("a gate of many experts settles from regions with sharp borders") {
  // Newton steps of experts that have next to no weight where they should went off to infinity.
  const Rows rows = to_rows(piecewise(3000, 8, 4, 3));
  const Model one = fit(rows.schema, rows.source, options(1, -1, 1));
  const Model many = fit(rows.schema, rows.source, options(64, -1, 1));
  CHECK(many.provenance.log_likelihood > one.provenance.log_likelihood + 0.3 * 3000);
}

TEST_CASE("the routing is in the model file, and what it says is checked") {
  const Rows rows = to_rows(piecewise(300, 2, 3, 8));
  FitOptions o = options(4, -1, 2);
  o.top_k = 2;
  Model model = fit(rows.schema, rows.source, o);
  model.members.front().routing.bias = {0.1, 0, -0.1, 0};
  const std::string text = model_text(model);
  const Model back = parse_model(text, "m");
  CHECK(back.members.front().routing.top_k == 2);
  CHECK(back.members.front().routing.bias == model.members.front().routing.bias);
  CHECK(model_text(back) == text);
  BlockData buffer;
  const Block block = rows.source.read(0, buffer);
  CHECK(arma::approx_equal(predict(back, block).mean, predict(model, block).mean, "absdiff", 0.0));
}

TEST_CASE("predictions under routing do not depend on how rows are cut into blocks") {
  const Rows rows = to_rows(piecewise(700, 3, 4, 9));
  FitOptions o = options(8, -1, 1);
  o.top_k = 2;
  o.method = Method::adam;
  o.gradient.epochs = 3;
  o.hidden = {16};
  o.gate = "mlp:8";
  const Model model = fit(rows.schema, rows.source, o);
  BlockData buffer;
  const Prediction whole = predict(model, rows.source.read(0, buffer));
  for (const std::uint64_t row : {0, 5, 333, 699}) {
    const MemorySource one = take_rows(rows.source, {row});
    BlockData own;
    const Prediction p = predict(model, one.read(0, own));
    CHECK(p.mean[0] == whole.mean[row]);
    CHECK(p.sd[0] == whole.sd[row]);
    CHECK(p.log_density[0] == whole.log_density[row]);
    CHECK(arma::approx_equal(p.gate.row(0), whole.gate.row(row), "absdiff", 0.0));
  }
}
