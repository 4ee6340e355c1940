#include "moekit/fit.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <numeric>
#include <set>
#include <thread>

#include "fit_helpers.hpp"
#include "moekit/error.hpp"
#include "moekit/simulate.hpp"
#include "reference/naive_mixture.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

/// Intercept and raw inputs.
mat design(const Columns& c) { return arma::join_rows(vec(c.y.n_elem, arma::fill::ones), c.x); }

/// The features of the experts over a source of one block.
mat features(const Mixture& m, const Rows& rows) {
  mat out;
  BlockData buffer;
  m.expert_basis.features(rows.schema, rows.source.read(0, buffer), out);
  return out;
}

vec standardised(const Rows& rows) {
  BlockData buffer;
  const Block block = rows.source.read(0, buffer);
  const Target& t = rows.schema.target;
  return (vec(const_cast<double*>(block.target), block.rows) - t.mean) / t.sd;
}

/// Penalised multinomial logistic regression by Newton with a numeric-free Hessian, all C - 1 outputs at
/// once: an independent program. theta: p x C with the last column zero, or (symmetric) adding up to zero;
/// the ridge is on the slopes of the free columns (not symmetric) or of all columns (symmetric).
mat newton_logit(const mat& x, const vec& y, uword classes, double ridge, bool symmetric) {
  const uword p = x.n_cols, m = symmetric ? classes : classes - 1;
  vec theta(p * m, arma::fill::zeros);
  mat all;
  for (int step = 0; step < 60; ++step) {
    all = arma::reshape(theta, p, m);
    if (!symmetric) all.insert_cols(m, 1);
    mat prob = arma::exp(x * all);
    prob.each_col() /= arma::sum(prob, 1).eval();
    vec g(p * m);
    mat h(p * m, p * m);
    for (uword a = 0; a < m; ++a) {
      vec left(x.n_rows);
      for (uword i = 0; i < x.n_rows; ++i) left[i] = (y[i] == static_cast<double>(a)) - prob(i, a);
      g.subvec(a * p, a * p + p - 1) = x.t() * left;
      for (uword b = 0; b < m; ++b) {
        vec w = -prob.col(a) % prob.col(b);
        if (a == b) w += prob.col(a);
        mat scaled = x;
        scaled.each_col() %= w;
        h.submat(a * p, b * p, arma::size(p, p)) = x.t() * scaled;
      }
      for (uword j = 1; j < p; ++j) {
        g[a * p + j] -= ridge * theta[a * p + j];
        h(a * p + j, a * p + j) += ridge;
      }
    }
    // Symmetric intercepts are free up to a common shift.
    if (symmetric)
      for (uword a = 0; a < m; ++a)
        for (uword b = 0; b < m; ++b) h(a * p, b * p) += 1;
    theta += arma::solve(h, g);
  }
  return all;
}

/// Relative to the largest entry.
double difference(const mat& a, const mat& b) {
  return arma::abs(a - b).max() / std::max(1.0, arma::abs(b).max());
}

/// Coefficients of expert k on raw inputs, in the units of the target.
vec raw_coefficients(const Model& model, uword k, uword output = 0) {
  const Mixture& m = model.members.front();
  const Target& t = model.schema.target;
  vec w = m.expert_basis.in_input_units(m.experts->coefficients(k).col(output));
  if (t.task == Task::regression) {
    w *= t.sd;
    w[0] += t.mean;
  }
  return w;
}

Columns replicate(const Columns& c, const std::vector<uword>& times) {
  std::vector<uword> index;
  for (uword i = 0; i < times.size(); ++i) index.insert(index.end(), times[i], i);
  return pick(c, arma::uvec(index));
}

}  // namespace

