#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "fit_helpers.hpp"
#include "reference/banks.hpp"
#include "reference/climbing.hpp"
#include "reference/densities.hpp"
#include "reference/naive_mixture.hpp"
#include "shapes.hpp"
#include "softmax_regression.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// What every expert family and every gate promises, over the tables of families.

namespace {

/// Rows first .. last of a batch.
Batch part(const Batch& b, uword first, uword last) {
  Batch out;
  out.rows = last - first + 1;
  out.gate = b.gate.rows(first, last);
  out.expert = b.expert.rows(first, last);
  out.noise = b.noise.rows(first, last);
  out.target = b.target.subvec(first, last);
  if (b.offset) out.offset = b.offset + first;
  return out;
}

std::vector<double> expert_sums(const ExpertFamily& e, const Batch& b, const mat& r) {
  std::vector<double> sums(e.sums(), 0.0);
  e.add(b, r, sums);
  return sums;
}

void check_close(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  double size = 1, worst = 0;
  for (const double v : b) size = std::max(size, std::abs(v));
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  CHECK(worst <= tolerance * size);
}

/// sum_ik r_ik ln f_k(y_i | x_i), what the M step climbs.
double expected(const ExpertFamily& e, const Batch& b, const mat& r) {
  mat log_density;
  e.log_density(b, log_density);
  return arma::accu(r % log_density);
}

double expected(const GateFamily& g, const Batch& b, const mat& r) {
  mat log_prob;
  g.log_prob(b, log_prob);
  return arma::accu(r % log_prob);
}

std::vector<Field> all_fields(ExpertFamily& e) {
  std::vector<Field> all;
  for (uword k = 0; k < e.count(); ++k)
    for (const Field& f : e.fields(k)) all.push_back(f);
  return all;
}

/// No way leads up from here.
void check_top(const Kind& kind, ExpertFamily& experts, const std::function<double()>& objective) {
  const std::vector<Field> fields = all_fields(experts);
  if (kind.traits().kink)
    CHECK(naive::highest_nearby(fields, objective) <= 1e-4);
  else
    CHECK(naive::steepest(fields, objective) <= 1e-5);
}

const Penalty kPenalties[] = {{.mode = Penalty::Mode::none},
                              {.mode = Penalty::Mode::fixed, .ridge = 3},
                              {.mode = Penalty::Mode::evidence, .refresh = false}};

mat gate_prob(const GateFamily& g, const Batch& b) {
  mat prob;
  g.log_prob(b, prob);
  return arma::exp(prob);
}

std::vector<double> gate_sums(const GateFamily& g, const Batch& b, const mat& r) {
  std::vector<double> sums(g.sums(), 0.0);
  g.add(b, gate_prob(g, b), r, sums);
  return sums;
}

struct GateBank {
  std::unique_ptr<GateFamily> gate;
  Batch batch;
  mat responsibility;
};

GateBank make_gate_bank(const std::string& name, uword n, uword p, uword k, std::uint64_t seed) {
  GateBank b{make_gate(name, gate_shape(k, p)), {}, mat(n, k)};
  draw_fields(b.gate->fields(), Rng(seed, 3));
  Rng rng(seed, 4);
  b.batch.rows = n;
  b.batch.gate = with_intercept(n, p, Rng(seed, 5));
  for (double& r : b.responsibility) r = rng.uniform() * rng.uniform();
  return b;
}

}  // namespace

TEST_CASE("the tables name their families, and an unknown name lists the known") {
  CHECK(!expert_families().empty());
  for (const std::string& family : expert_families()) {
    CHECK(make_experts(family, expert_shape(3, 2, 2))->name() == family);
    CHECK(make_experts(family, expert_shape(3, 2, 2))->count() == 3);
    CHECK_THROWS_WITH(make_experts("no such", expert_shape(1, 1, 2)), doctest::Contains(family.c_str()));
  }
  for (const std::string& gate : gate_families()) {
    CHECK(make_gate(gate, gate_shape(3, 2))->name() == gate);
    CHECK(make_gate(gate, gate_shape(3, 2))->count() == 3);
    CHECK_THROWS_WITH(make_gate("no such", gate_shape(1, 1)), doctest::Contains(gate.c_str()));
  }
}

