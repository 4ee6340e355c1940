#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "fit_helpers.hpp"
#include "moekit/predict.hpp"
#include "moekit/standard_errors.hpp"

using namespace moekit;
using namespace moekit::fit_testing;

// Tables that break other programs: the fit always comes back finite, never worse than the mean (or the class
// shares), and a note says what was met.

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
  std::string name;
  Columns columns;
  std::string note;  ///< a word of the note; "any": some note; empty: nothing to say
};

std::vector<Case> cases(uword classes) {
  const auto base = [&](uword n, uword d) { return piecewise(n, d, 2, 55, classes); };
  std::vector<Case> all;
  const auto add = [&](const std::string& name, const Columns& c, const std::string& note) {
    all.push_back({name, c, note});
  };
  Columns c = base(80, 2);
  add("nothing special", c, "");
  c.x.col(1).fill(4.2);
  add("a constant column", c, "constant");
  c.x.col(0).fill(-1);
  add("only constant columns", c, "constant");
  c = base(80, 2);
  c.x.col(1) = c.x.col(0);
  add("a column twice", c, "combination");
  c = base(80, 3);
  c.x.col(2) = 3 * c.x.col(0) - 0.1 * c.x.col(1) + 7;
  add("collinear columns", c, "combination");
  c = base(80, 2);
  c.x = 1e9 + c.x;
  if (classes == 0) c.y += 1e9;
  add("offsets of 1e9", c, "");
  for (const double scale : {1e-300, 1e300}) {
    c = base(80, 2);
    c.x *= scale;
    if (classes == 0) c.y *= scale;
    add("everything times " + std::to_string(std::log10(scale)), c, "");
  }
  c = base(80, 2);
  c.x.col(0) *= 1e300;
  c.x.col(1) *= 1e-300;
  add("scales of 1e300 and 1e-300", c, "");
  add("fewer rows than experts", base(2, 1), "experts");
  add("fewer rows than columns", base(7, 12), "any");
  c = base(40, 2);
  for (uword i = 1; i < 40; ++i) {
    c.x.row(i) = c.x.row(0);
    c.y[i] = c.y[0];
  }
  add("identical rows", c, "constant");
  c = base(40, 2);
  c.y.fill(classes > 0 ? 1 : 17.25);
  add("a constant target", c, classes > 0 ? "one class" : "constant");
  if (classes > 0) {
    c.classes = 1;
    c.y.zeros();
    add("one class", c, "one class");
    c = base(60, 1);
    for (uword i = 0; i < 60; ++i) c.y[i] = c.x(i, 0) > 0.1 ? 1 : 0;
    add("perfect separation", c, "any");
    c = base(60, 1);
    for (uword i = 0; i < 60; ++i) c.y[i] = c.x(i, 0) > -1 && c.x(i, 0) < 1 ? 1 : 0;
    add("perfect separation by pieces", c, "any");
  } else {
    c = base(60, 1);
    c.y = 3 * c.x.col(0) - 2;
    add("no noise", c, "");
    c.y = arma::abs(c.x.col(0));
    add("no noise, two pieces", c, "");
    c = base(60, 1);
    c.y.head(30).fill(5);
    add("half the targets the same", c, "");
    c = base(60, 2);
    c.y[11] = 1e200;
    add("one enormous target", c, "");
  }
  c = base(80, 2);
  c.x.col(1).fill(kNan);
  add("a column without values", c, "x2");
  c = base(80, 2);
  for (uword i = 0; i < 80; i += 3) c.x(i, 1) = kNan;
  add("missing values", c, "");
  add("one row", base(1, 2), "any");
  add("two rows", base(2, 2), "any");
  c = base(60, 2);
  c.x(5, 0) = 1e15;
  add("one enormous input", c, "");
  c = base(24, 1);
  c.levels.zeros(24, 1);
  c.level_count = {24};
  for (uword i = 0; i < 24; ++i) c.levels(i, 0) = i;
  add("a level for every row", c, "");
  return all;
}

/// The log-likelihood of the mean model (normal around the mean, with the variance that the options ask for)
/// or of the class shares.
double mean_model(const Rows& rows, double ridge) {
  const Target& t = rows.schema.target;
  const double n = rows.schema.total_weight;
  if (t.task == Task::classification) {
    double sum = 0;
    for (const double share : t.shares)
      if (share > 0) sum += n * share * std::log(share);
    return sum;
  }
  if (!(t.max > t.min)) return -arma::datum::inf;  // its density has no bound
  // Of the standardised target: the exact maximum, or docs/math.md section 3 without slopes.
  const double variance = ridge < 0 ? (n + 2 * 0.01) / (n - 1 + 2) : 1;
  return -0.5 * n * (std::log(2 * M_PI * variance) + 1 / variance) - n * std::log(t.sd);
}