TEST_CASE("one expert, ridge 0: ordinary least squares with variance RSS / n") {
  for (const double offset : {0.0, 1e6}) {
    Columns c = piecewise(200, 3, 3, 1);
    c.x.col(1) = offset + 50 * c.x.col(1);
    c.y = -3 + 20 * c.y;
    const Rows rows = to_rows(c);
    const Model model = fit(rows.schema, rows.source, options(1, 0));
    const mat x = design(c);
    mat centred = x;  // least squares on centred columns, then back: no digits lost to the offset
    const arma::rowvec mean = arma::mean(c.x, 0);
    centred.tail_cols(3).each_row() -= mean;
    vec w = arma::solve(centred, c.y);
    const vec fitted = centred * w;
    const vec slopes = w.tail(3);
    w[0] -= arma::dot(mean, slopes);
    const double rss = arma::accu(arma::square(c.y - fitted)), n = 200;
    const vec got = raw_coefficients(model, 0);
    CHECK(difference(got, w) <= 1e-8);
    CHECK(difference(got.tail(3), slopes) <= 1e-8);
    CHECK(difference(predictions(model, rows.source), fitted) <= 1e-8);
    const double sigma = model.members[0].experts->noise(0) * rows.schema.target.sd;
    CHECK(sigma * sigma == doctest::Approx(rss / n).epsilon(1e-8));
    CHECK(model.provenance.log_likelihood ==
          doctest::Approx(-0.5 * n * (std::log(2 * M_PI * rss / n) + 1)).epsilon(1e-10));
  }
}

TEST_CASE("one expert, ridge 0: logistic regression") {
  for (const uword classes : {2, 3, 4}) {
    Columns c = piecewise(300, 2, 1, classes, classes);
    c.x.col(0) = 10 + 4 * c.x.col(0);
    const Rows rows = to_rows(c);
    const Model model = fit(rows.schema, rows.source, options(1, 0));
    const mat theta = newton_logit(design(c), c.y, classes, 0, false);
    for (uword k = 0; k + 1 < classes; ++k)
      CHECK(difference(raw_coefficients(model, 0, k), theta.col(k)) <= 1e-8);
  }
}

TEST_CASE("one expert, a ridge: the optimum of n ln s + RSS / (2 s^2) + L |slopes|^2 / 2") {
  for (const double ridge : {0.1, 1.0, 30.0, 1000.0}) {
    CAPTURE(ridge);
    Columns c = piecewise(150, 3, 2, 2);
    c.x.col(2) = 1e4 * (7 + c.x.col(2));
    c.y *= 1e-3;
    const Rows rows = to_rows(c);
    const Model model = fit(rows.schema, rows.source, options(1, ridge));
    const mat x = features(model.members[0], rows);
    const vec y = standardised(rows);
    // For a given variance the coefficients have a closed form, and the other way round.
    vec w;
    double variance = 1;
    for (int round = 0; round < 20000; ++round) {
      mat a = x.t() * x / variance;
      for (uword j = 1; j < x.n_cols; ++j) a(j, j) += ridge;
      w = arma::solve(a, x.t() * y / variance);
      variance = arma::accu(arma::square(y - x * w)) / 150;
    }
    CHECK(difference(model.members[0].experts->coefficients(0), w) <= 1e-8);
    CHECK(model.members[0].experts->noise(0) == doctest::Approx(std::sqrt(variance)).epsilon(1e-8));
  }
}

TEST_CASE("one expert, a ridge: penalised logistic regression on standardised inputs") {
  for (const uword classes : {2, 3})
    for (const double ridge : {0.1, 1.0, 50.0}) {
      CAPTURE(classes);
      CAPTURE(ridge);
      Columns c = piecewise(200, 2, 1, 7 + classes, classes);
      c.x.col(0) = 10 + 4 * c.x.col(0);
      const Rows rows = to_rows(c);
      const Model model = fit(rows.schema, rows.source, options(1, ridge));
      // Two classes: the ridge is on the one vector of slopes; more: on every class's deviation from the
      // mean.
      const mat theta = newton_logit(features(model.members[0], rows), c.y, classes, ridge, classes > 2);
      mat right = theta.head_cols(classes - 1).eval().each_col() - theta.col(classes - 1);
      CHECK(difference(model.members[0].experts->coefficients(0), right) <= 1e-8);
    }
}