TEST_CASE("experts: the fast log density equals Boost's row by row") {
  for_each_family([](const Kind& kind) {
    const Bank b = make_bank(kind, 37, 4, 3, 1);
    mat got;
    b.experts->log_density(b.batch, got);
    const mat right = naive::log_densities(*b.experts, b.batch);
    CHECK(arma::abs(got - right).max() <= 1e-11 * (1 + arma::abs(right).max()));
  });
}

TEST_CASE("experts: distribution function and moments equal Boost's row by row") {
  for_each_family([](const Kind& kind) {
    if (kind.classes > 0) return;
    const Bank b = make_bank(kind, 37, 4, 3, 14);
    mat cumulative, mean, sd;
    b.experts->cumulative(b.batch, b.batch.target, cumulative);
    b.experts->moments(b.batch, mean, sd);
    for (uword k = 0; k < 3; ++k)
      for (uword i = 0; i < 37; ++i) {
        const naive::Distribution right =
            naive::distribution(kind.family, naive::place(*b.experts, b.batch, i, k), b.batch.target[i]);
        CHECK(cumulative(i, k) == doctest::Approx(right.cumulative).epsilon(1e-11));
        CHECK(mean(i, k) == doctest::Approx(right.mean).epsilon(1e-12));
        CHECK(sd(i, k) == doctest::Approx(right.sd).epsilon(1e-12));
      }
  });
}

TEST_CASE("experts: a missing target has no density") {
  for_each_family([](const Kind& kind) {
    Bank b = make_bank(kind, 5, 2, 2, 1);
    b.batch.target[3] = std::numeric_limits<double>::quiet_NaN();
    mat got;
    b.experts->log_density(b.batch, got);
    for (uword i = 0; i < 5; ++i) CHECK(std::isnan(got(i, 1)) == (i == 3));
  });
}

TEST_CASE("experts: two parts of the rows add up to the whole, and weights are linear") {
  for_each_family([](const Kind& kind) {
    const Bank b = make_bank(kind, 101, 5, 3, 2);
    const std::vector<double> whole = expert_sums(*b.experts, b.batch, b.responsibility);
    std::vector<double> parts(b.experts->sums(), 0.0);
    b.experts->add(part(b.batch, 0, 39), b.responsibility.rows(0, 39), parts);
    b.experts->add(part(b.batch, 40, 100), b.responsibility.rows(40, 100), parts);
    check_close(parts, whole, 1e-13);
    std::vector<double> twice = whole;
    for (double& v : twice) v *= 2;
    check_close(expert_sums(*b.experts, b.batch, 2 * b.responsibility), twice, 1e-13);
  });
}

TEST_CASE("experts: where updates stop, the derivative of the penalised likelihood is zero") {
  // The gradient in the sums is right if and only if fixed points of the update are stationary: central
  // differences of the objective (error h^2 times third derivatives, and rounding over h: under 1e-5 here).
  for_each_family([](const Kind& kind) {
    for (const Penalty& penalty : kPenalties) {
      CAPTURE(static_cast<int>(penalty.mode));
      Bank b = make_bank(kind, 80, 3, 2, 3);
      const auto update = [&] {
        b.experts->update(expert_sums(*b.experts, b.batch, b.responsibility), penalty);
      };
      const auto objective = [&] {
        return expected(*b.experts, b.batch, b.responsibility) + b.experts->log_prior();
      };
      bool climbs = true;
      for (int step = 0; step < 200; ++step)
        climbs = naive::damped(all_fields(*b.experts), update, objective) && climbs;
      check_top(kind, *b.experts, objective);
      CHECK(climbs);
    }
  });
}

