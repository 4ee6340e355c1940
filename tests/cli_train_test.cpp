// moekit train: every option has its effect, and what it promises about files and bits.
#include "cli_helpers.hpp"

using namespace moekit::testing;

namespace {

/// The model file after training with these options on top of quick ones.
std::string model_of(const Workshop& w, const std::string& options,
                     const std::string& data = "data/mcycle.csv --target accel") {
  const Ran ran = w.run("train " + data + " -q -o _m.moe " + options);
  CAPTURE(options);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return w.read("_m.moe");
}

/// The report of a training run.
nlohmann::json report_of(const Workshop& w, const std::string& arguments) {
  const Ran ran = w.run("train " + arguments + " -q -o _m.moe --report _r.json");
  CAPTURE(arguments);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return json_of(w.read("_r.json"));
}

/// Everything that was learnt: the model without the list of options.
std::string learnt(const Workshop& w) {
  nlohmann::json json = json_of(w.run("inspect _m.moe --json").out);
  for (const char* key : {"options", "seed"}) json.erase(key);
  return json.dump();
}

}  // namespace

TEST_CASE("equal fits are equal files, whatever the threads") {
  const Workshop w;
  const std::string wages = "data/wages.csv --target wages";
  const std::string one = model_of(w, "--experts 3 --restarts 3 --threads 1", wages);
  CHECK(model_of(w, "--experts 3 --restarts 3 --threads 2", wages) == one);
  CHECK(model_of(w, "--experts 3 --restarts 3 --threads 5", wages) == one);
  CHECK(model_of(w, "--experts 3 --restarts 3", wages) == one);
}

TEST_CASE("options of the model and the fit change what is learnt") {
  const Workshop w;
  REQUIRE(w.shell("head -1500 data/wages.csv > some.csv").code == 0);
  const std::string data = "some.csv --target wages --experts 2 --restarts 2 --max-iterations 30";
  model_of(w, "", data);
  const std::string base = learnt(w);
  for (const char* options :
       {"--gate-columns age", "--expert-columns education,age", "--ridge 0", "--ridge 5", "--tolerance 0.01",
        "--drop sex", "--categorical education", "--weights age", "--missing Other", "--id language",
        "--validation 0.3", "--init-column sex"}) {
    CAPTURE(options);
    model_of(w, options, data);
    CHECK(learnt(w) != base);
  }
  for (const char* other :
       {"--experts 3 --restarts 2 --max-iterations 30", "--experts 2 --restarts 7 --max-iterations 30",
        "--experts 2 --restarts 2 --max-iterations 3",
        "--experts 2 --restarts 2 --max-iterations 30 --seed 9"}) {
    CAPTURE(other);
    model_of(w, other, "some.csv --target wages");
    CHECK(learnt(w) != base);
  }
}

TEST_CASE("few rows: fewer experts than four unless somebody says otherwise") {
  const Workshop w;
  const auto experts = [&](const char* rows, const std::string& options) {
    REQUIRE(w.shell("head -" + std::string(rows) + " data/mcycle.csv > few.csv").code == 0);
    const Ran ran = w.run("train few.csv --target accel -o _m.moe " + options);
    REQUIRE(ran.code == 0);
    const auto found = json_of(w.run("inspect _m.moe --json").out)["experts"].get<int>();
    CHECK((ran.err.find("are few for 4 experts") != std::string::npos) == (found < 4));
    return found;
  };
  CHECK(experts("15", "") == 1);  // 14 rows
  CHECK(experts("46", "") == 3);
  CHECK(experts("101", "") == 4);
  CHECK(experts("46", "--experts 4 --ridge 1") == 4);
}

TEST_CASE("sizes that vary by more than their mean: a note suggests a family") {
  const Workshop w;
  REQUIRE(
      w.shell("printf 'x,y\\n' > sizes.csv; seq 1 60 | awk '{print $1 % 7 \",\" exp($1 / 8)}' >> sizes.csv")
          .code == 0);
  const auto suggested = [&](const std::string& arguments) {
    const Ran ran = w.run("train " + arguments + " --max-iterations 3 -o _m.moe");
    REQUIRE(ran.code == 0);
    return ran.err.find("--family gamma may fit it better") != std::string::npos;
  };
  CHECK(suggested("sizes.csv --target y"));
  CHECK(!suggested("sizes.csv --target y --family gaussian"));
  CHECK(!suggested("sizes.csv --target x"));
  CHECK(!suggested("data/wages.csv --target wages"));
}