TEST_CASE("several experts, a ridge: gate and experts are stationary points of the documented objective") {
  for (const uword classes : {0, 2}) {
    const double ridge = 2;
    const Columns c = piecewise(400, 2, 2, 3, classes);
    const Rows rows = to_rows(c);
    FitOptions o = options(2, ridge);
    o.tolerance = 1e-15;
    o.max_iterations = 20000;
    o.initial_region = slices(c, 2);
    const Model model = fit(rows.schema, rows.source, o);
    const Mixture& m = model.members[0];
    const mat x = features(m, rows);
    const naive::Parameters p = naive::parameters(m);
    naive::Parameters g = naive::gradient(p, {x, x, classes > 0 ? c.y : standardised(rows), {}});
    const auto penalise = [&](mat& gradient, const mat& at) {
      for (uword j = 1; j < at.n_rows; ++j) gradient.row(j) -= ridge * at.row(j);
    };
    penalise(g.gate, p.gate);
    // A gain under 1e-15 a row leaves 2 gain x curvature (under 400) >= slope^2: slopes of some 1e-5.
    CHECK(arma::abs(g.gate).max() <= 1e-4);
    for (uword k = 0; k < 2; ++k) {
      penalise(g.expert[k], p.expert[k]);
      // The curvature of a Gaussian expert is rows / s^2.
      const double scale = classes > 0 ? 1 : std::max(1.0, 1 / p.noise[k]);
      CHECK(arma::abs(g.expert[k]).max() <= 1e-4 * scale);
    }
    if (classes == 0) CHECK(arma::abs(g.noise).max() <= 1e-4);
  }
}

TEST_CASE("weight 2 is the row twice, weight 0 the row left out") {
  for (const uword classes : {0, 2})
    for (const uword experts : {1, 2, 3})
      for (const double ridge : {0.0, 1.0, -1.0}) {
        CAPTURE(classes);
        CAPTURE(experts);
        CAPTURE(ridge);
        Columns c = piecewise(240, 2, 2, 4, classes);
        Rng rng(4, 4);
        std::vector<uword> times(240);
        for (uword& t : times) t = rng.below(3);
        if (classes == 0)
          for (uword i = 0; i < 240; ++i)
            if (times[i] == 0) c.y[i] = 1e5;  // what is left out must not be felt
        c.levels.set_size(240, 1);
        c.level_count = {4};
        // Level 3 stands in rows of weight 0 only.
        for (uword i = 0; i < 240; ++i) c.levels(i, 0) = times[i] == 0 ? 3 : rng.below(3);
        const std::vector<std::uint32_t> region = slices(c, experts);
        Columns weighted = c;
        weighted.weight = arma::conv_to<vec>::from(times);
        const Rows a = to_rows(weighted), b = to_rows(replicate(c, times));
        std::vector<uword> index;
        for (uword i = 0; i < 240; ++i) index.insert(index.end(), times[i], i);
        CHECK(a.schema.total_weight == b.schema.total_weight);
        for (uword j = 0; j < 2; ++j) {
          CHECK(a.schema.inputs[j].mean == doctest::Approx(b.schema.inputs[j].mean).epsilon(1e-12));
          CHECK(a.schema.inputs[j].sd == doctest::Approx(b.schema.inputs[j].sd).epsilon(1e-12));
        }
        FitOptions o = options(experts, ridge);
        o.initial_region = region;
        o.tolerance = 1e-13;  // to the optimum, so that rounding does not decide at which pass a fit stops
        o.max_iterations = 5000;
        const Model with_weights = fit(a.schema, a.source, o);
        o.initial_region = pick(region, arma::uvec(index));
        const Model with_rows = fit(b.schema, b.source, o);
        const Provenance &p = with_weights.provenance, &q = with_rows.provenance;
        CHECK(with_weights.members[0].expert_basis.size() == with_rows.members[0].expert_basis.size());
        CHECK(p.log_likelihood == doctest::Approx(q.log_likelihood).epsilon(1e-6));
        CHECK(p.single_log_likelihood == doctest::Approx(q.single_log_likelihood).epsilon(1e-6));
        CHECK(p.bic == doctest::Approx(q.bic).epsilon(1e-6));
        CHECK(p.parameters == q.parameters);
        const double tolerance = experts == 1 ? 1e-8 : 1e-5;
        CHECK(difference(predictions(with_weights, b.source), predictions(with_rows, b.source)) <= tolerance);
      }
}