TEST_CASE("experts: the penalties settle, and the fixed point under them is stationary") {
  for_each_family([](const Kind& kind) {
    Bank b = make_bank(kind, 120, 4, 2, 4);
    draw_fields(b.experts->fields(0), Rng(4, 20));
    Penalty penalty;
    for (int step = 0; step < 300; ++step) {
      penalty.refresh = step % 2 == 0 && step < 250;
      b.experts->update(expert_sums(*b.experts, b.batch, b.responsibility), penalty);
    }
    check_top(kind, *b.experts,
              [&] { return expected(*b.experts, b.batch, b.responsibility) + b.experts->log_prior(); });
    CHECK(b.experts->effective_parameters() <= b.experts->free_parameters());
    CHECK(b.experts->effective_parameters() > 0);
  });
}

TEST_CASE("experts: from anywhere some part of an update climbs") {
  for_each_family([](const Kind& kind) {
    for (std::uint64_t seed = 0; seed < 10; ++seed)
      for (const Penalty& penalty : kPenalties) {
        Bank b = make_bank(kind, 60, 3, 2, seed);
        const auto update = [&] {
          b.experts->update(expert_sums(*b.experts, b.batch, b.responsibility), penalty);
        };
        update();  // now the penalty is the family's too
        draw_fields(b.experts->fields(0), Rng(seed, 20));
        for (int step = 0; step < 3; ++step)
          CHECK(naive::damped(all_fields(*b.experts), update, [&] {
            return expected(*b.experts, b.batch, b.responsibility) + b.experts->log_prior();
          }));
      }
  });
}

TEST_CASE("experts: an expert without rows stays finite") {
  for_each_family([](const Kind& kind) {
    for (Penalty penalty : kPenalties) {
      penalty.refresh = true;
      Bank b = make_bank(kind, 60, 3, 2, 5);
      b.responsibility.col(1).zeros();
      for (int step = 0; step < 5; ++step)
        b.experts->update(expert_sums(*b.experts, b.batch, b.responsibility), penalty);
      for (uword k = 0; k < 2; ++k)
        for (const Field& f : b.experts->fields(k)) CHECK(all_finite({f.values.begin(), f.values.end()}));
      mat density;
      b.experts->log_density(b.batch, density);
      CHECK(density.is_finite());
      CHECK(!b.experts->degenerate(1, 0).empty());
    }
  });
}

TEST_CASE("experts: a clone is a copy of its own") {
  for_each_family([](const Kind& kind) {
    const Bank b = make_bank(kind, 20, 3, 2, 6);
    const auto clone = b.experts->clone();
    mat before, now;
    b.experts->log_density(b.batch, before);
    clone->log_density(b.batch, now);
    CHECK(arma::approx_equal(now, before, "absdiff", 0.0));
    for (const Field& f : clone->fields(1))
      for (double& v : f.values) v += 0.5;
    b.experts->log_density(b.batch, now);
    CHECK(arma::approx_equal(now, before, "absdiff", 0.0));
    clone->log_density(b.batch, now);
    CHECK(arma::approx_equal(now.col(0), before.col(0), "absdiff", 0.0));
    CHECK(!arma::approx_equal(now.col(1), before.col(1), "absdiff", 1e-3));
  });
}

TEST_CASE("experts: select duplicates, drops and reorders") {
  for_each_family([](const Kind& kind) {
    for (const std::vector<uword>& from :
         {std::vector<uword>{2, 0, 1}, std::vector<uword>{1}, std::vector<uword>{0, 0, 2, 1, 1}}) {
      const Bank b = make_bank(kind, 20, 3, 3, 7);
      mat before, now;
      b.experts->log_density(b.batch, before);
      const auto chosen = b.experts->clone();
      chosen->select(from);
      REQUIRE(chosen->count() == from.size());
      chosen->log_density(b.batch, now);
      for (uword j = 0; j < from.size(); ++j)
        CHECK(arma::approx_equal(now.col(j), before.col(from[j]), "absdiff", 1e-14));
      const std::vector<double> sums = expert_sums(*chosen, b.batch, mat(20, from.size(), arma::fill::ones));
      chosen->update(sums, kPenalties[1]);  // and can be trained on
      CHECK(std::isfinite(chosen->log_prior()));
    }
  });
}