TEST_CASE("--task and --family") {
  const Workshop w;
  const std::string quick = " --experts 2 --restarts 2";
  CHECK(report_of(w, "data/faithful.csv --target eruptions" + quick)["columns"]["target"]["task"] ==
        "regression");
  w.write("few.csv", "x,y\n1,0\n2,1\n3,2\n4,0\n5,1\n6,2\n7,1\n8,0\n9,2\n10,1\n11,0\n12,1\n");
  const auto task = [&](const std::string& options) {
    return report_of(w, "few.csv --target y" + quick + options)["columns"]["target"]["task"];
  };
  CHECK(task("") == "regression");
  CHECK(task(" --task classification") == "classification");
  CHECK(task(" --task auto") == "regression");
  CHECK(task(" --task regression --family gaussian --gate softmax") == "regression");
  CHECK(task(" --task classification --family logistic") == "classification");
  CHECK(w.run("train few.csv --target y -q -o x.moe --family logistic").code == 64);
}

TEST_CASE("reading options") {
  const Workshop w;
  w.write("odd.csv", "x;c;y\n1,5;1;2,5\n2,5;2;3\n3;1;4,5\n-99;2;5\n5;1;5,5\n7;2;7,25\n");
  const std::string rest = " --target y --experts 1 --missing -99 --decimal ,";
  const auto report = report_of(w, "odd.csv --separator semicolon" + rest);
  CHECK(report["columns"]["inputs"][0]["missing"].get<double>() == doctest::Approx(1.0 / 6));
  CHECK(report["columns"]["inputs"][0]["max"] == 7);
  CHECK(report["columns"]["inputs"][1]["kind"] == "numeric");
  CHECK(report_of(w, "odd.csv --categorical c" + rest)["columns"]["inputs"][1]["kind"] == "categorical");
  CHECK(report_of(w, "odd.csv --numeric c,x" + rest)["columns"]["inputs"][1]["kind"] == "numeric");
  CHECK(w.run("train odd.csv --separator , -o m.moe" + rest).code != 0);
}

TEST_CASE("lists: commas, repeated, and names that hold a comma") {
  const Workshop w;
  w.write("t.csv", "a,\"b, c\",d,y\n1,2,3,4\n2,1,4,5\n3,3,1,7\n4,1,2,6\n5,2,2,8\n");
  const auto inputs = [&](const std::string& options) {
    std::string names;
    const auto report = report_of(w, "t.csv --target y --experts 1 " + options);
    for (const auto& input : report["columns"]["inputs"]) names += input["name"].get<std::string>() + "|";
    return names;
  };
  CHECK(inputs("--drop a,d") == "b, c|");
  CHECK(inputs("--drop a --drop d") == "b, c|");
  CHECK(inputs("--drop 'b, c'") == "a|d|");
  CHECK(inputs("--drop 'b, c' --drop a") == "d|");
  CHECK(inputs("--drop 'a,\"b, c\"'") == "d|");
  const Ran piped = w.shell("moekit train - --target y --experts 1 --drop '\"b, c\"' -o m.moe < t.csv");
  CHECK(piped.code == 0);
  CHECK_FALSE(has(piped.err, "b, c"));
  CHECK(w.run("train t.csv --target y --experts 1 --gate-columns 'b, c' -o m.moe").code == 0);
}

TEST_CASE("the types found, the summary and the notes go to standard error") {
  const Workshop w;
  const Ran ran =
      w.run("train data/wages.csv --target wages --experts 2 --restarts 3 --validation 0.25 -o m.moe");
  REQUIRE(ran.code == 0);
  CHECK(ran.out.empty());
  for (const char* part :
       {"education", "numeric", "categorical", "levels: Female, Male", "target, regression",
        "note: ", "log-likelihood", "one expert:", "BIC", "best start", "held-out", "nll", "time", "share"}) {
    CAPTURE(part);
    CHECK(has(ran.err, part));
  }
  CHECK(has(w.run("train data/wages.csv --target wages --dry-run").err,
            "3278"));  // rows without a target: said
}

