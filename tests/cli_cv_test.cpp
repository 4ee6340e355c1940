// moekit cv and simulate, and the folds behind cv.
#include <cmath>
#include <set>

#include "cli_helpers.hpp"
#include "folds.hpp"
#include "held_out_scores.hpp"

using namespace moekit::testing;
using namespace moekit::cli;

namespace {

const std::string kQuick = " --restarts 2 --max-iterations 20 ";

nlohmann::json cv(const Workshop& w, const std::string& arguments) {
  const Ran ran = w.run("cv " + arguments + kQuick + "-q --json");
  CAPTURE(arguments);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  nlohmann::json json = json_of(ran.out);
  for (auto& result : json["results"]) result.erase("seconds");
  return json;
}

}  // namespace

TEST_CASE("folds: even, deterministic, by class, whole groups") {
  std::vector<std::uint32_t> stratum(103);
  for (std::size_t i = 0; i < stratum.size(); ++i) stratum[i] = i % 10 == 0;  // 11 rows of a rare class
  const Folds folds = deal_rows(stratum, 5, 1);
  std::vector<int> size(5), rare(5);
  for (std::size_t i = 0; i < stratum.size(); ++i) {
    ++size[folds.of_row[i]];
    rare[folds.of_row[i]] += static_cast<int>(stratum[i]);
  }
  for (int f = 0; f < 5; ++f) {
    CHECK(std::abs(size[f] - 20) <= 1);
    CHECK(rare[f] >= 2);
    CHECK(folds.rows_in(f).size() + folds.rows_outside(f).size() == 103);
  }
  CHECK(deal_rows(stratum, 5, 1).of_row == folds.of_row);
  CHECK(deal_rows(stratum, 5, 2).of_row != folds.of_row);
  CHECK(deal_rows(std::vector<std::uint32_t>(3, 0), 10, 0).count == 3);

  std::vector<std::uint32_t> group;
  for (std::uint32_t g = 0; g < 7; ++g) group.insert(group.end(), 3 + g, g);
  const Folds grouped = deal_groups(group, 7, 3, 4);
  for (std::size_t i = 1; i < group.size(); ++i)
    if (group[i] == group[i - 1]) CHECK(grouped.of_row[i] == grouped.of_row[i - 1]);
  CHECK(std::set<std::uint32_t>(grouped.of_row.begin(), grouped.of_row.end()).size() == 3);
  CHECK(deal_groups(group, 7, 10, 4).count == 7);
}

TEST_CASE("standard errors: of a mean, over clusters, of a paired difference, of a root") {
  const std::vector<double> values = {1, 2, 3, 6}, ones(4, 1.0);
  const Estimate mean = weighted_mean(values, ones, {});
  CHECK(mean.value == 3);
  CHECK(mean.error == doctest::Approx(std::sqrt((4.0 + 1 + 0 + 9) / 3 / 4)));
  // Two clusters of two: their sums of deviations are -3 and 3.
  CHECK(weighted_mean(values, ones, {0, 0, 1, 1}).error == doctest::Approx(std::sqrt(18.0 * 2) / 4));
  CHECK(weighted_mean({1, 5}, {3, 1}, {}).value == 2);
  const Estimate gain = paired_difference({2, 3, 4, 7}, values, ones, {});
  CHECK(gain.value == 1);
  CHECK(gain.error == 0);
  CHECK(root({4, 0.4}).value == 2);
  CHECK(root({4, 0.4}).error == doctest::Approx(0.1));
}