TEST_CASE("experts: fields hold everything that predictions depend on") {
  for_each_family([](const Kind& kind) {
    Bank b = make_bank(kind, 30, 3, 2, 8);
    b.experts->update(expert_sums(*b.experts, b.batch, b.responsibility), Penalty{});
    const auto fresh = make_experts(kind.family, kind.shape(2, 3));
    for (uword k = 0; k < 2; ++k) {
      const std::vector<Field> from = b.experts->fields(k), to = fresh->fields(k);
      REQUIRE(from.size() == to.size());
      for (std::size_t f = 0; f < from.size(); ++f) {
        CHECK(from[f].name == to[f].name);
        REQUIRE(from[f].values.size() == to[f].values.size());
        std::copy(from[f].values.begin(), from[f].values.end(), to[f].values.begin());
      }
    }
    mat a, c;
    b.experts->log_density(b.batch, a);
    fresh->log_density(b.batch, c);
    CHECK(arma::approx_equal(a, c, "absdiff", 0.0));
  });
}

TEST_CASE("experts: the probabilities of classes are what the density says, and add up to one") {
  for_each_family([](const Kind& kind) {
    if (kind.classes == 0) return;
    const Bank b = make_bank(kind, 12, 3, 2, 9);
    arma::cube prob;
    b.experts->class_probabilities(b.batch, prob);
    REQUIRE(prob.n_cols == kind.classes);
    mat density;
    b.experts->log_density(b.batch, density);
    for (uword k = 0; k < 2; ++k)
      for (uword i = 0; i < 12; ++i) {
        double total = 0;
        for (uword c = 0; c < kind.classes; ++c) total += prob(i, c, k);
        CHECK(total == doctest::Approx(1).epsilon(1e-14));
        CHECK(std::log(prob(i, static_cast<uword>(b.batch.target[i]), k)) ==
              doctest::Approx(density(i, k)).epsilon(1e-12));
      }
  });
}

TEST_CASE("experts: the density is the derivative of the distribution function, or its step") {
  for_each_family([](const Kind& kind) {
    if (kind.classes > 0) return;
    const Bank b = make_bank(kind, 30, 3, 2, 9);
    mat up, down, density;
    b.experts->log_density(b.batch, density);
    if (kind.traits().task == Task::count) {
      b.experts->cumulative(b.batch, b.batch.target + 0.7, up);
      b.experts->cumulative(b.batch, b.batch.target - 0.3, down);
      CHECK(arma::abs(up - down - arma::exp(density)).max() <= 1e-12);
      return;
    }
    const vec h = 1e-4 * arma::clamp(arma::abs(b.batch.target), 1e-2, 1);
    b.experts->cumulative(b.batch, b.batch.target + h, up);
    b.experts->cumulative(b.batch, b.batch.target - h, down);
    const mat slope = (up - down).eval().each_col() / (2 * h);
    CHECK(arma::abs(slope - arma::exp(density)).max() <= 1e-6 * (1 + arma::exp(density).max()));
  });
}