TEST_CASE("the order of the rows does not matter") {
  for (const uword classes : {0, 2})
    for (const uword experts : {2, 3})
      for (const double ridge : {0.0, 1.0, -1.0})
        for (std::uint64_t seed = 0; seed < 5; ++seed) {
          CAPTURE(classes);
          CAPTURE(experts);
          CAPTURE(ridge);
          CAPTURE(seed);
          const Columns c = piecewise(300, 2, 3, seed, classes);
          const arma::uvec order = shuffled(300, seed);
          const Rows a = to_rows(c), b = to_rows(pick(c, order));
          FitOptions o = options(experts, ridge);
          o.initial_region = slices(c, experts);
          const double first = fit(a.schema, a.source, o).provenance.log_likelihood;
          o.initial_region = pick(o.initial_region, order);
          // Classes that can be separated: without penalties the likelihood rises for ever, ever more slowly,
          // and rounding decides at which pass a fit stops.
          const double slack = classes > 0 && ridge == 0 ? 1e-3 : 1e-6;
          CHECK(std::abs(fit(b.schema, b.source, o).provenance.log_likelihood - first) <= slack);
        }
}

TEST_CASE("rescaling inputs or the target leaves predictions the same") {
  for (const uword classes : {0, 3})
    for (const double ridge : {0.0, 1.0, -1.0})
      for (const double scale : {8.0, 2.54e-7, 3.7e9}) {
        CAPTURE(classes);
        CAPTURE(ridge);
        CAPTURE(scale);
        const Columns c = piecewise(300, 2, 2, 12, classes);
        Columns other = c;
        other.x.col(0) = scale * (3 + c.x.col(0));
        other.x.col(1) = c.x.col(1) / scale - 1;
        if (classes == 0) other.y = scale * (c.y - 11);
        const Rows a = to_rows(c), b = to_rows(other);
        const Model first = fit(a.schema, a.source, options(2, ridge, 8));
        const Model second = fit(b.schema, b.source, options(2, ridge, 8));
        mat back = predictions(second, b.source);
        if (classes == 0) back = back / scale + 11;
        CHECK(difference(back, predictions(first, a.source)) <= 1e-6);
      }
}

TEST_CASE("rescaling a rounded target leaves predictions the same") {
  // Half of the targets are 5: the noise of their expert is that of the rounding, which scales with the
  // target.
  Columns c = piecewise(300, 1, 2, 13);
  for (uword i = 0; i < 300; ++i) c.y[i] = c.x(i, 0) < 0 ? 5 : std::round(3 * c.y[i]);
  const Rows a = to_rows(c);
  const mat right = predictions(fit(a.schema, a.source, options(2, -1, 6)), a.source);
  for (const double scale : {10.0, 0.01, 2.54, 1e-7, 1.0 / 3}) {
    CAPTURE(scale);
    Columns other = c;
    other.y *= scale;
    const Rows b = to_rows(other);
    const Model model = fit(b.schema, b.source, options(2, -1, 6));
    CHECK(difference(predictions(model, b.source) / scale, right) <= 1e-6);
  }
}

TEST_CASE("the same bits with 1, 2 and 5 threads") {
  const auto check = [](const Rows& rows, const FitOptions& o) {
    const Model first = fit(rows.schema, rows.source, o, {1});
    for (const int threads : {2, 5}) {
      const Model other = fit(rows.schema, rows.source, o, {threads});
      REQUIRE(other.members.size() == 1);
      CHECK(same_bits(numbers(other.members[0]), numbers(first.members[0])));
      CHECK(same_bits(other.provenance.trace, first.provenance.trace));
      CHECK(same_bits(other.members[0].share, first.members[0].share));
      CHECK(other.provenance.icl == first.provenance.icl);
      CHECK(other.provenance.fingerprint == first.provenance.fingerprint);
      REQUIRE(other.provenance.starts.size() == first.provenance.starts.size());
      for (std::size_t s = 0; s < first.provenance.starts.size(); ++s) {
        CHECK(other.provenance.starts[s].kind == first.provenance.starts[s].kind);
        CHECK(other.provenance.starts[s].log_likelihood == first.provenance.starts[s].log_likelihood);
        CHECK(other.provenance.starts[s].difference == first.provenance.starts[s].difference);
      }
    }
  };
  SUBCASE("starts side by side") {
    for (const uword classes : {0, 2})
      for (const double ridge : {0.0, 1.0, -1.0}) {
        FitOptions o = options(3, ridge, 9);
        o.max_iterations = 60;
        check(to_rows(piecewise(3000, 2, 3, 5, classes)), o);
      }
  }
  SUBCASE("rows shared out") {
    FitOptions o = options(2, -1, 3);
    o.max_iterations = 12;
    check(to_rows(piecewise(70000, 1, 2, 6)), o);
  }
}

