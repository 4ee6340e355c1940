// moekit predict and evaluate: columns, order, streams, refusals.
#include <cmath>

#include "cli_helpers.hpp"

using namespace moekit::testing;

namespace {

void make_regression(const Workshop& w) {
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 3 --restarts 3 -q -o m.moe").code == 0);
}

void make_classes(const Workshop& w) {
  REQUIRE(w.run("train data/pb52_jacobs4.csv --target Vowel --drop Type,Repetition --id Speaker --experts 2 "
                "--restarts 2 --max-iterations 30 -q -o c.moe")
              .code == 0);
}

std::string header(const Workshop& w, const std::string& arguments) {
  const Ran ran = w.run("predict " + arguments);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return first_line(ran.out);
}

}  // namespace

TEST_CASE("predict: the columns of a regression, exactly") {
  const Workshop w;
  make_regression(w);
  const std::string base = "m.moe data/mcycle.csv";
  CHECK(header(w, base) == "prediction,sd");
  CHECK(header(w, base + " --interval 0.9") == "prediction,sd,lower,upper");
  CHECK(header(w, base + " --quantiles 0.05,0.5 --quantiles 0.95") == "prediction,sd,q0.05,q0.5,q0.95");
  CHECK(header(w, base + " --regions") == "prediction,sd,expert,gate_1,gate_2,gate_3");
  CHECK(header(w, base + " --components") == "prediction,sd,mean_1,mean_2,mean_3");
  CHECK(header(w, base + " --density") == "prediction,sd,log_density");
  CHECK(header(w, base + " --id times") == "times,prediction,sd");
  CHECK(
      header(w, base + " --density --components --regions --quantiles 0.5 --interval 0.5 --id times,accel") ==
      "times,accel,prediction,sd,lower,upper,q0.5,expert,gate_1,gate_2,gate_3,mean_1,mean_2,mean_3,log_"
      "density");
}

TEST_CASE("predict: the columns of a classification, exactly") {
  const Workshop w;
  make_classes(w);
  const std::string base = "c.moe data/pb52_jacobs4.csv";
  CHECK(header(w, base) == "Speaker,prediction,p_aa,p_ah,p_ih,p_iy");
  CHECK(header(w, base + " --regions --density") ==
        "Speaker,prediction,p_aa,p_ah,p_ih,p_iy,expert,gate_1,gate_2,log_density");
  CHECK(header(w, base + " --id Type,Repetition") == "Type,Repetition,prediction,p_aa,p_ah,p_ih,p_iy");
  for (const char* option : {"--interval 0.9", "--quantiles 0.5", "--components"}) {
    const Ran ran = w.run("predict " + base + " " + option);
    CHECK(ran.code == 64);
    CHECK(one_error_line(ran));
  }
}

TEST_CASE("predict: the numbers fit together") {
  const Workshop w;
  make_regression(w);
  const Ran ran =
      w.run("predict m.moe data/mcycle.csv --interval 0.8 --quantiles 0.1,0.5,0.9 --regions --components");
  const auto lines = lines_of(ran.out);
  REQUIRE(lines.size() == 134);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    std::vector<double> v;
    for (const std::string& cell : cells_of(lines[i])) v.push_back(std::stod(cell));
    REQUIRE(v.size() == 14);
    const double lower = v[2], upper = v[3], q10 = v[4], q50 = v[5], q90 = v[6];
    CHECK(lower == doctest::Approx(q10).epsilon(1e-9));
    CHECK(upper == doctest::Approx(q90).epsilon(1e-9));
    CHECK(lower < q50);
    CHECK(q50 < upper);
    const double *gate = &v[8], *mean = &v[11];
    CHECK(gate[0] + gate[1] + gate[2] == doctest::Approx(1).epsilon(1e-12));
    CHECK(gate[static_cast<int>(v[7]) - 1] == std::max({gate[0], gate[1], gate[2]}));
    const double mixed = gate[0] * mean[0] + gate[1] * mean[1] + gate[2] * mean[2];
    CHECK(v[0] == doctest::Approx(mixed).epsilon(1e-9));
  }
}

