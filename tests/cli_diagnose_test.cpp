// moekit diagnose and inspect.
#include "cli_helpers.hpp"

using namespace moekit::testing;

TEST_CASE("diagnose: the files of a regression") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 3 --restarts 3 -q -o m.moe").code == 0);
  const Ran ran = w.run("diagnose m.moe data/mcycle.csv -o d");
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  CHECK(has(ran.out, "expert"));
  CHECK(lines_of(ran.out).size() < 24);
  const auto partition = lines_of(w.read("d/partition.csv"));
  CHECK(partition.size() == 134);
  CHECK(partition[0] ==
        "row,expert,gate_1,gate_2,gate_3,responsibility_1,responsibility_2,responsibility_3,log_density,gate_"
        "entropy,"
        "boundary,outlier");
  CHECK(partition[1].starts_with("1,"));
  CHECK(partition[133].starts_with("133,"));
  CHECK(lines_of(w.read("d/experts.csv")).size() == 4);
  CHECK(first_line(w.read("d/experts.csv")) ==
        "expert,share,effective_rows,rows_won,target_mean,target_sd,noise,rmse");
  CHECK(first_line(w.read("d/coefficients.csv")) ==
        "part,expert,output,term,estimate,standardised,standard_error,z,p");
  CHECK(lines_of(w.read("d/coefficients.csv")).size() == 1 + 3 * 2 + 2 * 2 + 3);
  CHECK(first_line(w.read("d/regions.csv")) ==
        "region,column,level,mean,sd,q05,q25,q50,q75,q95,difference,missing");
  const auto summary = json_of(w.read("d/summary.json"));
  for (const char* key : {"rows", "utilisation", "load_balance", "gate_entropy", "dead_experts", "fit",
                          "calibration", "metrics", "boundary_share", "outlier_share"})
    CHECK(summary.contains(key));
  CHECK(summary["metrics"] == json_of(w.run("evaluate m.moe data/mcycle.csv --json").out));
  CHECK(w.run("diagnose m.moe data/mcycle.csv -o d --json").out == w.read("d/summary.json"));
  CHECK(w.entries() == std::vector<std::string>{"d", "m.moe"});
}

TEST_CASE("diagnose: ids, classes, threads, and data without a target") {
  const Workshop w;
  REQUIRE(w.run("train data/pb52_jacobs4.csv --target Vowel --drop Type,Repetition --id Speaker --experts 2 "
                "--restarts 2 --max-iterations 20 -q -o c.moe")
              .code == 0);
  REQUIRE(w.run("diagnose c.moe data/pb52_jacobs4.csv -o d --threads 1").code == 0);
  CHECK(w.read("d/partition.csv").starts_with("Speaker,expert,gate_1,gate_2,responsibility_1,"));
  CHECK(first_line(w.read("d/experts.csv")) ==
        "expert,share,effective_rows,rows_won,share_aa,share_ah,share_ih,share_iy,error_rate");
  REQUIRE(w.run("diagnose c.moe data/pb52_jacobs4.csv -o e --threads 5").code == 0);
  for (const char* name : {"partition.csv", "experts.csv", "regions.csv", "summary.json"})
    CHECK(w.read(std::string("d/") + name) == w.read(std::string("e/") + name));
  REQUIRE(w.run("diagnose c.moe data/pb52_jacobs4.csv -o f --id Type").code == 0);
  CHECK(w.read("f/partition.csv").starts_with("Type,expert,"));
  w.write("blind.csv", "F1,F2\n300,2200\n700,1100\n");
  const Ran blind = w.run("diagnose c.moe blind.csv -o g --id F1");
  CAPTURE(blind.err);
  REQUIRE(blind.code == 0);
  CHECK(first_line(w.read("g/partition.csv")) == "F1,expert,gate_1,gate_2,gate_entropy,boundary");
  CHECK(json_of(w.read("g/summary.json"))["metrics"].is_null());
}