TEST_CASE("experts: density and moments agree") {
  // By the trapezoidal rule over t: y = mean + sd sinh(t), behind a log link y = mean exp(t); counts are
  // added up one by one. Laplace's kink lies on a node, where the rule's error is of the order of its step
  // squared.
  for_each_family([](const Kind& kind) {
    if (kind.classes > 0) return;
    const uword n = 6;
    Bank b = make_bank(kind, n, 3, 2, 9);
    mat density, mean, sd;
    b.experts->moments(b.batch, mean, sd);
    const bool counts = kind.traits().task == Task::count, positive = kind.traits().log_link;
    const double step = counts ? 1 : 0.01;
    const int from = counts ? 0 : (positive ? -30000 : -6000), to = counts ? 20000 : (positive ? 1200 : 6000);
    for (uword k = 0; k < 2; ++k) {
      vec total(n, arma::fill::zeros), first = total, second = total;
      for (int s = from; s <= to; ++s) {
        const double t = step * s;
        vec width(n, arma::fill::ones);
        if (counts)
          b.batch.target.fill(s);
        else if (positive)
          width = b.batch.target = mean.col(k) * std::exp(t);
        else
          b.batch.target = mean.col(k) + std::sinh(t) * sd.col(k), width = std::cosh(t) * sd.col(k);
        b.experts->log_density(b.batch, density);
        const vec mass = step * width % arma::exp(density.col(k)), far = b.batch.target - mean.col(k);
        total += mass;
        first += mass % far;
        second += mass % far % far;
      }
      const double close = kind.traits().kink ? 1e-4 : 1e-7;
      CHECK(arma::abs(total - 1).max() <= close);
      CHECK(arma::abs(first / sd.col(k)).max() <= close);
      CHECK(arma::abs(arma::sqrt(second) / sd.col(k) - 1).max() <= close);
    }
  });
}

TEST_CASE("gates: the log probabilities equal plain loops and add up to one") {
  for (const std::string& name : gate_families())
    for (const uword k : {1, 2, 5}) {
      const GateBank b = make_gate_bank(name, 33, 4, k, 1);
      mat got;
      b.gate->log_prob(b.batch, got);
      CHECK(arma::abs(arma::sum(arma::exp(got), 1) - 1).max() <= 1e-14);
      if (b.gate->coefficients().is_empty()) continue;  // no scores
      naive::Parameters p;
      p.gate = b.gate->coefficients();
      const naive::Data data{b.batch.gate, {}, {}, {}};
      for (uword i = 0; i < 33; ++i)
        for (uword j = 0; j < k; ++j)
          CHECK(got(i, j) == doctest::Approx(naive::log_gate(p, data, i, j)).epsilon(1e-12));
    }
}

TEST_CASE("gates: two parts of the rows add up to the whole") {
  for (const std::string& name : gate_families())
    for (const uword k : {2, 4}) {
      const GateBank b = make_gate_bank(name, 90, 3, k, 2);
      const mat prob = gate_prob(*b.gate, b.batch);
      std::vector<double> parts(b.gate->sums(), 0.0);
      const auto rows = [&](uword from, uword to) {
        Batch batch;
        batch.rows = to - from + 1;
        batch.gate = b.batch.gate.rows(from, to);
        b.gate->add(batch, prob.rows(from, to), b.responsibility.rows(from, to), parts);
      };
      rows(0, 50);
      rows(51, 89);
      check_close(parts, gate_sums(*b.gate, b.batch, b.responsibility), 1e-13);
    }
}

TEST_CASE("gates: where updates stop, the derivative of the penalised likelihood is zero") {
  for (const std::string& name : gate_families())
    for (const uword k : {2, 3})
      for (const Penalty& penalty : kPenalties) {
        CAPTURE(k);
        CAPTURE(static_cast<int>(penalty.mode));
        GateBank b = make_gate_bank(name, 80, 3, k, 3);
        const auto update = [&] { b.gate->update(gate_sums(*b.gate, b.batch, b.responsibility), penalty); };
        const auto objective = [&] {
          vec input;  // gates with a density of the inputs climb the joint one
          double sum = expected(*b.gate, b.batch, b.responsibility) + b.gate->log_prior();
          if (b.gate->log_input(b.batch, input)) sum += arma::dot(arma::sum(b.responsibility, 1), input);
          return sum;
        };
        update();  // a prior may be made of the rows
        bool climbs = true;
        for (int step = 0; step < 100; ++step)
          climbs = naive::damped(b.gate->fields(), update, objective) && climbs;
        CHECK(naive::steepest(b.gate->fields(), objective) <= 1e-5);
        CHECK(climbs);
      }
}