bool says(const std::vector<std::string>& notes, const std::string& word) {
  for (const std::string& note : notes)
    if (word == "any" || note.find(word) != std::string::npos) return true;
  return false;
}

void check_case(const Case& one, double ridge, uword experts) {
  const Rows rows = to_rows(one.columns);
  const Model model = fit(rows.schema, rows.source, options(experts, ridge, 4));
  const Provenance& p = model.provenance;
  REQUIRE(model.members.size() == 1);
  CHECK(all_finite(numbers(model.members[0])));
  CHECK(std::isfinite(p.log_likelihood));
  CHECK(std::isfinite(p.bic));
  CHECK(std::isfinite(p.icl));
  CHECK(p.effective_parameters <= p.parameters + 1e-9);
  const double value = log_likelihood(model, rows.source);
  CHECK(value == doctest::Approx(p.log_likelihood).epsilon(1e-9));
  const double mean = mean_model(rows, ridge);
  CHECK(value >= mean - 1e-6 * (1 + std::abs(mean)));
  BlockData buffer;
  const Prediction predicted = predict(model, rows.source.read(0, buffer));
  if (one.columns.classes > 0) {
    CHECK(predicted.probability.is_finite());
  } else {
    CHECK(predicted.mean.is_finite());
    CHECK(predicted.sd.is_finite());
    CHECK(predicted.sd.min() > 0);
  }
  CHECK(predicted.gate.is_finite());
  CHECK(predicted.log_density.is_finite());
  CHECK(predicted.responsibility.is_finite());
  // Separation that this model does not reach (a penalty, one expert for several pieces) is nothing to note.
  const bool unseparated =
      one.name.find("separation") != std::string::npos && predicted.log_density.min() <= std::log(0.5);
  if (!one.note.empty() && !unseparated) {
    INFO("the note should say: " << one.note);
    CHECK(says(p.notes, one.note));
  }
}

void check_all(uword classes) {
  for (const Case& one : cases(classes))
    for (const double ridge : {-1.0, 0.0, 1.0})
      for (const uword experts : {1, 3}) {
        if (classes == 3 && experts == 1) continue;
        // The note about experts is there only if there are too many.
        Case now = one;
        if (experts == 1 && one.note == "experts") now.note.clear();
        CAPTURE(one.name);
        CAPTURE(ridge);
        CAPTURE(experts);
        check_case(now, ridge, experts);
      }
}

}  // namespace

TEST_CASE("degenerate tables, regression") { check_all(0); }

TEST_CASE("degenerate tables, two classes") { check_all(2); }

TEST_CASE("degenerate tables, three classes") { check_all(3); }

TEST_CASE("two experts that are the same: refused without a penalty, else named by the standard errors") {
  for (const uword classes : {0u, 2u}) {
    CAPTURE(classes);
    // Every row once in each region: nothing ever tells the experts apart.
    const Columns once = piecewise(150, 2, 2, 8, classes);
    Columns twice = once;
    twice.x = arma::join_cols(once.x, once.x);
    twice.y = arma::join_cols(once.y, once.y);
    const Rows rows = to_rows(twice);
    FitOptions o;
    o.experts = 2;
    o.initial_region.assign(300, 0);
    std::fill(o.initial_region.begin() + 150, o.initial_region.end(), 1);
    const auto has = [](const std::vector<std::string>& notes, const std::string& part) {
      return std::any_of(notes.begin(), notes.end(),
                         [&](const std::string& note) { return note.find(part) != std::string::npos; });
    };
    const auto notes_of_errors = [&](const Model& model) {
      return standard_errors(model, rows.source, {ErrorKind::information, false, 0}, o).notes;
    };
    Model model = fit(rows.schema, rows.source, o);
    CHECK(model.members[0].count() == 2);
    CHECK(has(notes_of_errors(model), "experts 1 and 2 are the same"));
    CHECK_FALSE(has(notes_of_errors(model), "--max-iterations"));
    o.ridge_mode = Penalty::Mode::none;
    model = fit(rows.schema, rows.source, o);
    CHECK(model.members[0].count() == 1);
    CHECK(has(model.provenance.notes, "two experts are the same"));
  }
}