TEST_CASE("cv --json: the keys that hold, K = 1 always, the one-standard-error rule") {
  const Workshop w;
  const auto json = cv(w, "data/mcycle.csv --target accel --experts 4,2 --folds 5");
  REQUIRE(json["results"].size() == 3);
  CHECK(json["results"][0]["experts"] == 1);
  CHECK(json["results"][1]["experts"] == 2);
  CHECK(json["results"][2]["experts"] == 4);
  for (const char* key : {"nll", "nll_se", "rmse", "rmse_se"}) CHECK(json["results"][1].contains(key));
  double best = INFINITY, bound = 0;
  for (const auto& r : json["results"])
    if (r["nll"] < best) {
      best = r["nll"];
      bound = best + r["nll_se"].get<double>();
    }
  for (const auto& r : json["results"])
    if (r["nll"] <= bound) {
      CHECK(json["choice"] == r["experts"]);
      break;
    }
  const auto classes =
      cv(w, "data/pb52_jacobs4.csv --target Vowel --drop Type,Repetition,Speaker --experts 2 --folds 2");
  for (const char* key : {"nll", "nll_se", "accuracy", "accuracy_se", "log_loss", "log_loss_se"})
    CHECK(classes["results"][0].contains(key));
}

TEST_CASE("cv: the held-out figures of K = 1 are those of doing it by hand") {
  const Workshop w;
  w.write("t.csv", "f,x,y\na,1,2.1\na,2,3.9\na,3,6.2\nb,1.5,3.1\nb,2.5,4.8\nb,3.5,7.2\n");
  const auto json = cv(w, "t.csv --target y --fold-column f --experts 1 --ridge 0");
  w.write("a.csv", "x,y\n1,2.1\n2,3.9\n3,6.2\n");
  w.write("b.csv", "x,y\n1.5,3.1\n2.5,4.8\n3.5,7.2\n");
  const auto held = [&](const std::string& train, const std::string& test) {
    REQUIRE(w.run("train " + train + " --target y --experts 1 --ridge 0 -q -o m.moe").code == 0);
    return json_of(w.run("evaluate m.moe " + test + " --json").out);
  };
  const auto b = held("a.csv", "b.csv"), a = held("b.csv", "a.csv");
  CHECK(json["folds"] == 2);
  const auto& one = json["results"][0];
  CHECK(one["nll"].get<double>() ==
        doctest::Approx((a["nll"].get<double>() + b["nll"].get<double>()) / 2).epsilon(1e-9));
  const double mse = (std::pow(a["rmse"].get<double>(), 2) + std::pow(b["rmse"].get<double>(), 2)) / 2;
  CHECK(one["rmse"].get<double>() == doctest::Approx(std::sqrt(mse)).epsilon(1e-9));
}

TEST_CASE("cv: every option has its effect, threads have none") {
  const Workshop w;
  const std::string data = "data/wages.csv --target wages --experts 2 --folds 2";
  const auto base = cv(w, data + " --drop language");
  CHECK(cv(w, data + " --drop language --threads 1") == base);
  for (const char* options :
       {"--drop sex", "--drop language --folds 3", "--drop language --seed 4", "--group sex",
        "--drop language --ridge 3", "--drop language --gate-columns age", "--drop language --weights age"}) {
    CAPTURE(options);
    const bool folds = has(options, "--folds");
    CHECK(cv(w, (folds ? "data/wages.csv --target wages --experts 2 " : data + " ") + options)["results"] !=
          base["results"]);
  }
  CHECK(cv(w, data + " --group sex")["standard_errors"] == "groups");
  const auto given = cv(w, "data/wages.csv --target wages --experts 2 --fold-column sex");
  CHECK(given["folds"] == 2);
  CHECK(cv(w, "data/wages.csv --target wages --init-column sex --folds 2")["results"].size() == 2);
}