TEST_CASE("gates: clones, selection and fields") {
  for (const std::string& name : gate_families()) {
    const GateBank b = make_gate_bank(name, 25, 3, 4, 4);
    const mat before = gate_prob(*b.gate, b.batch);
    const auto clone = b.gate->clone();
    for (const Field& f : clone->fields())
      for (double& v : f.values) v += 1;
    CHECK(arma::approx_equal(gate_prob(*b.gate, b.batch), before, "absdiff", 0.0));
    CHECK(!arma::approx_equal(gate_prob(*clone, b.batch), before, "absdiff", 1e-3));

    const auto fresh = make_gate(name, gate_shape(4, 3));
    const std::vector<Field> from = b.gate->fields(), to = fresh->fields();
    for (std::size_t f = 0; f < from.size(); ++f)
      std::copy(from[f].values.begin(), from[f].values.end(), to[f].values.begin());
    CHECK(arma::approx_equal(gate_prob(*fresh, b.batch), before, "absdiff", 0.0));

    if (gate_traits(name).hierarchy) continue;  // weights go to where the experts hang
    for (const std::vector<uword>& chosen :
         {std::vector<uword>{3, 1, 0, 2}, std::vector<uword>{2}, std::vector<uword>{1, 1, 3}}) {
      const auto gate = b.gate->clone();
      gate->select(chosen);
      REQUIRE(gate->count() == chosen.size());
      const mat got = gate_prob(*gate, b.batch);
      mat right(25, chosen.size());
      for (uword j = 0; j < chosen.size(); ++j) right.col(j) = before.col(chosen[j]);
      right.each_col() /= arma::sum(right, 1).eval();
      CHECK(arma::abs(got - right).max() <= 1e-13);
    }
  }
}

namespace {

/// A table with a target for the family, on the scale that it wants.
Rows rows_for(const Kind& kind, uword n, uword inputs) {
  Columns c = piecewise(n, inputs, 2, 11, kind.classes);
  Rng rng(11, 12);
  if (!kind.plain())
    for (double& y : c.y) y = draw_target(kind, rng);
  Rows rows = to_rows(c);
  rows.schema.target.task = kind.traits().task;
  if (kind.traits().log_link) rows.schema.target.sd = rows.schema.target.mean, rows.schema.target.mean = 0;
  return rows;
}

/// k experts of a kind with drawn parameters, behind a softmax gate of the same p features.
Mixture drawn_mixture(const Kind& kind, const Rows& rows, uword k, uword p, std::uint64_t seed) {
  Mixture m;
  m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, true);
  if (kind.noise > 1) m.noise_basis = m.expert_basis;
  m.gate = Value<GateFamily>(make_gate("softmax", gate_shape(k, p)));
  m.experts = Value<ExpertFamily>(make_experts(kind.family, kind.shape(k, p)));
  draw_fields(m.fields(), Rng(3, seed));
  return m;
}

}  // namespace

TEST_CASE("a whole mixture: the E step equals plain loops, and its sums hold the gradient") {
  for_each_family([](const Kind& kind) {
    const uword n = 150, p = 3, k = 3;
    const Rows rows = rows_for(kind, n, p - 1);
    Mixture m = drawn_mixture(kind, rows, k, p, 3);
    BlockData buffer;
    const Block block = rows.source.read(0, buffer);
    Posterior post;
    posterior(m, rows.schema, block, post);
    const mat joint = arma::log(post.gate) + naive::log_densities(*m.experts, post.batch);
    const vec total = arma::log(arma::sum(arma::exp(joint), 1));
    CHECK(arma::abs(post.log_likelihood - total).max() <= 1e-10 * (1 + arma::abs(total).max()));
    CHECK(arma::abs(post.responsibility - arma::exp(joint.each_col() - total)).max() <= 1e-10);

    // Fisher's identity: at the current parameters the derivative of what the M step climbs is that of the
    // likelihood.
    Mixture moved = m;
    const auto objective = [&](const Mixture& at) {
      return expected(*at.experts, post.batch, post.responsibility) +
             expected(*at.gate, post.batch, post.responsibility);
    };
    const auto likelihood = [&] {
      Posterior there;
      posterior(moved, rows.schema, block, there);
      return arma::accu(there.log_likelihood);
    };
    for (const Field& f : moved.fields()) {
      if (f.kind == Field::Kind::fixed) continue;
      double& v = f.values[0];
      const double at = v, h = kind.traits().kink ? 1e-7 : 1e-5;
      v = at + h;
      const double q_up = objective(moved), l_up = likelihood();
      v = at - h;
      const double q_down = objective(moved), l_down = likelihood();
      v = at;
      CAPTURE(f.name);
      const double slope = (l_up - l_down) / (2 * h);
      CHECK(std::abs((q_up - q_down) / (2 * h) - slope) <= 1e-5 * (1 + std::abs(slope)));
    }
  });
}