TEST_CASE("restarts differ, the best is returned, and the table of starts says so") {
  const Rows rows = to_rows(piecewise(250, 1, 4, 21));
  const Model model = fit(rows.schema, rows.source, options(4, 0, 16));
  const Provenance& p = model.provenance;
  REQUIRE(p.starts.size() == 16);
  std::set<std::string> kinds;
  std::set<double> ends;
  double best = -arma::datum::inf;
  int hits = 0;
  for (const Start& s : p.starts) {
    kinds.insert(s.kind);
    ends.insert(std::round(s.log_likelihood * 10));
    CHECK(s.iterations > 0);
    CHECK(s.difference >= 0);
    CHECK(s.difference <= 1);
    CHECK(s.refused != s.reason.empty());
    if (s.finished && !s.refused) {
      best = std::max(best, s.log_likelihood);
      hits += std::abs(s.log_likelihood - p.log_likelihood) < 0.01;
    }
  }
  CHECK(kinds.size() >= 4);
  CHECK(ends.size() >= 2);
  CHECK(p.log_likelihood == best);
  CHECK(p.log_likelihood == p.starts.front().log_likelihood);
  CHECK(p.starts.front().difference == 0);
  CHECK(p.best_hits == hits);
  CHECK(p.best_hits >= 1);
  CHECK(log_likelihood(model, rows.source) == doctest::Approx(p.log_likelihood).epsilon(1e-10));
}

TEST_CASE(
    "of a large table, starts that meet on the sample share one fit of all rows, and stragglers leave") {
  SimulateOptions known;
  known.rows = 20000;
  known.inputs = 4;
  Simulation simulation(known);
  Columns drawn;
  arma::uvec region;
  simulation.rows(0, known.rows, drawn.x, drawn.y, region);
  const Rows rows = to_rows(drawn);
  FitOptions o;
  o.experts = 3;
  o.ridge_mode = Penalty::Mode::none;
  o.restarts = 10;
  const Model all = fit(rows.schema, rows.source, o);
  const Provenance& p = all.provenance;
  REQUIRE(p.starts.size() == 10);
  CHECK(p.best_hits >= 3);
  const Model again = fit(rows.schema, rows.source, o, Compute{2, &one_rank()});
  CHECK(again.provenance.log_likelihood == p.log_likelihood);
  for (const Start& s : p.starts) {
    CAPTURE(s.kind);
    // What was finished has the likelihood of all rows, the others that of the sample.
    CHECK(s.finished == (s.log_likelihood < 0.9 * p.log_likelihood));
    CHECK(s.iterations > 0);
  }
}

TEST_CASE("more restarts never end lower, and the seed decides") {
  const Rows rows = to_rows(piecewise(250, 1, 4, 22));
  double before = -arma::datum::inf;
  for (const int restarts : {1, 4, 12}) {
    const double now = fit(rows.schema, rows.source, options(4, 0, restarts)).provenance.log_likelihood;
    CHECK(now >= before - 1e-9);
    before = now;
  }
  FitOptions o = options(4, -1, 3);
  const Model first = fit(rows.schema, rows.source, o), again = fit(rows.schema, rows.source, o);
  CHECK(same_bits(numbers(first.members[0]), numbers(again.members[0])));
  o.seed = 1;
  const Model other = fit(rows.schema, rows.source, o);
  CHECK(!same_bits(numbers(first.members[0]), numbers(other.members[0])));
}

TEST_CASE("experts are numbered by falling share") {
  for (const uword classes : {0, 2}) {
    Columns c = piecewise(400, 1, 3, 9, classes);
    const Rows rows = to_rows(c);
    const Model model = fit(rows.schema, rows.source, options(3, -1, 6));
    const Mixture& m = model.members[0];
    REQUIRE(m.share.size() == m.count());
    BlockData buffer;
    Posterior work;
    posterior(m, rows.schema, rows.source.read(0, buffer), work);
    for (uword k = 0; k < m.count(); ++k) {
      CHECK(m.share[k] == doctest::Approx(arma::mean(work.responsibility.col(k))).epsilon(1e-10));
      if (k > 0) CHECK(m.share[k] <= m.share[k - 1]);
    }
    CHECK(std::accumulate(m.share.begin(), m.share.end(), 0.0) == doctest::Approx(1).epsilon(1e-12));
  }
}