TEST_CASE("--dry-run reads and checks everything, and fits nothing") {
  const Workshop w;
  const Ran ran = w.run("train data/diamonds.csv.gz --target price --dry-run");
  CHECK(ran.code == 0);
  CHECK(has(ran.err, "clarity"));
  CHECK(has(ran.err, "dry run"));
  CHECK(w.run("train data/mcycle.csv --target accel --dry-run -o m.moe").code == 0);
  CHECK(w.entries().empty());
  CHECK(w.run("train data/mcycle.csv --target accel --dry-run --gate-columns nosuch").code == 64);
  CHECK(w.run("train data/mcycle.csv --target nosuch --dry-run").code == 65);
}

TEST_CASE("--report: the keys that hold") {
  const Workshop w;
  const auto report =
      report_of(w, "data/mcycle.csv --target accel --restarts 4 --ridge 0 --validation 0.2 --seed 3");
  for (const char* key :
       {"status", "experts", "log_likelihood", "parameters", "effective_parameters", "aic", "bic", "icl",
        "iterations", "seconds", "rows", "starts", "trace", "options", "notes"}) {
    CAPTURE(key);
    CHECK(report.contains(key));
  }
  for (const char* key : {"log_likelihood", "kind", "refused", "reason"})
    CHECK(report["starts"][0].contains(key));
  CHECK((report["status"] == "converged" || report["status"] == "iteration_limit"));
  CHECK(report["options"]["ridge"] == "0");
  CHECK(report["options"]["restarts"] == "4");
  CHECK(report["seed"] == 3);
  CHECK(report["held_out"]["n"] == 27);
  CHECK(report["rows"] == 106);
  CHECK(report["trace"].size() >= 1);
  const double bic =
      -2 * report["log_likelihood"].get<double>() + report["parameters"].get<double>() * std::log(106.0);
  CHECK(report["bic"].get<double>() == doctest::Approx(bic).epsilon(1e-9));
}

TEST_CASE("--validation with a file scores that file and leaves the fit alone") {
  const Workshop w;
  const std::string quick = "data/mcycle.csv --target accel --experts 2 --restarts 2";
  model_of(w, "", quick);
  const std::string base = learnt(w);
  const auto report = report_of(w, quick + " --validation data/mcycle.csv");
  CHECK(learnt(w) == base);
  CHECK(report["held_out"]["n"] == 133);
  const auto evaluated = json_of(w.run("evaluate _m.moe data/mcycle.csv --json").out);
  CHECK(report["held_out"] == evaluated);
  CHECK(w.run("train " + quick + " --validation nosuch.csv -o x.moe").code == 66);
  CHECK_FALSE(w.exists("x.moe"));
}

TEST_CASE("--init-column: regions given by the user") {
  const Workshop w;
  const auto report = report_of(w, "data/wages.csv --target wages --init-column sex");
  CHECK(report["starts"].size() == 1);
  CHECK(report["experts"] == 2);
  CHECK(report["columns"]["inputs"].size() == 3);  // no input
  CHECK(w.run("train data/wages.csv --target wages --init-column sex --experts 3 -q -o x.moe").code == 64);
  w.write("gap.csv", "x,r,y\n1,a,2\n2,,3\n3,b,4\n");
  const Ran gap = w.run("train gap.csv --target y --init-column r -q -o x.moe");
  CHECK(gap.code == 65);
  CHECK(has(gap.err, "gap.csv: used row 2: column 'r' is empty"));
}

