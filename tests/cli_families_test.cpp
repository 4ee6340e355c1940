// Families, bases, lasso and ensembles through the command line.
#include <cmath>

#include "cli_helpers.hpp"
#include "moekit/rng.hpp"

using namespace moekit::testing;

namespace {

const std::string kQuick = " --experts 2 --restarts 2 --max-iterations 40 -q";

/// Counts y behind a log exposure, a positive number v whose spread grows, and an input z that does nothing.
void write_table(const Workshop& w) {
  moekit::Rng rng(5, 1);
  std::string text = "x,z,exposure,y,v\n";
  for (int i = 0; i < 300; ++i) {
    const double x = 4 * rng.uniform() - 2, exposure = std::log(0.5 + 3 * rng.uniform());
    double left = std::exp(0.5 + 0.6 * x + exposure);
    int count = -1;
    for (; left > 0; ++count) left += std::log(rng.uniform());
    const double v = std::exp(x) - 0.3 * std::log(rng.uniform()) * std::exp(0.5 * x);
    text += std::to_string(x) + "," + std::to_string(rng.normal()) + "," + std::to_string(exposure) + "," +
            std::to_string(std::max(0, count)) + "," + std::to_string(v) + "\n";
  }
  w.write("t.csv", text);
}

/// Runs and must not fail.
Ran good(const Workshop& w, const std::string& arguments) {
  const Ran ran = w.run(arguments);
  CAPTURE(arguments);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return ran;
}

nlohmann::json inspected(const Workshop& w) { return json_of(good(w, "inspect m.moe --json").out); }

/// Trains, then does with the model everything that can be done; the scores.
nlohmann::json all_commands(const Workshop& w, const std::string& data, const std::string& options,
                            const std::string& table = "t.csv") {
  good(w, "train " + table + " " + data + " " + options + kQuick + " -o m.moe");
  const std::vector<std::string> rows = lines_of(
      good(w, "predict m.moe " + table + " -q --quantiles 0.1,0.5,0.9 --density --regions --components").out);
  CHECK(rows.size() == lines_of(w.read(table)).size());
  const std::vector<std::string> names = cells_of(rows[0]);
  const auto column = [&](const std::string& name) {
    const auto at = std::find(names.begin(), names.end(), name);
    REQUIRE(at != names.end());
    return static_cast<std::size_t>(at - names.begin());
  };
  const std::size_t density = column("log_density"), low = column("q0.1"), middle = column("q0.5"),
                    high = column("q0.9");
  double sum = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const std::vector<std::string> cells = cells_of(rows[i]);
    REQUIRE(cells.size() == names.size());
    sum += std::stod(cells[density]);
    CHECK(std::stod(cells[low]) <= std::stod(cells[middle]));
    CHECK(std::stod(cells[middle]) <= std::stod(cells[high]));
  }
  const auto scores = json_of(good(w, "evaluate m.moe " + table + " -q --json").out);
  CHECK(scores["nll"].get<double>() ==
        doctest::Approx(-sum / static_cast<double>(rows.size() - 1)).epsilon(1e-6));
  CHECK(scores["coverage_90"].get<double>() > 0.8);
  good(w, "diagnose m.moe " + table + " -q -o diagnosis");
  for (const char* file : {"partition.csv", "experts.csv", "coefficients.csv", "regions.csv"})
    CHECK(lines_of(w.read(std::string("diagnosis/") + file)).size() > 1);
  CHECK(!good(w, "inspect m.moe").out.empty());
  const auto cv =
      json_of(good(w, "cv " + table + " " + data + " " + options + " --experts 2 --folds 3 --restarts 1 " +
                          "--max-iterations 15 -q --json")
                  .out);
  REQUIRE(cv["results"].size() == 2);
  for (const auto& result : cv["results"]) CHECK(std::isfinite(result["nll"].get<double>()));
  return scores;
}

const std::string kCount = "--target y --drop v", kPositive = "--target v --drop y,exposure";

/// Terms of one part of the first expert.
std::vector<std::string> terms(const nlohmann::json& model, const std::string& part) {
  std::vector<std::string> out;
  for (const auto& c : model["coefficients"])
    if (c["part"] == part && c["expert"] == 1) out.push_back(c["term"]);
  return out;
}

