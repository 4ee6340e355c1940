// Gates and the number of experts through the command line.
#include "cli_helpers.hpp"

using namespace moekit::testing;

TEST_CASE("every gate is trained, inspected and diagnosed, in its own words") {
  const Workshop w;
  struct Word {
    const char* gate;
    const char* text;
    const char* part;
  };
  for (const Word word :
       {Word{"softmax", "score 1 =", "\ngate,1,"}, Word{"tree", "left if times", "\nnode,1,"},
        Word{"gaussian", "+-", "\ncentre,1,"}, Word{"constant", "weight", "\nweight,1,"}}) {
    CAPTURE(word.gate);
    REQUIRE(w.run("train data/mcycle.csv --target accel -q --experts 3 --restarts 3 -o m.moe --gate " +
                  std::string(word.gate))
                .code == 0);
    CHECK(has(w.run("inspect m.moe").out, word.text));
    REQUIRE(w.run("diagnose m.moe data/mcycle.csv -q -o d").code == 0);
    CHECK(has(w.read("d/coefficients.csv"), word.part));
    CHECK(w.run("predict m.moe data/mcycle.csv -q --regions --interval 0.9").code == 0);
    CHECK(json_of(w.run("inspect m.moe --json").out)["gate"] == word.gate);
  }
}

TEST_CASE("--experts auto says what it tried, and refuses what contradicts it") {
  const Workshop w;
  const Ran ran = w.run(
      "train data/mcycle.csv --target accel --experts auto --gate tree --restarts 2 -o m.moe --report "
      "r.json");
  REQUIRE(ran.code == 0);
  CHECK(has(ran.err, "on rows held back"));
  const nlohmann::json report = json_of(w.read("r.json"));
  REQUIRE(report["growth"].size() > 2);
  CHECK(report["growth"][0]["experts"] == 1);
  CHECK(report["growth"][1]["held_out"] > report["growth"][0]["held_out"]);
  CHECK(report["experts"] > 1);
  CHECK(report["options"]["experts"] == "auto");
  CHECK(has(w.run("inspect m.moe").out, "held-out"));
  CHECK(one_error_line(w.run("train data/mcycle.csv --target accel --experts many -o x.moe")));
  const Ran both = w.run("train data/wages.csv --target wages --experts auto --init-column sex -o x.moe");
  CHECK(both.code == 64);
  CHECK(has(both.err, "--init-column"));
}