TEST_CASE("the report and the provenance say how the model was made") {
  Columns c = piecewise(300, 2, 2, 31);
  c.y *= 50;
  c.weight.set_size(300);
  c.weight.fill(2);
  const Rows rows = to_rows(c);
  FitOptions o = options(2, 0, 5);
  o.seed = 17;
  FitReport report;
  const Model model = fit(rows.schema, rows.source, o, {}, {}, &report);
  const Provenance& p = model.provenance;
  CHECK(report.status == "converged");
  CHECK(report.seconds > 0);
  CHECK(p.status == report.status);
  CHECK(p.seed == 17);
  CHECK(!p.version.empty());
  CHECK(p.fingerprint == fingerprint(rows.schema, rows.source));
  CHECK(model.family == "gaussian");
  CHECK(model.gate_family == "softmax");
  CHECK(p.parameters == 2 * (3 + 1) + 3);  // slopes, intercept and variance of two experts, one gate contrast
  CHECK(p.effective_parameters == p.parameters);
  CHECK(p.aic == doctest::Approx(-2 * p.log_likelihood + 2 * p.parameters));
  CHECK(p.bic == doctest::Approx(-2 * p.log_likelihood + p.parameters * std::log(600.0)));
  double entropy = 0;
  BlockData buffer;
  Posterior work;
  posterior(model.members[0], rows.schema, rows.source.read(0, buffer), work);
  for (const double r : work.responsibility)
    if (r > 0) entropy -= 2 * r * std::log(r);
  CHECK(p.icl == doctest::Approx(p.bic + 2 * entropy).epsilon(1e-10));
  const double single = fit(rows.schema, rows.source, options(1, 0)).provenance.log_likelihood;
  CHECK(p.single_log_likelihood == doctest::Approx(single).epsilon(1e-12));
  CHECK(p.log_likelihood > p.single_log_likelihood);
  REQUIRE(!p.trace.empty());
  CHECK(p.trace.back() == doctest::Approx(p.log_likelihood).epsilon(1e-12));
  for (std::size_t i = 1; i < p.trace.size(); ++i)
    CHECK(p.trace[i] >= p.trace[i - 1] - 1e-8 * std::abs(p.trace[i - 1]));
  CHECK(p.iterations >= static_cast<int>(p.trace.size()));
  const Model automatic = fit(rows.schema, rows.source, options(2, -1, 3));
  CHECK(automatic.provenance.effective_parameters < automatic.provenance.parameters);
  CHECK(automatic.provenance.effective_parameters > 0);
}

TEST_CASE("a fit that meets its limit says so") {
  const Rows rows = to_rows(piecewise(300, 2, 3, 32));
  FitOptions o = options(4, 0, 2);
  o.max_iterations = 3;
  CHECK(fit(rows.schema, rows.source, o).provenance.status == "iteration_limit");
}

TEST_CASE("the callback is never called twice at once and can stop the fit at any time") {
  const Rows rows = to_rows(piecewise(400, 2, 3, 33));
  for (const int last : {1, 2, 5, 30, 200}) {
    std::atomic<int> inside{0}, calls{0}, overlaps{0}, after{0};
    bool asked = false;
    FitReport report;
    const Model model = fit(
        rows.schema, rows.source, options(3, 0, 8), {3},
        [&](const Iteration& i) {
          if (++inside > 1) ++overlaps;
          after += asked;
          CHECK(i.start >= -1);
          CHECK(i.start < i.starts);
          std::this_thread::yield();
          asked = ++calls >= last;
          --inside;
          return asked ? Next::stop : Next::proceed;
        },
        &report);
    CAPTURE(last);
    CHECK(overlaps == 0);
    CHECK(after == 0);
    CHECK(report.status == "stopped");
    CHECK(model.provenance.status == "stopped");
    REQUIRE(model.members.size() == 1);
    CHECK(all_finite(numbers(model.members[0])));
    CHECK(predictions(model, rows.source).is_finite());
    CHECK(std::isfinite(model.provenance.log_likelihood));
    CHECK(log_likelihood(model, rows.source) ==
          doctest::Approx(model.provenance.log_likelihood).epsilon(1e-9));
  }
}