TEST_CASE("predict: log_density is evaluate's nll, and empty without a target") {
  const Workshop w;
  make_regression(w);
  const auto lines = lines_of(w.run("predict m.moe data/mcycle.csv --density").out);
  double sum = 0;
  for (std::size_t i = 1; i < lines.size(); ++i) sum += std::stod(cells_of(lines[i])[2]);
  const auto metrics = json_of(w.run("evaluate m.moe data/mcycle.csv --json").out);
  CHECK(metrics["nll"].get<double>() == doctest::Approx(-sum / 133).epsilon(1e-12));
  w.write("new.csv", "times\n10\n20\n");
  const Ran blind = w.run("predict m.moe new.csv --density");
  CHECK(blind.code == 0);
  CHECK(lines_of(blind.out)[1].back() == ',');
  CHECK(has(blind.err, "note: "));
}

TEST_CASE("predict: columns are found by name, in any order, in any format") {
  const Workshop w;
  REQUIRE(
      w.run("train data/wages.csv --target wages --experts 2 --restarts 2 --max-iterations 20 -q -o w.moe")
          .code == 0);
  w.write("a.csv", "education,age,sex,language\n12,40,Male,English\n15.5,30,Female,French\n,50,Male,\n");
  w.write(
      "b.csv",
      "extra;language;sex;age;education\nx;English;Male;40;12\ny;French;Female;30;15,5\nz;;Male;50;n/k\n");
  const Ran a = w.run("predict w.moe a.csv --regions"),
            b = w.run("predict w.moe b.csv --regions --decimal , --missing n/k");
  CAPTURE(b.err);
  CHECK(a.code == 0);
  CHECK(a.out == b.out);
  CHECK(has(b.err, "extra"));
  CHECK(w.run("predict w.moe b.csv --regions --separator ';' --decimal , --missing n/k").out == a.out);
  CHECK(w.run("predict w.moe b.csv --separator , --decimal .").code == 65);
  CHECK(w.run("predict w.moe b.csv --missing n/k").code == 65);  // 15,5 is no number
  w.write("lacking.csv", "education,age,sex\n12,40,Male\n");
  const Ran refused = w.run("predict w.moe lacking.csv");
  CHECK(refused.code == 65);
  CHECK(has(refused.err, "language"));
  CHECK(w.run("predict w.moe lacking.csv --allow-missing-columns").code == 0);
  w.write("new_level.csv", "education,age,sex,language\n12,40,Male,Klingon\n");
  CHECK(w.run("predict w.moe new_level.csv").code == 0);
}

TEST_CASE("predict: nothing is written when a row is refused") {
  const Workshop w;
  make_regression(w);
  std::string rows = "times\n";
  for (int i = 0; i < 5000; ++i) rows += std::to_string(i % 50) + "\n";
  w.write("late.csv", rows + "oops\n");
  w.write("old.csv", "old");
  const Ran to_file = w.run("predict m.moe late.csv -o old.csv");
  CHECK(to_file.code == 65);
  CHECK(has(to_file.err, "late.csv:5002:"));
  CHECK(w.read("old.csv") == "old");
  const Ran to_stdout = w.run("predict m.moe late.csv");
  CHECK(to_stdout.code == 65);
  CHECK(to_stdout.out.empty());
  CHECK(w.run("predict m.moe late.csv -o fresh.csv").code == 65);
  CHECK_FALSE(w.exists("fresh.csv"));
  CHECK(w.run("predict m.moe old.csv -o old.csv").code == 64);
  CHECK(w.entries() == std::vector<std::string>{"late.csv", "m.moe", "old.csv"});
}

TEST_CASE("predict: -o, standard output, standard input and threads give the same bytes") {
  const Workshop w;
  make_regression(w);
  std::string rows = "times\n";
  for (int i = 0; i < 20000; ++i) rows += std::to_string(0.003 * i) + "\n";
  w.write("many.csv", rows);
  const std::string expected = w.run("predict m.moe many.csv --interval 0.5").out;
  CHECK(lines_of(expected).size() == 20001);
  CHECK(w.run("predict m.moe many.csv --interval 0.5 -o out.csv").code == 0);
  CHECK(w.read("out.csv") == expected);
  CHECK(w.shell("cat many.csv | moekit predict m.moe - --interval 0.5 --threads 3").out == expected);
  CHECK(w.run("predict m.moe many.csv --interval 0.5 --threads 1 -o -").out == expected);
  CHECK(w.run("predict m.moe many.csv --interval 0.5 -o /dev/stdout").out == expected);
}

