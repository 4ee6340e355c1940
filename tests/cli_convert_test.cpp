// moekit convert, block files as DATA of every command, and --memory (docs/cli.md).
#include "cli_helpers.hpp"

using namespace moekit::testing;

TEST_CASE("convert: from a file, packed, or standard input, the same block file") {
  const Workshop w;
  CHECK(w.run("convert data/diamonds.csv.gz -o a.mkb -q").code == 0);
  CHECK(w.shell("gunzip -c data/diamonds.csv.gz | moekit convert - -o b.mkb -q").code == 0);
  CHECK(w.run("convert data/diamonds.csv.gz -o c.mkb -q --threads 1").code == 0);
  CHECK(w.read("a.mkb") == w.read("b.mkb"));
  CHECK(w.read("a.mkb") == w.read("c.mkb"));
  const Ran shown = w.run("inspect a.mkb");
  CHECK(shown.code == 0);
  CHECK(has(shown.out, "53940 rows"));
  CHECK(has(shown.out, "cut      texts"));
  CHECK(json_of(w.run("inspect a.mkb --json").out)["columns"].size() == 10);
  const Ran piped = w.shell("cat a.mkb | moekit train - --target price --dry-run");
  CHECK(piped.code == 65);
  CHECK(has(piped.err, "has to be named"));
}

TEST_CASE("every command takes a block file for a table and says the same") {
  const Workshop w;
  REQUIRE(w.run("convert data/pb52_jacobs4.csv -o v.mkb -q").code == 0);
  const std::string csv = "data/pb52_jacobs4.csv";
  const std::string options =
      " --target Vowel --drop Type,Repetition --id Speaker --experts 3 --restarts 2 -q";
  REQUIRE(w.run("train " + csv + options + " -o v.moe").code == 0);
  REQUIRE(w.run("train v.mkb" + options + " -o v2.moe").code == 0);
  CHECK(w.read("v.moe") == w.read("v2.moe"));
  for (const std::string& command :
       {std::string("predict v.moe DATA --regions --density"), std::string("evaluate v.moe DATA --json"),
        std::string("explain v.moe DATA --row 3"), std::string("compare v.moe v2.moe DATA --json"),
        std::string("cv DATA --target Vowel --drop Type,Repetition --group Speaker --experts 2 --folds 2 "
                    "--restarts 1 --json")}) {
    CAPTURE(command);
    const auto on = [&](const std::string& data) {
      std::string line = command;
      line.replace(line.find("DATA"), 4, data);
      return w.run(line);
    };
    const Ran text = on(csv), stored = on("v.mkb");
    CHECK(text.code == 0);
    CHECK(stored.code == 0);
    const auto timeless = [](const std::string& out) {
      if (!out.starts_with("{")) return out;
      nlohmann::json json = json_of(out);
      if (json.contains("results"))
        for (auto& result : json["results"]) result.erase("seconds");
      return json.dump();
    };
    CHECK(timeless(text.out) == timeless(stored.out));
  }
  REQUIRE(w.run("diagnose v.moe " + csv + " -o d1 -q").code == 0);
  REQUIRE(w.run("diagnose v.moe v.mkb -o d2 -q").code == 0);
  for (const char* file : {"/partition.csv", "/regions.csv", "/experts.csv", "/report.html"})
    CHECK(w.read("d1" + std::string(file)) == w.read("d2" + std::string(file)));
  CHECK(w.run("report v.moe v.mkb -o r.html -q").code == 0);
}

TEST_CASE("train --memory: rows stay on the file, and the model is the same file") {
  const Workshop w;
  REQUIRE(w.shell("gunzip -c data/diamonds.csv.gz | head -5001 > d.csv").code == 0);
  REQUIRE(w.run("convert d.csv -o d.mkb -q").code == 0);
  for (const std::string& options :
       {std::string("--target price --experts 2 --restarts 2 --max-iterations 20"),
        std::string("--target cut --weights carat --experts 2 --restarts 1 --max-iterations 20"),
        std::string("--target price --drop x,y,z --fit adam --epochs 1 --experts 2 --top-k 1")}) {
    CAPTURE(options);
    REQUIRE(w.run("train d.csv -q -o a.moe " + options).code == 0);
    REQUIRE(w.run("train d.mkb -q -o b.moe --memory 50K --threads 2 " + options).code == 0);
    CHECK(w.read("a.moe") == w.read("b.moe"));
  }
  const Ran text = w.run("train d.csv --target price --memory 50K -o c.moe");
  CHECK(text.code == 64);
  CHECK(one_error_line(text));
  CHECK(has(text.err, "moekit convert"));
  for (const char* option : {"--validation 0.2", "--conformal 0.2", "--ensemble 3"}) {
    const Ran ran = w.run("train d.mkb --target price -q --memory 50K -o c.moe " + std::string(option));
    CHECK(ran.code == 64);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, "give more --memory"));
  }
  const Ran cv = w.run("cv d.mkb --target price -q --memory 50K");
  CHECK(cv.code == 64);
  CHECK(has(cv.err, "give more --memory"));
  CHECK(w.run("train d.mkb --target price -q --memory lots -o c.moe").code == 64);
  CHECK_FALSE(w.exists("c.moe"));
}