/// Refused with exit code `code` and one line that holds `part`; no model is written.
void refused(const Workshop& w, const std::string& options, const std::string& part, int code = 64) {
  const Ran ran = w.run("train t.csv " + options + " -q -o no.moe");
  CAPTURE(options);
  CAPTURE(ran.err);
  CHECK(ran.code == code);
  CHECK(one_error_line(ran));
  CHECK(has(ran.err, part));
  CHECK_FALSE(w.exists("no.moe"));
}

}  // namespace

TEST_CASE("poisson: counts with an offset, in every command") {
  const Workshop w;
  write_table(w);
  const auto scores = all_commands(w, kCount, "--task count --family poisson --offset exposure");
  CHECK(scores["task"] == "count");
  const auto model = inspected(w);
  CHECK(model["family"] == "poisson");
  CHECK(model["columns"]["target"]["task"] == "count");
  CHECK(model["columns"]["inputs"].size() == 2);  // the offset is none
  CHECK(has(good(w, "inspect m.moe").out, "ln y ="));
  // The offset is worth knowing.
  const auto without = all_commands(w, kCount + ",exposure", "--task count --family poisson");
  CHECK(without["nll"].get<double>() > scores["nll"].get<double>() + 0.05);
  // One expert: close to the truth.
  good(w, "train t.csv " + kCount + " --task count --offset exposure --experts 1 -q -o m.moe");
  const auto shown = inspected(w);
  for (const auto& c : shown["coefficients"]) {
    const double truth = c["term"] == "intercept" ? 0.5 : c["term"] == "x" ? 0.6 : 0.0;
    CHECK(std::abs(c["estimate"].get<double>() - truth) <= 0.12);
  }
}

TEST_CASE("a count family without --task makes the target a count, and --task count takes poisson") {
  const Workshop w;
  write_table(w);
  good(w, "train t.csv " + kCount + " --family negative-binomial" + kQuick + " -o m.moe");
  CHECK(inspected(w)["columns"]["target"]["task"] == "count");
  good(w, "train t.csv " + kCount + " --task count" + kQuick + " -o m.moe");
  CHECK(inspected(w)["family"] == "poisson");
  // Quantiles of counts are counts.
  const auto rows = lines_of(good(w, "predict m.moe t.csv -q --quantiles 0.5").out);
  const std::vector<std::string> names = cells_of(rows[0]);
  const auto at = static_cast<std::size_t>(std::find(names.begin(), names.end(), "q0.5") - names.begin());
  REQUIRE(at < names.size());
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const double value = std::stod(cells_of(rows[i])[at]);
    CHECK(value == std::floor(value));
    CHECK(value >= 0);
  }
}

TEST_CASE("an offset that new rows lack is refused") {
  const Workshop w;
  write_table(w);
  good(w, "train t.csv " + kCount + " --task count --offset exposure" + kQuick + " -o m.moe");
  REQUIRE(w.shell("cut -d, -f1,2,4,5 t.csv > lacking.csv").code == 0);
  const Ran ran = w.run("predict m.moe lacking.csv -q");
  CHECK(ran.code == 65);
  CHECK(one_error_line(ran));
  CHECK(has(ran.err, "exposure"));
}

TEST_CASE("every family of real targets, in every command") {
  const Workshop w;
  write_table(w);
  for (const std::string family : {"student-t", "laplace", "gamma"}) {
    CAPTURE(family);
    all_commands(w, kPositive, "--family " + family);
    CHECK(inspected(w)["family"] == family);
  }
}

TEST_CASE("bases, in every command") {
  const Workshop w;
  write_table(w);
  all_commands(w, kPositive, "--expert additive --bins 3");
  CHECK(terms(inspected(w), "expert").size() == 3 + 2 * 2);
  CHECK(has(good(w, "inspect m.moe -v").out, "max(0, x "));

  all_commands(w, kPositive, "--expert poly:2");
  const auto powers = terms(inspected(w), "expert");
  REQUIRE(powers.size() == 5);
  CHECK(has(powers[3], "(x "));
  CHECK(has(powers[3], ")^2"));

  all_commands(w, kPositive, "--noise linear");
  CHECK(terms(inspected(w), "noise") == std::vector<std::string>{"intercept", "x", "z"});
  CHECK(has(good(w, "inspect m.moe").out, "ln noise ="));

  all_commands(w, kPositive, "--gate-basis additive --bins 4");
  CHECK(terms(inspected(w), "gate").size() == 3 + 2 * 3);
  CHECK(terms(inspected(w), "expert").size() == 3);

  all_commands(w, kPositive, "--expert constant --family student-t --noise additive");
  CHECK(terms(inspected(w), "expert").size() == 1);
}

