#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "experts/families.hpp"
#include "fit_helpers.hpp"
#include "float_text.hpp"
#include "moekit/diagnose.hpp"
#include "moekit/error.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/model_io.hpp"
#include "sparse/neuron_steps.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// Single-neuron experts behind product keys.

namespace {

/// Keys that make many ties: few different values.
ProductKeys drawn_keys(uword side, uword width, uword picks, bool ties, Rng rng) {
  ProductKeys keys(side, width, picks);
  for (float& v : keys.keys()) v = ties ? static_cast<float>(rng.below(3)) : static_cast<float>(rng.normal());
  return keys;
}

/// Every sum of every pair, best first, the lower neuron first among equals.
std::vector<KeyPick> brute_force(const ProductKeys& keys, const float* query) {
  const uword side = keys.side(), width = keys.width();
  std::vector<KeyPick> all;
  const auto score = [&](uword half, uword i) {
    float sum = 0;
    for (uword a = 0; a < width; ++a)
      sum = std::fma(query[half * width + a], keys.keys()[half * side * width + a * side + i], sum);
    return static_cast<double>(sum);
  };
  std::vector<double> second;
  for (uword j = 0; j < side; ++j) second.push_back(score(1, j));
  for (uword i = 0; i < side; ++i) {
    const double first = score(0, i);
    for (uword j = 0; j < side; ++j)
      all.push_back({static_cast<std::uint32_t>(i * side + j), first + second[j]});
  }
  const auto k = static_cast<std::ptrdiff_t>(keys.picks());
  std::partial_sort(all.begin(), all.begin() + k, all.end(), [](const KeyPick& a, const KeyPick& b) {
    return a.score != b.score ? a.score > b.score : a.neuron < b.neuron;
  });
  all.resize(keys.picks());
  return all;
}

Neurons few(uword count, uword heads = 2, uword picks = 4) {
  Neurons n;
  n.count = count;
  n.heads = heads;
  n.picks = picks;
  n.key_width = 3;
  return n;
}

FitOptions neuron_options(uword count, int epochs) {
  FitOptions o = options(count, -1, 1);
  o.gate = "product-key";
  o.method = Method::adam;
  o.neurons = few(count, 4, 8);
  o.gradient.epochs = epochs;
  o.gradient.batch_size = 64;
  return o;
}

double r2(const Model& model, const MemorySource& rows) {
  Evaluator evaluator(model);
  for (std::size_t i = 0; i < rows.blocks(); ++i) evaluator.add(rows.data(i).view());
  return evaluator.metrics().r2;
}

Rows wavy(uword n, std::uint64_t seed) {
  Columns c = piecewise(n, 2, 1, seed);
  Rng rng(seed, 4);
  for (uword i = 0; i < n; ++i) c.y[i] = std::sin(2 * c.x(i, 0)) + c.x(i, 1) * c.x(i, 1) + 0.1 * rng.normal();
  return to_rows(c);
}

}  // namespace

TEST_CASE("product keys select what brute force selects, ties to the lower neuron, up to 65,536 neurons") {
  for (const uword side : {2, 3, 5, 16, 31, 64, 100, 256})
    for (const uword picks : {1, 4, 16, 80})
      for (const bool ties : {false, true}) {
        CAPTURE(side);
        CAPTURE(picks);
        const ProductKeys keys = drawn_keys(side, 5, picks, ties, Rng(side, picks));
        Rng rng(7, side);
        const uword n = side > 100 ? 6 : 40;
        std::vector<float> query(2 * 5 * n);
        for (float& v : query) v = ties ? static_cast<float>(rng.below(2)) : static_cast<float>(rng.normal());
        std::vector<KeyPick> got(n * keys.picks());
        keys.select(query.data(), n, got.data());
        for (uword q = 0; q < n; ++q) {
          const auto right = brute_force(keys, query.data() + q * 10);
          for (uword j = 0; j < keys.picks(); ++j) {
            REQUIRE(got[q * keys.picks() + j].neuron == right[j].neuron);
            CHECK(got[q * keys.picks() + j].score == right[j].score);
          }
        }
      }
}