TEST_CASE("gate and experts see the columns they are given") {
  const Columns c = piecewise(300, 3, 2, 34);
  const Rows rows = to_rows(c);
  FitOptions o = options(2, 0, 4);
  o.gate_columns = {"x1"};
  o.expert_columns = {"x2", "x3"};
  const Mixture m = fit(rows.schema, rows.source, o).members[0];
  CHECK(m.gate_basis.size() == 2);
  CHECK(m.gate_basis.name(rows.schema, 1) == "x1");
  CHECK(m.expert_basis.size() == 3);
  CHECK(m.expert_basis.name(rows.schema, 2) == "x3");
}

TEST_CASE("no expert's noise is taken below that of a rounded target") {
  Columns c = piecewise(400, 1, 2, 35);
  c.y = arma::round(c.y);
  const Rows rows = to_rows(c);
  REQUIRE(rows.schema.target.step == 1);
  const double floor = 1 / std::sqrt(12.0);
  for (const double ridge : {-1.0, 0.01})
    for (const uword experts : {1, 3, 6}) {
      const Model model = fit(rows.schema, rows.source, options(experts, ridge, 6));
      for (uword k = 0; k < model.members[0].count(); ++k)
        CHECK(model.members[0].experts->noise(k) * rows.schema.target.sd >= floor * (1 - 1e-12));
    }
}

TEST_CASE("options that make no sense are refused, all problems in one message") {
  const Rows rows = to_rows(piecewise(50, 1, 2, 36));
  const auto message = [&](const FitOptions& o, Errc code) {
    try {
      fit(rows.schema, rows.source, o);
    } catch (const Error& e) {
      CHECK(e.code() == code);
      return std::string(e.what());
    }
    return std::string();
  };
  FitOptions o = options(0, 0, 0);
  o.tolerance = -1;
  const std::string all = message(o, Errc::usage);
  for (const char* name : {"--experts", "--restarts", "--tolerance"})
    CHECK(all.find(name) != std::string::npos);
  o = options(2, 0);
  o.ridge = std::nan("");
  CHECK(message(o, Errc::usage).find("--ridge") != std::string::npos);
  o = options(2, 0);
  o.family = "logistic";
  CHECK(!message(o, Errc::usage).empty());
  o = options(2, 0);
  o.family = "no such";
  CHECK(!message(o, Errc::usage).empty());
  o = options(2, 0);
  o.gate = "no such";
  CHECK(message(o, Errc::usage).find("softmax") != std::string::npos);
  o = options(2, 0);
  o.gate_columns = {"x9"};
  CHECK(message(o, Errc::usage).find("x9") != std::string::npos);
  o = options(2, 0);
  o.initial_region.assign(50, 0);
  o.initial_region[7] = 2;
  CHECK(!message(o, Errc::usage).empty());
  o.initial_region.assign(20, 0);  // not one for each row
  CHECK(!message(o, Errc::usage).empty());
  CHECK_THROWS_AS(fit(rows.schema, MemorySource{}, options(2, 0)), Error);
}

TEST_CASE("when every finished start is refused, others are finished: a short run is never the model") {
  // Enough work that only a part of the starts is finished; the best of the short runs climb into the spike
  // of the rows whose target is always the same.
  Rng rng(2, 7);
  Columns c{normal_matrix(8000, 10, Rng(2, 8)), vec(8000), {}};
  for (uword i = 0; i < c.y.n_elem; ++i) {
    const bool same = c.x(i, 0) > 1.2 && rng.uniform() < 0.5;
    c.y[i] = same ? 1.0 : rng.normal() + c.x(i, 0) * (c.x(i, 1) > 0 ? 1 : -1);
  }
  const Rows rows = to_rows(c);
  const Model model = fit(rows.schema, rows.source, options(3, 0, 40));
  const Provenance& p = model.provenance;
  CHECK(p.iterations > 12);  // a short run has no more passes
  CHECK(p.log_likelihood == doctest::Approx(log_likelihood(model, rows.source)).epsilon(1e-9));
  bool refused = false, stands = false;
  for (const Start& s : p.starts) {
    refused = refused || s.refused;
    stands = stands || (s.finished && !s.refused && s.log_likelihood == p.log_likelihood);
  }
  CHECK(refused);  // or this test shows nothing
  CHECK(stands);
}