TEST_CASE("lasso: the penalty leaves terms out, in every command") {
  const Workshop w;
  write_table(w);
  all_commands(w, kPositive, "--lasso 1");
  const auto zeros = [&](const std::string& lasso) {
    good(w, "train t.csv " + kPositive + kQuick + " --lasso " + lasso + " -o m.moe");
    const auto model = inspected(w);
    int count = 0;
    for (const auto& c : model["coefficients"])
      count += c["term"] != "intercept" && c["standardised"].get<double>() == 0;
    return count;
  };
  CHECK(zeros("0") == 0);
  CHECK(zeros("100000") == 6);  // two slopes of each expert and of the one score
}

TEST_CASE("an ensemble, in every command; equal files whatever the threads") {
  const Workshop w;
  write_table(w);
  all_commands(w, kPositive, "--ensemble 3");
  const std::string train = "train t.csv " + kPositive + kQuick + " --ensemble 3 -o m.moe --threads ";
  good(w, train + "1");
  const std::string one = w.read("m.moe");
  good(w, train + "3");
  for (const std::string says : {"ensemble of 3, each of 2 gaussian experts", "the first member"}) {
    CHECK(has(good(w, "inspect m.moe").out, says));
    CHECK(has(good(w, "train t.csv " + kPositive + " --experts 2 --ensemble 3 -o n.moe").err, says));
  }
  CHECK(inspected(w)["members"] == 3);
  CHECK(w.read("m.moe") == one);
  good(w, "train t.csv " + kPositive + kQuick + " -o single.moe");
  // The coefficients shown are those of the first member, which is the single fit.
  CHECK(inspected(w)["coefficients"] == json_of(good(w, "inspect single.moe --json").out)["coefficients"]);
  CHECK(good(w, "evaluate m.moe t.csv -q --json").out != good(w, "evaluate single.moe t.csv -q --json").out);
}

TEST_CASE("values that make no sense: exit code 64 and one line") {
  const Workshop w;
  write_table(w);
  refused(w, kCount + " --family poison", "did you mean 'poisson'");
  refused(w, kCount + " --task counts", "did you mean 'count'");
  for (const std::string option : {"--expert", "--noise", "--gate-basis"})
    for (const std::string basis : {"spline", "poly:1", "poly:10", "poly:", "additive:3"}) {
      refused(w, kCount + " " + option + " " + basis, option);
      refused(w, kCount + " " + option + " " + basis, "poly:P");
    }
  refused(w, kCount + " --gate-basis constant", "'constant' is not for this option");
  for (const std::string value : {"0", "-1", "1001", "x", "2.5"})
    refused(w, kPositive + " --ensemble " + value, "whole number from 1 to 1000");
  for (const std::string value : {"-1", "x", "nan"})
    refused(w, kPositive + " --lasso " + value, "number of at least 0");
  refused(w, kPositive + " --bins 1001", "--bins");

  refused(w, kPositive + " --family logistic", "--family logistic");
  refused(w, kPositive + " --task regression --family poisson", "gaussian, student-t, laplace, gamma");
  refused(w, kCount + " --task count --family gamma", "poisson, negative-binomial");
  refused(w, kCount + " --family gamma", "above 0");
  refused(w, kCount + " --family poisson --noise linear", "--noise");
  refused(w, kCount + " --offset exposure", "--offset");
  refused(w, kCount + " --task count --family poisson --offset nosuch", "nosuch", 65);
  refused(w, kPositive + " --task count", "is not a count", 65);
  // The dry run says the same.
  const Ran dry = w.run("train t.csv " + kCount + " --family poisson --noise linear --dry-run -q");
  CHECK(dry.code == 64);
  CHECK(one_error_line(dry));
}

