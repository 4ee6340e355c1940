// Ensembles of mini-batch fits: which member leaves out which rows, and what those rows say of the noise.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "fit_helpers.hpp"
#include "moekit/model_io.hpp"
#include "moekit/predict.hpp"
#include "train/committee.hpp"
#include "train/member_rows.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

namespace {

FitOptions committee(int members, int epochs = 30) {
  FitOptions o = options(2, -1, 1);
  o.seed = 3;
  o.ensemble = members;
  o.method = Method::adam;
  o.hidden = {6};
  o.gradient.epochs = epochs;
  o.gradient.patience = 5;
  return o;
}

/// Which members leave out which rows: rows x members, 1 where one does.
arma::umat left_out(const FitOptions& o, const Source& source) {
  arma::umat out(source.rows(), static_cast<uword>(o.ensemble), arma::fill::ones);
  for (int member = 0; member < o.ensemble; ++member) {
    const train::MemberRows own = train::member_rows(o, source, 17, member);
    CHECK(own.rows.rows() + own.held.rows() == source.rows());
    CHECK(own.index.size() == own.rows.rows());
    for (const std::uint64_t row : own.index) out(row, static_cast<uword>(member)) = 0;
    CHECK(arma::accu(out.col(static_cast<uword>(member))) == own.held.rows());
  }
  return out;
}

void multiply_noise(Mixture& member, double factor) {
  for (uword k = 0; k < member.count(); ++k)
    for (const Field& field : member.experts->fields(k))
      if (field.name == "noise") field.values[0] *= factor;
}

/// ln density of every row under one member with its noise times a factor, in the units of the target.
vec density_of(Model model, std::size_t member, const Block& block, double factor) {
  model.members = {model.members[member]};
  multiply_noise(model.members[0], factor);
  return predict(model, block).log_density;
}

/// Where a function with one maximum between e^-1.5 and e^1.5 has it, by golden section of the logarithm.
double maximum(const std::function<double(double)>& value) {
  const double part = (std::sqrt(5.0) - 1) / 2;
  double low = -1.5, high = 1.5;
  while (high - low > 1e-5) {
    const double a = high - part * (high - low), b = low + part * (high - low);
    (value(std::exp(a)) > value(std::exp(b)) ? high : low) = value(std::exp(a)) > value(std::exp(b)) ? b : a;
  }
  return std::exp(0.5 * (low + high));
}

}  // namespace

TEST_CASE("each member leaves out two parts; a row is left out by two members or by none") {
  for (const int members : {2, 3, 7, 10, 16}) {
    CAPTURE(members);
    const FitOptions o = committee(members);
    const Rows rows = to_rows(piecewise(2000, 2, 2, 11));
    const arma::umat out = left_out(o, rows.source);
    const double share = 1.0 / std::max(10, members), spread = std::sqrt(2000 * share * (1 - share));
    for (uword m = 0; m < out.n_cols; ++m)
      CHECK(std::abs(static_cast<double>(arma::accu(out.col(m))) - 2000 * share) < 5 * spread);
    const arma::uvec times = arma::sum(out, 1);
    for (const uword t : times) CHECK((t == 0 || t == 2));
    // What left_out_twice() says: the same rows, and the members that left them out.
    std::vector<int> named(2000, 0);
    const std::vector<train::LeftOutPart> parts = train::left_out_twice(o, 2000);
    CHECK(parts.size() == static_cast<std::size_t>(members));
    for (const train::LeftOutPart& part : parts) {
      CHECK(part.first != part.second);
      for (const std::uint64_t row : part.rows) {
        ++named[row];
        CHECK(out(row, part.first) == 1);
        CHECK(out(row, part.second) == 1);
      }
    }
    for (uword i = 0; i < 2000; ++i) CHECK(named[i] == (times[i] == 2 ? 1 : 0));
  }
}

TEST_CASE("members of mini-batch fits stop by the rows that they leave out") {
  FitOptions o = committee(4, 60);
  const Rows rows = to_rows(piecewise(500, 2, 2, 11));
  const Model model = fit(rows.schema, rows.source, o);
  REQUIRE(model.members.size() == 4);
  CHECK_FALSE(same_bits(numbers(model.members[0]), numbers(model.members[1])));
  const auto said = [&](const char* text) {
    return std::any_of(model.provenance.notes.begin(), model.provenance.notes.end(),
                       [&](const std::string& note) { return note.find(text) != std::string::npos; });
  };
  CHECK(said("leaves out rows of its own"));
  CHECK(said("best on the held-out rows"));
  CHECK(said("the noise of all members is taken times"));
  // With a validation table all of them stop by that.
  const MemorySource fresh = to_source(piecewise(200, 2, 2, 12));
  o.validation = &fresh;
  CHECK_FALSE(train::members_leave_out(o));
  o.validation = nullptr;
  o.method = Method::em;
  CHECK_FALSE(train::members_leave_out(o));
}