TEST_CASE("the output is checked before the fit and never half written") {
  const Workshop w;
  w.write("t.csv", "x,y\n1,2\n2,3\n3,5\n4,4\n");
  const std::string before = w.read("t.csv");
  CHECK(w.run("train t.csv --target y -o t.csv").code == 64);
  CHECK(w.run("train t.csv --target y -o ./t.csv").code == 64);
  CHECK(w.read("t.csv") == before);
  w.write("m.moe", "old");
  w.write("bad.csv", "x,y\n1,2\n\"3,5\n");
  CHECK(w.run("train bad.csv --target y -o m.moe").code == 65);
  CHECK(w.read("m.moe") == "old");
  CHECK(w.run("train t.csv --target y --experts 1 -q -o m.moe").code == 0);
  CHECK(w.read("m.moe") != "old");
  CHECK(w.entries() == std::vector<std::string>{"bad.csv", "m.moe", "t.csv"});
}

TEST_CASE("standard input and compressed files are the same data") {
  const Workshop w;
  const std::string quick = " --target accel --experts 2 --restarts 2 -q -o ";
  REQUIRE(w.run("train data/mcycle.csv" + quick + "a.moe").code == 0);
  REQUIRE(w.shell("cat data/mcycle.csv | moekit train -" + quick + "b.moe").code == 0);
  REQUIRE(w.shell("gzip -c data/mcycle.csv | moekit train -" + quick + "c.moe").code == 0);
  CHECK(w.read("a.moe") == w.read("b.moe"));
  CHECK(w.read("a.moe") == w.read("c.moe"));
}

TEST_CASE("--preset accurate: the options that it stands for, unless they are given") {
  const Workshop w;
  const std::string quick = "--epochs 3 --ensemble 2";
  model_of(w, "--preset accurate " + quick);
  const std::string preset = learnt(w);
  model_of(w, quick + " --expert mlp:64,64 --expert-basis ramps --gate mlp:32 --fit adam --batch-size 64");
  CHECK(learnt(w) == preset);
  model_of(w, "--preset accurate --expert mlp:8 " + quick);
  CHECK(json_of(learnt(w)).at("hidden") == std::vector<int>{8});
  model_of(w, "--preset readable --restarts 2");
  const std::string readable = learnt(w);
  model_of(w, "--restarts 2");
  CHECK(learnt(w) == readable);
  // Counts have no networks.
  const std::string counts =
      "data/patents.csv --target Patents --drop Company,RDS --family poisson --experts 2 ";
  model_of(w, "--preset accurate --ensemble 2 --restarts 2 --max-iterations 20", counts);
  const std::string additive = learnt(w);
  model_of(w, "--expert additive --ensemble 2 --restarts 2 --max-iterations 20", counts);
  CHECK(learnt(w) == additive);
  CHECK(w.run("train data/mcycle.csv --target accel --preset best -o m.moe").code == 64);
}

TEST_CASE(
    "ramps beside the line are no surprise: no note about them, unless exact maximum likelihood drops one") {
  const Workshop w;
  const std::string ramps = "train data/boston.csv --target medv --experts 1 --expert ramps -o m.moe";
  CHECK(!has(w.run(ramps).err, "a combination of other inputs"));
  CHECK(has(w.run(ramps + " --ridge 0").err, "a combination of other inputs"));
}

TEST_CASE("terms that are combinations of others are one note, which names the first") {
  const Workshop w;
  std::string table = "a,b,c,d,e,f,g,h,y\n";
  for (int i = 0; i < 40; ++i) {
    const int a = i % 7, b = i % 5;
    for (const int x : {a, b, a + b, a - b, 2 * a, 3 * b, a + 2 * b}) table += std::to_string(x) + ",";
    table += std::to_string(i) + "," + std::to_string(a * b + i % 3) + "\n";
  }
  w.write("t.csv", table);
  const auto note = [&](const std::string& options) {
    std::string text;
    for (const std::string& line :
         lines_of(w.run("train t.csv --target y --experts 1 -o m.moe" + options).err))
      if (has(line, "combination")) text += line + "\n";
    return text;
  };
  CHECK(
      note("") ==
      "note: 5 terms ('c', 'd', 'e', 'f' and 1 more) are each a combination of other inputs: they share the "
      "effects\n");
  CHECK(note(" --drop c,d,e,f") == "note: 'g' is a combination of other inputs: they share its effect\n");
}