TEST_CASE("a note says why a fit has no standard errors, unless none are asked for") {
  const Workshop w;
  write_table(w);
  const auto left_out = [&](const std::string& options) {
    good(w, "train t.csv " + kPositive + kQuick + options + " -o m.moe");
    std::string text;
    const auto json = inspected(w);
    for (const std::string note : json["notes"])
      if (has(note, "standard errors were left out")) text += note;
    return text;
  };
  CHECK(has(left_out(" --lasso 1"), "--standard-errors bootstrap asks for it"));
  CHECK(has(left_out(" --gate mlp:3 --fit lbfgs"), "linear experts and gates at an optimum"));
  CHECK(left_out(" --lasso 1 --standard-errors none") == "");
  CHECK(left_out("") == "");
}

TEST_CASE("gamma experts refuse targets of 0 and less wherever the target is looked at") {
  const Workshop w;
  write_table(w);
  const std::string family = kPositive + " --family gamma" + kQuick;
  good(w, "train t.csv " + family + " -o m.moe");
  w.write("zero.csv", "x,z,v\n0,0,1\n0,0,0\n");
  for (const std::string command :
       {"evaluate m.moe zero.csv", "predict m.moe zero.csv --density", "diagnose m.moe zero.csv -o d",
        "report m.moe zero.csv -o r.html", "compare m.moe m.moe zero.csv"}) {
    CAPTURE(command);
    const Ran ran = w.run(command);
    CHECK(ran.code == 65);
    CHECK(one_error_line(ran));
    CHECK(ran.err.find("zero.csv:3: column 'v': the target is not above 0") != std::string::npos);
  }
  refused(w, family + " --validation zero.csv", "zero.csv:3", 65);
  CHECK(lines_of(good(w, "predict m.moe zero.csv").out).size() == 3);
  good(w, "explain m.moe zero.csv --row 2");
}

TEST_CASE("cv names the task") {
  const Workshop w;
  write_table(w);
  const auto cv = json_of(good(w, "cv t.csv " + kCount +
                                      " --task count --offset exposure --experts 2 --folds 3 --restarts 1 "
                                      "-q --json")
                              .out);
  CHECK(cv["task"] == "count");
}

TEST_CASE("every family shows what it has: sd, degrees of freedom, coefficient of variation, dispersion") {
  const Workshop w;
  write_table(w);
  struct Case {
    std::string options, key, heading;
    bool sd;
  };
  for (const Case& c :
       {Case{kPositive + " --family gaussian", "", "sd", true},
        Case{kPositive + " --family student-t --noise linear", "degrees_of_freedom", "sd df", true},
        Case{kPositive + " --family gamma --noise linear", "coefficient_of_variation", "cv", false},
        Case{kCount + " --family negative-binomial --offset exposure", "dispersion", "dispersion", false},
        Case{kCount + " --family poisson --offset exposure", "", "", false}}) {
    CAPTURE(c.options);
    good(w, "train t.csv " + c.options + kQuick + " -o m.moe");
    const auto json = inspected(w);
    REQUIRE(json["sd"].size() == 2);
    CHECK(json["sd"][0].is_number() == c.sd);
    for (const std::string key : {"degrees_of_freedom", "coefficient_of_variation", "dispersion"})
      CHECK(json.contains(key) == (key == c.key));
    const std::string text = good(w, "inspect m.moe").out;
    std::string heading;
    for (const std::string& line : lines_of(text))
      if (line.starts_with("  expert ") && has(line, "share")) heading = line;
    std::string words;
    for (const std::string word : {"sd", "df", "cv", "dispersion"})
      if (has(heading, "  " + word)) words += (words.empty() ? "" : " ") + std::string(word);
    CHECK(words == c.heading);
    good(w, "diagnose m.moe t.csv -q -o d");
    const std::vector<std::string> rows = lines_of(w.read("d/experts.csv"));
    const std::vector<std::string> names = cells_of(rows[0]), cells = cells_of(rows[1]);
    const auto at = [&](const std::string& name) {
      return static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin());
    };
    CHECK(cells[at("noise")].empty() == !c.sd);
    if (c.key.empty()) continue;
    REQUIRE(at(c.key) < names.size());
    CHECK(json[c.key][0].get<double>() > 0);
    CHECK(std::stod(cells[at(c.key)]) == doctest::Approx(json[c.key][0].get<double>()));
  }
}