namespace {

NeuronBank::SlopeOf given(const mat& slope) {
  return
      [&slope](uword row, const double*, double* out) { std::copy_n(slope.colptr(row), slope.n_rows, out); };
}

/// Slopes of u and v of every neuron, a column each, from those of the answers (m x n).
mat slopes_of_neurons(NeuronBank& bank, const mat& x, const mat& slope, NeuronBank::Work& work,
                      NeuronBank::Gradient& gradient) {
  const uword p = bank.inputs(), m = bank.outputs();
  mat out(p + m, bank.neurons().size() / (p + m), arma::fill::zeros);
  const auto settle = [&](uword row) {
    for (std::size_t at = row * bank.picks(); at < (row + 1) * bank.picks(); ++at) {
      if (!gradient.alone[at]) continue;
      auto values = out.col(work.pick[at].neuron);
      values.head(p) = gradient.of_input[at] * x.row(row).t();
      values.tail(m) = gradient.answer[at] * slope.col(row);
    }
  };
  bank.learn(x, given(slope), settle, work, gradient);
  std::vector<float> row(p + m);
  for (std::size_t e = 0; e < gradient.neuron.size(); ++e) {
    bank.neuron_gradient(work, gradient, e, row.data());
    std::ranges::copy(row, out.colptr(gradient.neuron[e]));
  }
  return out;
}

}  // namespace

TEST_CASE("a step moves a neuron by its slopes over the root of their mean squares so far") {
  NeuronBank bank(few(25), 3, 2);
  Rng rng(3, 3);
  bank.randomise(rng);
  for (float& v : bank.neurons()) v = static_cast<float>(rng.normal());
  const uword size = bank.neuron_size();
  vec squares(25, arma::fill::zeros);
  NeuronSteps steps;
  const SparseStep how{0.1, 0.01, 0.003, 1};
  for (std::uint64_t t = 0; t < 3; ++t) {
    const mat x = normal_matrix(7, 3, Rng(1, t)), slope = normal_matrix(2, 7, Rng(2, t));
    NeuronBank::Work work;
    NeuronBank::Gradient gradient;
    const mat slopes = slopes_of_neurons(bank, x, slope, work, gradient);
    std::vector<bool> picked(25);
    for (const KeyPick& pick : work.pick) picked[pick.neuron] = true;
    const std::vector<float> before(bank.neurons().begin(), bank.neurons().end());
    steps.step(bank, x, 7, given(slope), how);
    for (uword e = 0; e < 25; ++e) {
      squares[e] += arma::dot(slopes.col(e), slopes.col(e)) / static_cast<double>(size);
      for (uword i = 0; i < size; ++i) {
        const double old = static_cast<double>(before[e * size + i]);
        const double moved =
            (1 - how.decay) * old + how.row_rate * slopes(i, e) / (std::sqrt(squares[e]) + 1e-8);
        CHECK(static_cast<double>(bank.neurons()[e * size + i]) ==
              doctest::Approx(picked[e] ? moved : old).epsilon(1e-5).scale(1));
      }
    }
  }
  CHECK(steps.taken() == 3);
}

TEST_CASE("the gradient of the network of neurons is right") {
  // In float32: differences over 2e-2 have errors of some 1e-7 / 2e-2 from rounding and 4e-4 from curvature.
  NeuronBank bank(few(25), 3, 2);
  Rng rng(3, 3);
  bank.randomise(rng);
  for (float& v : bank.neurons()) v = static_cast<float>(rng.normal());
  for (float& v : bank.linear()) v = static_cast<float>(rng.normal());
  mat x = normal_matrix(7, 3, Rng(1, 1)), slope = normal_matrix(2, 7, Rng(2, 2));
  NeuronBank::Work work;
  NeuronBank::Gradient gradient;
  const mat of_neurons = slopes_of_neurons(bank, x, slope, work, gradient);
  REQUIRE(!gradient.neuron.empty());
  REQUIRE(std::ranges::count(gradient.alone, 1) > 0);
  const auto value = [&] {
    mat out;
    NeuronBank::Work own;
    bank.forward(x, own, out);
    return arma::accu(out % slope);
  };
  const auto check = [&](std::span<float> parameters, const auto& of) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const float kept = parameters[i], h = 1e-2f;
      parameters[i] = kept + h;
      const double up = value();
      parameters[i] = kept - h;
      const double down = value();
      parameters[i] = kept;
      // A step that changes who is picked is no step along the gradient.
      CHECK((up - down) / (2.0 * h) == doctest::Approx(of(i)).epsilon(0.02).scale(2));
    }
  };
  check(bank.linear(), [&](std::size_t i) { return gradient.linear[i]; });
  check(bank.neurons(), [&](std::size_t i) { return of_neurons[i]; });
  // All neurons picked: then keys and queries move weights only.
  NeuronBank whole(few(4, 2, 4), 3, 2);
  whole.randomise(rng);
  for (float& v : whole.neurons()) v = static_cast<float>(rng.normal());
  std::swap(bank, whole);
  slopes_of_neurons(bank, x, slope, work, gradient);
  check(bank.queries(), [&](std::size_t i) { return gradient.queries[i]; });
  check(bank.keys().keys(), [&](std::size_t i) { return gradient.keys[i]; });
}