TEST_CASE("diagnose: a refused row leaves nothing, old results stay") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 2 --restarts 1 -q -o m.moe").code == 0);
  w.write("bad.csv", "times,accel\n1,2\n3,oops\n");
  CHECK(w.run("diagnose m.moe bad.csv -o d").code == 65);
  CHECK_FALSE(w.exists("d"));
  REQUIRE(w.run("diagnose m.moe data/mcycle.csv -o d").code == 0);
  const std::string before = w.read("d/partition.csv");
  CHECK(w.run("diagnose m.moe bad.csv -o d").code == 65);
  CHECK(w.read("d/partition.csv") == before);
  CHECK(w.run("diagnose m.moe bad.csv -o d --missing oops").code == 0);
  CHECK(w.run("diagnose m.moe data/mcycle.csv -o d --separator ';'").code == 65);
  w.write("decimal.csv", "times;accel\n1,5;2\n3;4\n");
  CHECK(w.run("diagnose m.moe decimal.csv -o d").code == 65);
  CHECK(w.run("diagnose m.moe decimal.csv -o d --decimal ,").code == 0);
  w.write("lacking.csv", "accel\n1\n");
  CHECK(w.run("diagnose m.moe lacking.csv -o d").code == 65);
  CHECK(w.run("diagnose m.moe lacking.csv -o d --allow-missing-columns").code == 0);
}

TEST_CASE("inspect: what is in the file, within 80 columns, and as JSON") {
  const Workshop w;
  REQUIRE(w.run("train data/wages.csv --target wages --experts 3 --restarts 3 --max-iterations 40 --seed 5 "
                "-q -o w.moe")
              .code == 0);
  const Ran ran = w.run("inspect w.moe");
  CHECK(ran.code == 0);
  CHECK(ran.err.empty());
  for (const std::string& line : lines_of(ran.out)) {
    CAPTURE(line);
    CHECK(line.size() <= 80);
  }
  for (const char* part : {"3 gaussian experts", "softmax gate", "education", "[sex = ", "score 1 = ",
                           "expert 3: wages = ", "log-likelihood", "--experts 3", "--seed 5", "share"}) {
    CAPTURE(part);
    CHECK(has(ran.out, part));
  }
  const Ran verbose = w.run("inspect w.moe -v");
  CHECK(has(verbose.out, "Starts"));
  const auto json = json_of(w.run("inspect w.moe --json").out);
  for (const char* key :
       {"columns", "options", "starts", "share", "sd", "coefficients", "bic", "status", "seed"})
    CHECK(json.contains(key));
  CHECK(json["coefficients"][0].contains("standardised"));
  CHECK(json["options"]["target"] == "wages");
}

TEST_CASE("inspect: with one input, one expert and no ridge the equation is the least squares line") {
  const Workshop w;
  w.write("line.csv", "x,y\n1,3.1\n2,4.9\n3,7.1\n4,8.9\n");  // slope 1.96, intercept 1.1
  REQUIRE(w.run("train line.csv --target y --experts 1 --ridge 0 --standard-errors none -q -o l.moe").code ==
          0);
  CHECK(has(w.run("inspect l.moe").out, "y = 1.1 + 1.96 x"));
}

TEST_CASE("diagnose and inspect draw shares as bars, and diagnose writes the experts' equations") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 3 -q -o m.moe").code == 0);
  const std::string shown = w.run("diagnose m.moe data/mcycle.csv -o d").out;
  const auto json = json_of(w.run("diagnose m.moe data/mcycle.csv -o d --json").out);
  // The largest share is ten characters long, the others in proportion.
  std::vector<double> shares;
  for (const auto& expert : json.at("utilisation")) shares.push_back(expert.at("share").get<double>());
  const double largest = *std::max_element(shares.begin(), shares.end());
  for (std::size_t k = 0; k < shares.size(); ++k) {
    const std::string line = "     " + std::to_string(k + 1) + "  ";
    const std::size_t at = shown.find(line);
    REQUIRE(at != std::string::npos);
    const std::string row = shown.substr(at, shown.find('\n', at) - at);
    CHECK(std::count(row.begin(), row.end(), '#') == std::lround(10 * shares[k] / largest));
  }
  CHECK(shown.find("  expert 1: accel = ") != std::string::npos);
  CHECK(shown.find('\x1b') == std::string::npos);
  CHECK(w.run("inspect m.moe").out.find("##########") != std::string::npos);
}