TEST_CASE("predict: ids and labels with commas and quotes are quoted; a file without rows is refused") {
  const Workshop w;
  w.write("t.csv", "id,x,y\n\"a,b\",1,\"yes, it is\"\n\"say \"\"so\"\"\",2,no\nc,3,no\nd,4,\"yes, it is\"\n");
  REQUIRE(w.run("train t.csv --target y --id id --experts 1 -q -o t.moe").code == 0);
  const auto lines = lines_of(w.run("predict t.moe t.csv").out);
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "id,prediction,p_no,\"p_yes, it is\"");
  CHECK(lines[1].starts_with("\"a,b\","));
  CHECK(lines[2].starts_with("\"say \"\"so\"\"\","));
  w.write("none.csv", "id,x\n");
  const Ran none = w.run("predict t.moe none.csv");
  CHECK(none.code == 65);
  CHECK(one_error_line(none));
}

TEST_CASE("evaluate --json: the keys that hold") {
  const Workshop w;
  make_regression(w);
  make_classes(w);
  const auto keys = [&](const std::string& arguments) {
    const Ran ran = w.run("evaluate " + arguments + " --json");
    CAPTURE(ran.err);
    REQUIRE(ran.code == 0);
    std::vector<std::string> names;
    const auto json = json_of(ran.out);
    for (const auto& [key, value] : json.items()) names.push_back(key);
    return names;  // nlohmann::json sorts
  };
  CHECK(keys("m.moe data/mcycle.csv") ==
        std::vector<std::string>{"coverage_90", "crps", "mae", "n", "nll", "nll_grid", "r2", "rmse", "task"});
  CHECK(keys("c.moe data/pb52_jacobs4.csv") ==
        std::vector<std::string>{"accuracy", "brier", "ece", "log_loss", "n", "nll", "task"});
  const Ran table = w.run("evaluate m.moe data/mcycle.csv");
  CHECK(has(table.out, "rmse"));
  CHECK_FALSE(has(table.out, "{"));
}

TEST_CASE("evaluate: two classes have an AUC; rows without a target are passed over and said") {
  const Workshop w;
  REQUIRE(w.run("train data/wages.csv --target sex --drop wages --experts 2 --restarts 1 --max-iterations 20 "
                "-q -o s.moe")
              .code == 0);
  CHECK(json_of(w.run("evaluate s.moe data/wages.csv --json").out).contains("auc"));
  REQUIRE(w.run("train data/wages.csv --target wages --experts 1 -q -o w.moe").code == 0);
  const Ran ran = w.run("evaluate w.moe data/wages.csv --json");
  CHECK(json_of(ran.out)["n"] == 7425 - 3278);
  CHECK(has(ran.err, "3278 rows without 'wages'"));
  CHECK(w.run("evaluate w.moe data/wages.csv --json -q").err.empty());
  w.write("no_target.csv", "education,age,sex,language\n12,40,Male,English\n");
  CHECK(w.run("evaluate w.moe no_target.csv").code == 65);
}

TEST_CASE("evaluate: format options and missing columns") {
  const Workshop w;
  make_regression(w);
  const std::string expected = w.run("evaluate m.moe data/mcycle.csv --json").out;
  REQUIRE(w.shell("sed 's/,/;/; s/\\./,/g' data/mcycle.csv > semi.csv").code == 0);
  CHECK(w.run("evaluate m.moe semi.csv --json --decimal ,").out == expected);
  CHECK(w.run("evaluate m.moe semi.csv --json --decimal , --separator semicolon").out == expected);
  CHECK(w.run("evaluate m.moe semi.csv --json").code == 65);
  REQUIRE(w.shell("(cat data/mcycle.csv; echo 5,none) > gap.csv").code == 0);
  CHECK(w.run("evaluate m.moe gap.csv").code == 65);
  CHECK(w.run("evaluate m.moe gap.csv --json --missing none").out == expected);
  w.write("only_target.csv", "accel\n1\n2\n");
  CHECK(w.run("evaluate m.moe only_target.csv").code == 65);
  CHECK(w.run("evaluate m.moe only_target.csv --allow-missing-columns").code == 0);
  CHECK(w.run("evaluate m.moe data/mcycle.csv --threads 1 --json").out == expected);
  CHECK(has(w.run("evaluate m.moe data/mcycle.csv -v").err, "133 rows"));
}