TEST_CASE("steps of a network of neurons: the same bits for any number of threads") {
  ExpertShape shape;
  shape.groups.assign(40, 1);
  shape.classes = 3;
  shape.neurons = few(4096, 8, 16);
  const auto learnt = [&](int threads) {
    const auto family = make_neurons("logistic", shape);
    family->randomise(Rng(1, 1));
    Batch batch;
    batch.rows = 301;
    batch.expert = normal_matrix(301, 40, Rng(2, 2));
    batch.target.set_size(301);
    for (uword i = 0; i < 301; ++i) batch.target[i] = static_cast<double>(i % 3);
    for (int step = 0; step < 3; ++step) family->sparse_step(batch, {0.05, 0.01, 0.001, threads});
    std::vector<float> all;
    for (const FloatField& f : family->float_fields())
      all.insert(all.end(), f.values.begin(), f.values.end());
    return all;
  };
  const std::vector<float> one = learnt(1);
  CHECK(learnt(2) == one);
  CHECK(learnt(5) == one);
}

TEST_CASE("a network of neurons learns, touches only what it picks, and is the same when read again") {
  const Rows rows = wavy(2000, 1);
  const Model model = fit(rows.schema, rows.source, neuron_options(1024, 8));
  CHECK(experts_of(model) == 1024);
  CHECK(r2(model, rows.source) > 0.9);
  const Model back = parse_model(model_text(model), "m");
  CHECK(r2(back, rows.source) == r2(model, rows.source));
  CHECK(model_text(back) == model_text(model));
  // A neuron that no row ever picked still has no output.
  Model copy = model;
  std::size_t idle = 0;
  for (const FloatField& f : copy.members.front().experts->float_fields())
    if (f.name == "neurons")
      for (std::size_t e = 0; e < 1024; ++e) idle += f.values[e * f.values.size() / 1024 + 3] == 0;
  CHECK(idle > 0);
  CHECK(idle < 1024);
}

TEST_CASE("classes, picks of rows, and cuts of a batch") {
  const Rows rows = to_rows(piecewise(900, 2, 3, 2, 3));
  const Model model = fit(rows.schema, rows.source, neuron_options(256, 4));
  BlockData buffer;
  const Prediction whole = predict(model, rows.source.read(0, buffer));
  CHECK(whole.pick.n_cols == 32);
  for (uword i = 0; i < 900; i += 111) {
    CHECK(arma::accu(whole.pick_weight.row(i)) == doctest::Approx(1));
    CHECK(whole.expert[i] == whole.pick(i, 0));
    const MemorySource one = take_rows(rows.source, {i});
    BlockData own;
    const Prediction p = predict(model, one.read(0, own));
    CHECK(arma::approx_equal(p.probability.row(0), whole.probability.row(i), "absdiff", 0.0));
  }
  Diagnoser diagnoser(model);
  diagnoser.add(rows.source.read(0, buffer), whole);
  const RoutingReport report = diagnoser.diagnosis().routing;
  CHECK(report.experts == 256);
  CHECK(report.label_entropy > 0);
}

TEST_CASE("what a network of neurons cannot have is refused") {
  const Rows rows = wavy(50, 3);
  const auto refused = [&](const FitOptions& o, const char* with) {
    CHECK_THROWS_WITH_AS(fit(rows.schema, rows.source, o), doctest::Contains(with), Error);
  };
  refused(neuron_options(1000, 1), "square number");
  FitOptions o = neuron_options(16, 1);
  o.method = Method::em;
  refused(o, "--fit adam");
  o = neuron_options(16, 1);
  o.top_k = 2;
  refused(o, "--heads and --picks");
  o = neuron_options(16, 1);
  o.family = "student-t";
  refused(o, "gaussian or logistic");
  o = options(20000, -1, 1);
  refused(o, "--gate product-key");
}

TEST_CASE("numbers as text come back bit by bit, and other texts are refused") {
  for (const std::size_t n : {0, 1, 2, 3, 4, 5, 31}) {
    std::vector<float> values(n), back(n);
    Rng rng(1, n);
    for (float& v : values) v = static_cast<float>(rng.normal() * 1e-20);
    const std::string text = float_text(values, "x");
    REQUIRE(parse_float_text(text, back));
    CHECK(values == back);
    std::vector<float> more(n + 1);
    CHECK(!parse_float_text(text, more));
    for (std::size_t i = 0; i < text.size(); ++i) {
      std::string wrong = text;
      wrong[i] = '!';
      CHECK(!parse_float_text(wrong, back));
    }
  }
  std::vector<float> one(1);
  const std::vector<float> bad{std::numeric_limits<float>::infinity()};
  CHECK_THROWS_AS((void)float_text(bad, "x"), Error);
  CHECK(!parse_float_text("AACAfw==", one));  // infinity
}