TEST_CASE("train --validation: a block file stays on its disk, and model and figures are the same") {
  const Workshop w;
  REQUIRE(w.shell("gunzip -c data/diamonds.csv.gz | head -3001 > d.csv; (head -1 d.csv; gunzip -c "
                  "data/diamonds.csv.gz | sed -n 3002,7001p) > v.csv")
              .code == 0);
  REQUIRE(w.run("convert d.csv -o d.mkb -q").code == 0);
  REQUIRE(w.run("convert v.csv -o v.mkb -q").code == 0);
  for (const std::string& options :
       {std::string("--target price --weights carat --experts 2 --restarts 2 --max-iterations 20"),
        std::string("--target cut --experts 2 --fit adam --epochs 5 --patience 1"),
        std::string("--target price --expert mlp:4 --fit adam --epochs 4 --experts 2 --ensemble 2")}) {
    CAPTURE(options);
    // The name of the file stands in the model, so it is the same.
    const auto train = [&](const std::string& validation, const std::string& rest) {
      REQUIRE(w.shell("cp " + validation + " v").code == 0);
      REQUIRE(w.run("train -q --validation v " + options + " " + rest).code == 0);
    };
    train("v.csv", "d.csv -o a.moe --report a.json");
    // The table takes some 200 KB of it, the held-out rows would take 300 KB.
    train("v.mkb", "d.csv -o b.moe --report b.json --memory 400K --threads 2");
    CHECK(w.read("a.moe") == w.read("b.moe"));
    const auto held = json_of(w.read("a.json"))["held_out"];
    CHECK(held["n"] == 4000);
    CHECK(held == json_of(w.read("b.json"))["held_out"]);
    if (has(options, "--ensemble")) continue;  // needs its table in memory
    train("v.mkb", "d.mkb -o c.moe --memory 50K");
    CHECK(w.read("a.moe") == w.read("c.moe"));
  }
  const Ran text = w.run("train d.csv --target price -q --validation v.csv --memory 400K -o x.moe");
  CHECK(text.code == 64);
  CHECK(one_error_line(text));
  CHECK(has(text.err, "v.csv: the rows do not fit into --memory beside the table"));
  CHECK(has(text.err, "moekit convert v.csv -o held.mkb"));
  const std::string whole = w.read("v.mkb");
  w.write("cut.mkb", whole.substr(0, whole.size() / 2));
  const Ran cut = w.run("train d.csv --target price -q --validation cut.mkb --memory 400K -o x.moe");
  CHECK(cut.code == 65);
  CHECK(one_error_line(cut));
  CHECK(has(cut.err, "cut.mkb: a damaged block file"));
  CHECK_FALSE(w.exists("x.moe"));
}

TEST_CASE("convert: an interrupt leaves nothing behind") {
  const Workshop w;
  const Ran ran = w.shell("mkfifo _pipe; \"" MOEKIT_PROGRAM
                          "\" convert - -o n.mkb <_pipe & p=$!; exec 7>_pipe; cat data/mcycle.csv >&7; "
                          "sleep 0.3; kill -TERM $p; exec 7>&-; wait $p");
  CHECK(ran.code == 143);
  CHECK(w.entries().empty());
}

TEST_CASE("block files: what is refused, in one line") {
  const Workshop w;
  REQUIRE(w.run("convert data/mcycle.csv -o m.mkb -q").code == 0);
  const std::string whole = w.read("m.mkb");
  w.write("cut.mkb", whole.substr(0, whole.size() / 2));
  const Ran cut = w.run("train cut.mkb --target accel -o m.moe");
  CHECK(cut.code == 65);
  CHECK(one_error_line(cut));
  CHECK(has(cut.err, "cut.mkb: a damaged block file"));
  w.write("new.mkb", "moekit-blocks 9\n" + whole.substr(16));
  CHECK(has(w.run("train new.mkb --target accel -o m.moe").err, "another version"));
  const Ran target = w.run("train m.mkb --target speed -o m.moe");
  CHECK(target.code == 65);
  CHECK(has(target.err, "no column 'speed'"));
  CHECK(w.run("train m.mkb --target accel --separator tab -o m.moe").code == 64);
  CHECK(w.run("convert m.mkb -o n.mkb").code == 64);
  CHECK(w.run("convert data/mcycle.csv -o data/mcycle.csv").code == 64);
  CHECK(w.run("convert data/mcycle.csv -o -").code == 64);
  CHECK(w.run("convert nothing.csv -o n.mkb").code == 66);
  CHECK(w.run("convert data/mcycle.csv -o nowhere/n.mkb").code == 73);
  CHECK_FALSE(w.exists("n.mkb"));
}