TEST_CASE("cv: the table marks the choice; few rows mean fewer folds; bad folds are refused") {
  const Workshop w;
  const Ran table = w.run("cv data/faithful.csv --target eruptions --experts 2 --folds 3" + kQuick);
  CHECK(table.code == 0);
  CHECK(has(table.out, "\n*  "));
  CHECK(has(table.out, "standard error over rows"));
  w.write("few.csv", "x,y,same,gap\n1,2.5,a,1\n2,3,a,2\n3,5,a,\n4,4.5,a,1\n");
  const Ran few = w.run("cv few.csv --target y --drop same,gap --experts 1");
  CHECK(few.code == 0);
  CHECK(has(few.err, "note: there are only 4 rows: 4 folds instead of 10"));
  const auto refused = [&](const std::string& arguments, int code, const std::string& part) {
    const Ran ran = w.run("cv few.csv --target y --experts 1 -q " + arguments);
    CAPTURE(ran.err);
    CHECK(ran.code == code);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, part));
  };
  refused("--fold-column same", 65, "one fold only");
  refused("--fold-column gap", 65, "few.csv: used row 3: column 'gap' is empty");
  refused("--fold-column nosuch", 65, "nosuch");
  refused("--group same", 65, "two groups");
  refused("--fold-column gap --folds 3", 64, "--folds");
  refused("--fold-column gap --group same", 64, "--group");
}

TEST_CASE("simulate: columns, options, truth, same seed same bytes") {
  const Workshop w;
  const std::string base = w.run("simulate --rows 2000").out;
  CHECK(first_line(base) == "x1,x2,y,region");
  CHECK(lines_of(base).size() == 2001);
  CHECK(w.run("simulate --rows 2000 --threads 1 -v").out == base);
  CHECK(has(w.run("simulate --rows 10 -v").err, "10 rows"));
  REQUIRE(w.run("simulate --rows 2000 -o s.csv --truth t.json").code == 0);
  CHECK(w.read("s.csv") == base);
  for (const char* options :
       {"--seed 1", "--experts 2", "--noise 0.1", "--inputs 3", "--task classification"})
    CHECK(w.run(std::string("simulate --rows 2000 ") + options).out != base);
  CHECK(first_line(w.run("simulate --rows 1 --inputs 1 --no-region").out) == "x1,y");
  CHECK(lines_of(w.run("simulate --rows 0").out).size() == 1);
  const std::string classes = w.run("simulate --rows 500 --task classification --classes 3").out;
  for (const char* label : {",c1,", ",c2,", ",c3,"}) CHECK(has(classes, label));
  const auto truth = json_of(w.read("t.json"));
  CHECK(truth["experts"] == 3);
  CHECK(truth["gate"].size() == 3);
  CHECK(truth["gate"][0].size() == 3);
  CHECK(truth["expert_coefficients"].size() == 3);
  CHECK(w.run("simulate --noise 0.1 --task classification").code == 64);
  CHECK(w.run("simulate --truth s.csv -o s.csv").code == 64);
}

TEST_CASE("simulate, train, evaluate: the truth is about reached") {
  const Workshop w;
  REQUIRE(w.run("simulate --rows 4000 -o s.csv --truth t.json --seed 2").code == 0);
  REQUIRE(w.run("train s.csv --target y --drop region --experts 3 -q -o s.moe --report r.json").code == 0);
  const double truth = json_of(w.read("t.json"))["log_likelihood"],
               found = json_of(w.read("r.json"))["log_likelihood"];
  CHECK(found > truth - 20);  // a fitted model is above the true one by about half its parameters
  CHECK(found < truth + 40);
}

TEST_CASE("cv --experts auto finds a number in each fold") {
  const Workshop w;
  const Ran ran =
      w.run("cv data/mcycle.csv --target accel --experts 2,auto --folds 3 --restarts 2 --json -q");
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  const nlohmann::json results = json_of(ran.out)["results"];
  REQUIRE(results.size() == 3);
  CHECK(results[2]["experts"] == "auto");
  REQUIRE(results[2]["found"].size() == 3);
  for (const auto& k : results[2]["found"]) CHECK(k >= 2);
  CHECK(results[2]["nll"] < results[0]["nll"]);
  CHECK(w.run("cv data/mcycle.csv --target accel --experts auto,x").code == 64);
  CHECK(w.run("cv data/mcycle.csv --target accel --experts auto --init-column times").code == 64);
}