TEST_CASE("a routed mixture: posterior and sums by the picks alone are those of all experts") {
  for_each_family([](const Kind& kind) {
    const uword n = 150, p = 3, k = 5;
    const Rows rows = rows_for(kind, n, p - 1);
    Mixture m = drawn_mixture(kind, rows, k, p, 4);
    m.routing.top_k = 2;
    BlockData buffer;
    Posterior post;
    posterior(m, rows.schema, rows.source.read(0, buffer), post);
    REQUIRE(post.batch.picks);
    REQUIRE(post.batch.picks->rows.size() == 2 * n);
    Batch all = post.batch;
    all.picks = nullptr;
    mat joint = arma::log(post.gate) + naive::log_densities(*m.experts, all);
    const vec total = arma::log(arma::sum(arma::exp(joint), 1));
    CHECK(arma::abs(post.log_likelihood - total).max() <= 1e-10 * (1 + arma::abs(total).max()));
    CHECK(arma::abs(post.responsibility - arma::exp(joint.each_col() - total)).max() <= 1e-10);
    vec sums(m.experts->sums(), arma::fill::zeros), whole = sums;
    m.experts->add(post.batch, post.responsibility, {sums.memptr(), sums.n_elem});
    m.experts->add(all, post.responsibility, {whole.memptr(), whole.n_elem});
    CHECK(arma::abs(sums - whole).max() <= 1e-9 * (1 + arma::abs(whole).max()));
  });
}

TEST_CASE("a whole mixture: posterior and gradient of the naive one") {
  for_each_family([](const Kind& kind) {
    if (!kind.plain()) return;
    const uword n = 150, p = 3, k = 3;
    const Rows rows = rows_for(kind, n, p - 1);
    Mixture m;
    m.gate_basis = m.expert_basis = linear_basis(rows.schema, {}, true);
    m.gate = Value<GateFamily>(make_gate("softmax", gate_shape(k, p)));
    m.experts = Value<ExpertFamily>(make_experts(kind.family, kind.shape(k, p)));
    draw_fields(m.fields(), Rng(3, 3));
    BlockData buffer;
    Posterior post;
    posterior(m, rows.schema, rows.source.read(0, buffer), post);
    naive::Parameters parameters = naive::parameters(m);
    const naive::Data data{post.batch.gate_features(), post.batch.expert, post.batch.target, {}};
    CHECK(arma::accu(post.log_likelihood) ==
          doctest::Approx(naive::log_likelihood(parameters, data)).epsilon(1e-12));
    CHECK(arma::abs(post.responsibility - naive::responsibilities(parameters, data)).max() <= 1e-12);

    // The naive gradient itself, against central differences of the naive likelihood.
    const naive::Parameters slope = naive::gradient(parameters, data);
    const auto difference = [&](double& v) {
      const double at = v, h = 1e-5;
      v = at + h;
      const double up = naive::log_likelihood(parameters, data);
      v = at - h;
      const double down = naive::log_likelihood(parameters, data);
      v = at;
      return (up - down) / (2 * h);
    };
    for (uword j = 0; j < p; ++j) {
      CHECK(difference(parameters.gate(j, 1)) == doctest::Approx(slope.gate(j, 1)).epsilon(1e-5));
      CHECK(difference(parameters.expert[2](j, 0)) == doctest::Approx(slope.expert[2](j, 0)).epsilon(1e-5));
    }
    if (kind.classes == 0)
      CHECK(difference(parameters.noise[0]) * parameters.noise[0] ==
            doctest::Approx(slope.noise[0]).epsilon(1e-5));
  });
}

