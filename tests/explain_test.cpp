// Explanations against predict, and against what changing a row really does.
#include "moekit/explain.hpp"

#include <cmath>

#include "cli_helpers.hpp"

using namespace moekit::testing;
using nlohmann::json;

namespace {

json explained(const Workshop& w, const std::string& model, const std::string& data, int row) {
  const Ran ran = w.run("explain " + model + " " + data + " --row " + std::to_string(row) + " --json -q");
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return json_of(ran.out);
}

double sum_of(const json& list, const char* key) {
  double sum = 0;
  for (const json& each : list) sum += each[key].get<double>();
  return sum;
}

std::string train(const Workshop& w, const std::string& options) {
  const Ran ran = w.run("train " + options + " --restarts 2 --standard-errors none -q -o m.moe");
  CAPTURE(options);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return "m.moe";
}

}  // namespace

TEST_CASE("contributions add up to the prediction, inputs and gate to their sums") {
  const Workshop w;
  const std::vector<std::string> fits = {
      "data/boston.csv --target medv --experts 3",
      "data/boston.csv --target medv --experts 2 --expert additive --gate-basis additive --ensemble 2",
      "data/boston.csv --target medv --experts 2 --gate gaussian --family student-t",
      "data/wages.csv --target wages --experts 2 --gate tree",
      "data/boston.csv --target medv --experts 2 --expert mlp:3 --fit adam --epochs 2"};
  for (const std::string& options : fits) {
    CAPTURE(options);
    train(w, options);
    const std::string data = options.substr(0, options.find(' '));
    const std::vector<std::string> rows = lines_of(w.run("predict m.moe " + data + " --regions -q").out);
    for (const int row : {1, 17, 230}) {
      const json e = explained(w, "m.moe", data, row)["targets"].front();
      const std::vector<std::string> cells = cells_of(rows[static_cast<std::size_t>(row)]);
      const double prediction = std::stod(cells[0]);
      CHECK(e["prediction"].get<double>() == doctest::Approx(prediction).epsilon(1e-12));
      CHECK(sum_of(e["experts"], "contribution") == doctest::Approx(prediction).epsilon(1e-9));
      CHECK(sum_of(e["experts"], "weight") == doctest::Approx(1).epsilon(1e-9));
      CHECK(e["gate"]["leading"] == std::stoi(cells[2]));
      if (!e["inputs"]["parts"].empty())
        CHECK(e["inputs"]["base"].get<double>() + sum_of(e["inputs"]["parts"], "amount") ==
              doctest::Approx(prediction).epsilon(1e-9));
      if (!e["gate"]["parts"].empty())
        CHECK(e["gate"]["base"].get<double>() + sum_of(e["gate"]["parts"], "amount") ==
              doctest::Approx(e["gate"]["log_odds"].get<double>()).epsilon(1e-7));
    }
    CHECK(explained(w, "m.moe", data, 1)["targets"].front()["inputs"]["parts"].empty() ==
          (options.find("mlp") != std::string::npos));
  }
}

TEST_CASE(
    "log odds are finite where the other weights have rounded to 0, and are still the sum of the gate") {
  const Workshop w;
  std::string table = "x,y\n", far = "x\n1e6\n-1e6\n";
  for (int i = 0; i < 200; ++i) {
    const double x = (i - 100) / 10.0;
    table += std::to_string(x) + "," + std::to_string((x > 0 ? 3 * x : -x) + 0.1 * (i % 7)) + "\n";
  }
  w.write("t.csv", table);
  w.write("far.csv", far);
  for (const std::string gate : {"softmax", "tree", "softmax --top-k 2"}) {
    CAPTURE(gate);
    train(w, "t.csv --target y --experts 3 --gate " + gate);
    for (const int row : {1, 2}) {
      const json e = explained(w, "m.moe", "far.csv", row)["targets"]["y"]["gate"];
      REQUIRE(e["log_odds"].is_number());
      CHECK(e["log_odds"].get<double>() > 10);
      if (!e["parts"].empty())
        CHECK(e["base"].get<double>() + sum_of(e["parts"], "amount") ==
              doctest::Approx(e["log_odds"].get<double>()));
      CHECK(w.run("explain m.moe far.csv --row 1").out.find("inf") == std::string::npos);
    }
  }
}