TEST_CASE("the factors of one and of two members are the likeliest at rows that neither saw") {
  for (const bool weighted : {false, true}) {
    CAPTURE(weighted);
    Columns c = piecewise(600, 2, 2, 13);
    if (weighted) {
      c.weight.set_size(600);
      Rng rng(13, 1);
      for (double& w : c.weight) w = 3 * rng.uniform();
    }
    const Rows rows = to_rows(c);
    const FitOptions o = committee(12);
    Model model = fit(rows.schema, rows.source, o);
    // So that the best factor is none that the fit has brought about.
    for (Mixture& member : model.members) multiply_noise(member, weighted ? 0.6 : 1.7);
    const train::LeftOutNoise found = train::left_out_noise(model.members, model.schema, rows.source, o, {});

    BlockData buffer;
    const Block block = rows.source.read(0, buffer);
    const arma::umat out = left_out(o, rows.source);
    const vec weight = weighted ? c.weight : vec(600, arma::fill::ones);
    double sum = 0, squares = 0;
    for (uword i = 0; i < 600; ++i) {
      if (arma::accu(out.row(i)) == 0) continue;
      sum += weight[i];
      squares += weight[i] * weight[i];
    }
    CHECK(found.rows == doctest::Approx(sum * sum / squares).epsilon(1e-12));
    const auto value = [&](double factor, bool average) {
      mat densities(600, 12);
      for (std::size_t m = 0; m < 12; ++m) densities.col(m) = density_of(model, m, block, factor);
      double total = 0;
      for (uword i = 0; i < 600; ++i) {
        const arma::uvec who = arma::find(out.row(i));
        if (who.is_empty()) continue;
        REQUIRE(who.n_elem == 2);
        const double a = densities(i, who[0]), b = densities(i, who[1]);
        total += weight[i] * (average ? std::log(0.5 * (std::exp(a) + std::exp(b))) : a + b);
      }
      return total;
    };
    // A parabola through points h = 0.05 apart misses the maximum of g by h^2 |g''' / g''| / 6 at most, which
    // is 0.0008 for normal errors, g = -u - e^(-2 u) / 2; mixtures bend a few times as much.
    const double one = maximum([&](double factor) { return value(factor, false); }),
                 two = maximum([&](double factor) { return value(factor, true); });
    CHECK(std::abs(std::log(found.one / one)) < 0.004);
    CHECK(std::abs(std::log(found.two / two)) < 0.004);
    CHECK((found.one < 1) == !weighted);

    std::vector<Mixture> scaled = model.members;
    const double factor = train::scale_noise(scaled, model.schema, rows.source, o, {});
    CHECK(factor == train::committee_factor(found, 12));
    CHECK(scaled[5].experts->noise(1) ==
          doctest::Approx(factor * model.members[5].experts->noise(1)).epsilon(1e-12));
    // A member that is missing leaves no pairs to rely on.
    scaled.pop_back();
    CHECK(train::scale_noise(scaled, model.schema, rows.source, o, {}) == 1);
  }
}

TEST_CASE("noise that is many times too large is brought down all the way") {
  const Rows rows = to_rows(piecewise(600, 2, 2, 13));
  const FitOptions o = committee(12);
  Model model = fit(rows.schema, rows.source, o);
  const train::LeftOutNoise before = train::left_out_noise(model.members, model.schema, rows.source, o, {});
  constexpr double kTimes = 40;
  for (Mixture& member : model.members) multiply_noise(member, kTimes);
  // The same densities, asked about with factors 1 / 40 as large.
  const train::LeftOutNoise found = train::left_out_noise(model.members, model.schema, rows.source, o, {});
  CHECK(std::abs(std::log(kTimes * found.one / before.one)) < 0.004);
  CHECK(std::abs(std::log(kTimes * found.two / before.two)) < 0.004);
  CHECK(train::committee_factor(found, 12) < 0.1);
}

TEST_CASE("the factor of a committee follows from those of one and two members") {
  // Error E + A / B of the average of B means, A (1 - 1 / B) of its width already there.
  const double error = 0.7, spread = 0.2;
  const auto noise = [&](double members) { return error + spread / members - spread * (1 - 1 / members); };
  const train::LeftOutNoise sure{std::sqrt(noise(1)), std::sqrt(noise(2)), 1e15};
  for (const std::size_t members : {2, 3, 10, 20})
    CHECK(train::committee_factor(sure, members) ==
          doctest::Approx(std::sqrt(noise(static_cast<double>(members)))).epsilon(1e-9));
  // No rows, no say; as many rows as the prior has, half of it.
  CHECK(train::committee_factor({0.5, 0.4, 0}, 10) == 1);
  CHECK(train::committee_factor({0.5, 0.4, 10}, 2) == doctest::Approx(std::sqrt(0.4)).epsilon(1e-12));
  // Two members that seem worse than one are not carried further, and no spread leaves less than half.
  CHECK(train::committee_factor({0.8, 0.9, 1e15}, 20) == doctest::Approx(0.9).epsilon(1e-9));
  CHECK(train::committee_factor({2, 0.5, 1e15}, 20) == doctest::Approx(0.25).epsilon(1e-9));
}

TEST_CASE("classes, counts and experts whose noise is not one number keep what they have") {
  FitOptions o = committee(3, 5);
  const Rows classes = to_rows(piecewise(200, 2, 2, 14, 2));
  Model labels = fit(classes.schema, classes.source, o);
  CHECK(train::scale_noise(labels.members, labels.schema, classes.source, o, {}) == 1);
  const Rows rows = to_rows(piecewise(200, 2, 2, 14));
  o.hidden.clear();
  o.noise_basis = {BasisKind::Form::linear};
  Model model = fit(rows.schema, rows.source, o);
  CHECK(train::scale_noise(model.members, model.schema, rows.source, o, {}) == 1);
}

TEST_CASE("a committee has the same bytes whatever the threads") {
  const Rows rows = to_rows(piecewise(2500, 2, 2, 15));
  const auto text = [&](int threads) {
    Compute compute;
    compute.threads = threads;
    return model_text(fit(rows.schema, rows.source, committee(4, 3), compute));
  };
  const std::string one = text(1);
  CHECK(text(2) == one);
  CHECK(text(3) == one);
}