TEST_CASE("softmax regression: the gradient in the sums equals central differences") {
  for (const uword classes : {2, 3, 6})
    for (const bool binary : {false, true}) {
      const uword n = 40, p = 3;
      SoftmaxRegression s(linear_groups(p), classes, binary);
      s.u() = 0.5 * normal_matrix(p, classes - 1, Rng(classes, 1));
      const mat x = with_intercept(n, p, Rng(classes, 2));
      Rng rng(classes, 3);
      mat label(n, classes);
      for (double& v : label) v = rng.uniform();
      const vec weight = arma::sum(label, 1);
      mat prob;
      vec scratch;
      s.probabilities(x, prob, scratch);
      std::vector<double> sums(s.sums(), 0.0);
      s.add(x, prob, label, weight.memptr(), sums);
      const mat gradient(sums.data(), p, classes);  // with respect to theta
      const mat theta = s.theta();
      const auto value = [&](const mat& t) {
        const mat logit = x * t;
        return arma::accu(label % logit) - arma::accu(weight % arma::log(arma::sum(arma::exp(logit), 1)));
      };
      for (uword j = 0; j < p; ++j)
        for (uword c = 0; c < classes; ++c) {
          mat up = theta, down = theta;
          up(j, c) += 1e-5;
          down(j, c) -= 1e-5;
          CHECK(gradient(j, c) == doctest::Approx((value(up) - value(down)) / 2e-5).epsilon(1e-6));
        }
    }
}

TEST_CASE("softmax regression: exact and bounded steps reach the same penalised optimum") {
  // More than SoftmaxRegression::kExactLimit coefficients: the bound takes over.
  struct Size {
    uword p, classes;
    bool binary;
  };
  for (const Size size : {Size{60, 9, false}, Size{402, 2, false}, Size{402, 2, true}}) {
    CAPTURE(size.p);
    CAPTURE(size.binary);
    const uword n = 300;
    SoftmaxRegression s(linear_groups(size.p), size.classes, size.binary);
    REQUIRE(s.u().n_elem > SoftmaxRegression::kExactLimit);
    const mat x = with_intercept(n, size.p, Rng(1, 2));
    Rng rng(1, 3);
    mat label(n, size.classes, arma::fill::zeros);
    for (uword i = 0; i < n; ++i) label(i, rng.below(size.classes)) = 1;
    const vec weight(n, arma::fill::ones);
    const Penalty penalty{Penalty::Mode::fixed, 5.0};
    mat prob;
    vec scratch;
    double before = -arma::datum::inf;
    const auto climb = [&] {
      s.probabilities(x, prob, scratch);
      return arma::accu(label % arma::log(prob));
    };
    for (int step = 0; step < 60; ++step) {
      climb();
      std::vector<double> sums(s.sums(), 0.0);
      s.add(x, prob, label, weight.memptr(), sums);
      s.update(sums, penalty);
    }
    before = climb() + s.log_prior();
    // The gradient of the documented objective: X'(label - prob) - L slopes, on the contrasts.
    mat gradient = x.t() * (label - prob);
    mat theta = s.theta();
    theta.row(0).zeros();
    gradient -= 5.0 * theta;
    if (size.binary) gradient = gradient.col(0);
    CHECK(arma::abs(gradient).max() <= 1e-3);
    CHECK(std::isfinite(before));
  }
}