TEST_CASE("a crossing hands the row over, and a little before it does not") {
  const Workshop w;
  train(w, "data/mcycle.csv --target accel");
  const json e = explained(w, "m.moe", "data/mcycle.csv", 60)["targets"]["accel"];
  REQUIRE(e["crossings"].size() == 2);
  CHECK(e["crossings"][0]["distance"] <= e["crossings"][1]["distance"]);
  for (const json& c : e["crossings"]) {
    const double from = std::stod(c["from"].get<std::string>()), to = std::stod(c["to"].get<std::string>());
    const auto expert_at = [&](double x) {
      std::ostringstream text;
      text.precision(17);
      text << "times\n" << x << "\n";
      w.write("at.csv", text.str());
      return std::stoi(cells_of(lines_of(w.run("predict m.moe at.csv --regions -q").out)[1])[2]);
    };
    CHECK(expert_at(to) == c["expert"]);
    CHECK(expert_at(from + (to - from) * (1 - 1e-6)) == e["gate"]["leading"]);
  }
}

TEST_CASE("explain: classes, counts, several targets, missing values, and rows that are not there") {
  const Workshop w;
  train(w, "data/pb52_jacobs4.csv --target Vowel --drop Type,Speaker,Repetition --experts 3");
  json e = explained(w, "m.moe", "data/pb52_jacobs4.csv", 5)["targets"]["Vowel"];
  CHECK(sum_of(e["experts"], "contribution") == doctest::Approx(e["prediction"].get<double>()).epsilon(1e-9));
  CHECK(e["inputs"]["of"].get<std::string>().starts_with("ln p(" + e["label"].get<std::string>() + ")"));
  CHECK(e["inputs"]["base"].get<double>() + sum_of(e["inputs"]["parts"], "amount") ==
        doctest::Approx(e["inputs"]["total"].get<double>()).epsilon(1e-9));

  train(w, "data/patents.csv --target Patents --drop Company,RDS --family poisson --experts 2");
  e = explained(w, "m.moe", "data/patents.csv", 3)["targets"]["Patents"];
  CHECK(e["inputs"]["of"].get<std::string>().starts_with("ln mean of expert"));
  for (const json& part : e["experts"])
    if (part["expert"] == e["gate"]["leading"])
      CHECK(e["inputs"]["total"].get<double>() ==
            doctest::Approx(std::log(part["answer"].get<double>())).epsilon(1e-9));

  train(w, "data/boston.csv --target medv,lstat --experts 2");
  e = explained(w, "m.moe", "data/boston.csv", 1)["targets"];
  CHECK(e.size() == 2);
  const Ran text = w.run("explain m.moe data/boston.csv --row 1");
  CHECK(text.out.find("'lstat': prediction") != std::string::npos);
  CHECK(text.out.find("contributes") != std::string::npos);

  w.write("holes.csv", "x,c,y\n1,a,1\n2,b,2\n,a,3\n4,,4\n5,b,5.5\n6,a,6\n7,a,7\n8,b,9\n");
  train(w, "holes.csv --target y --experts 2");
  for (const int row : {3, 4}) {
    e = explained(w, "m.moe", "holes.csv", row)["targets"]["y"];
    CHECK(sum_of(e["experts"], "contribution") ==
          doctest::Approx(e["prediction"].get<double>()).epsilon(1e-9));
  }
  const Ran beyond = w.run("explain m.moe holes.csv --row 9");
  CHECK(beyond.code == 65);
  CHECK(lines_of(beyond.err).size() == 1);
  CHECK(w.run("explain m.moe holes.csv --row 0").code == 64);
}
