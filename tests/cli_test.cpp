// The program as a whole: exit codes, errors, help, streams, colours and signals (docs/cli.md).
#include "cli_helpers.hpp"

using namespace moekit::testing;

namespace {

const std::vector<std::string> kCommands = {"train",   "predict", "evaluate", "diagnose", "report",
                                            "inspect", "cv",      "simulate", "layer"};

/// A model to score with: quick, two experts.
void make_model(const Workshop& w) {
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 2 --restarts 2 -q -o m.moe").code == 0);
}

std::string manual() {
  std::ifstream in(MOEKIT_DATA "/../docs/cli.md");
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

TEST_CASE("wrong usage is one line and exit 64") {
  const Workshop w;
  for (const char* arguments :
       {"",
        "nonsense",
        "train",
        "train data/mcycle.csv",
        "train data/mcycle.csv --target accel",
        "train data/mcycle.csv --target accel -o m.moe --experts 0",
        "train data/mcycle.csv --target accel -o m --ridge x",
        "train data/mcycle.csv --target accel -o m.moe --no-such-option",
        "train a b --target c -o d",
        "train data/mcycle.csv --target accel -o m.moe --experts 2 --experts 3",
        "train data/mcycle.csv --target accel -o m.moe --validation 1.5",
        "train data/mcycle.csv --target accel -o m.moe --gate-columns nosuch -q",
        "train data/mcycle.csv --target accel -o m.moe --family logistic --dry-run -q",
        "train data/mcycle.csv --target accel -o m.moe --separator x",
        "train data/mcycle.csv --target accel -o m.moe --separator , --decimal ,",
        "train data/mcycle.csv --target accel -o m.moe --report m.moe",
        "predict",
        "inspect",
        "simulate --rows -1",
        "simulate --classes 3",
        "cv data/mcycle.csv --target accel --folds 1",
        "cv data/mcycle.csv --target accel --experts 1,x",
        "--no-such-option",
        "train --threads"}) {
    const Ran ran = w.run(arguments);
    CAPTURE(arguments);
    CAPTURE(ran.err);
    CHECK(ran.code == 64);
    CHECK(one_error_line(ran));
    CHECK(ran.out.empty());
  }
  CHECK(w.entries().empty());
}

TEST_CASE("the other exit codes") {
  const Workshop w;
  make_model(w);
  const auto refused = [&](const std::string& arguments, int code, const std::string& part) {
    const Ran ran = w.run(arguments);
    CAPTURE(arguments);
    CAPTURE(ran.err);
    CHECK(ran.code == code);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, part));
  };
  w.write("bad.csv", "times,accel\n1,2\n3\n");
  w.write("broken.moe", w.read("m.moe").substr(0, 300));
  refused("train bad.csv --target accel -q -o x.moe", 65, "bad.csv:3:");
  refused("predict m.moe bad.csv", 65, "bad.csv:3:");
  refused("inspect broken.moe", 65, "broken.moe");
  refused("inspect data/mcycle.csv", 65, "data/mcycle.csv");
  refused("train nosuch.csv --target accel -o x.moe", 66, "nosuch.csv");
  refused("predict nosuch.moe data/mcycle.csv", 66, "nosuch.moe");
  refused("evaluate m.moe nosuch.csv", 66, "nosuch.csv");
  refused("train data/mcycle.csv --target accel -o no/such/x.moe", 73, "no/such");
  refused("train data/mcycle.csv --target accel -o data", 73, "directory");
  refused("predict m.moe data/mcycle.csv -o no/such.csv", 73, "no/such.csv");
  refused("simulate -o no/such.csv", 73, "no/such.csv");
  refused("diagnose m.moe data/mcycle.csv -o no/such/dir", 73, "no/such/dir");
  refused("diagnose m.moe data/mcycle.csv -o m.moe", 73, "m.moe");
  refused("simulate --rows 10 -o /dev/full", 74, "/dev/full");
  const Ran full = w.shell("moekit predict m.moe data/mcycle.csv > /dev/full");
  CHECK(full.code == 74);
  CHECK(one_error_line(full));
}

TEST_CASE("memory that runs out is one line and exit 70") {
  const Workshop w;
  // A limit within which the program starts, but the gate of this mixture does not fit.
  const Ran ran = w.shell("ulimit -v 600000; moekit simulate --inputs 10000 --experts 10000 --rows 1");
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(ran.code == 70);
  CHECK(one_error_line(ran));
#endif
}

TEST_CASE("mistyped commands, options, values and columns are answered with the nearest") {
  const Workshop w;
  const auto hint = [&](const std::string& arguments, const std::string& meant) {
    const Ran ran = w.run(arguments);
    CAPTURE(ran.err);
    CHECK(ran.code != 0);
    CHECK(has(ran.err, "did you mean '" + meant + "'"));
  };
  hint("trian data/mcycle.csv", "train");
  hint("evalute m.moe x.csv", "evaluate");
  hint("train data/mcycle.csv --taget accel -o x", "--target");
  hint("train --expertss 4 data/mcycle.csv --target accel -o x", "--experts");
  hint("train data/mcycle.csv --target accel -o x --restart=3", "--restarts");
  hint("predict m.moe x.csv --region", "--regions");
  hint("--versio", "--version");
  hint("train data/mcycle.csv --target accel -o x --task regresion", "regression");
  hint("train data/mcycle.csv --target accel -o x --family gausian", "gaussian");
  hint("train data/mcycle.csv --target accel -o x --gate sotfmax", "softmax");
  hint("train data/mcycle.csv --target acel -o x", "accel");
  hint("train data/wages.csv --target wages -o x -q --gate-columns agee", "age");
  hint("inspect m.moe --color alway", "always");
}

TEST_CASE("an option twice with the same value is fine") {
  const Workshop w;
  CHECK(w.run("simulate --rows 3 --seed 2 --seed 2").out == w.run("simulate --rows 3 --seed 2").out);
}

TEST_CASE("help: every command, within 80 columns, with defaults and examples") {
  const Workshop w;
  const Ran program = w.run("--help");
  CHECK(program.code == 0);
  for (const std::string& command : kCommands) {
    CAPTURE(command);
    CHECK(has(program.out, "\n  " + command + " "));
    const Ran help = w.run(command + " --help");
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(has(help.out, "\nExamples:\n  moekit " + command + " "));
    for (const char* option : {"--threads", "--seed", "-q", "-v", "--color", "--help", "--version"})
      CHECK(has(help.out, option));
    const std::string options = help.out.substr(0, help.out.find("\nExamples:"));
    for (const std::string& line : lines_of(options)) CHECK(line.size() <= 80);
    CHECK(w.run("help " + command).out == help.out);
    CHECK(w.run(command + " --version").out == w.run("--version").out);
  }
  CHECK(has(w.run("train --help").out, "number of experts, or auto: found by growing on rows"));
  CHECK(w.run("--version").out.starts_with("moekit "));
}

TEST_CASE("the examples of --help and of docs/cli.md run as they stand") {
  const Workshop w;
  std::vector<std::string> examples;
  for (const std::string& command : kCommands) {
    const std::string help = w.run(command + " --help").out;
    for (const std::string& line : lines_of(help.substr(help.find("\nExamples:\n") + 11))) {
      REQUIRE(line.starts_with("  "));
      examples.push_back(line.substr(2));
    }
  }
  for (const std::string& line : lines_of(manual())) {
    const bool example = line.starts_with("moekit ") || line.starts_with("cat ");
    if (!example || has(line, " DATA ") || has(line, " MODEL ") || has(line, " WEIGHTS ") ||
        has(line, "OUT.csv"))
      continue;
    if (std::find(examples.begin(), examples.end(), line) == examples.end()) examples.push_back(line);
  }
  for (const std::string& line : examples) {
    CAPTURE(line);
    const Ran ran = w.shell(line);
    CAPTURE(ran.err);
    CHECK(ran.code == 0);
  }
}

TEST_CASE("docs/cli.md names every option") {
  const Workshop w;
  const std::string text = manual();
  REQUIRE(!text.empty());
  for (const std::string& command : kCommands) {
    const std::string help = w.run(command + " --help").out;
    for (std::size_t at = help.find("  --"); at != std::string::npos; at = help.find("  --", at + 1)) {
      const std::string option = help.substr(at + 2, help.find_first_of(" \n", at + 2) - at - 2);
      CAPTURE(option);
      CHECK(has(text, "`" + option));
    }
  }
}

TEST_CASE("a closed pipe is success") {
  const Workshop w;
  make_model(w);
  const Ran simulate = w.shell("moekit simulate --rows 200000 | head -1; test ${PIPESTATUS[0]} = 0");
  CHECK(simulate.code == 0);
  CHECK(simulate.out == "x1,x2,y,region\n");
  CHECK(simulate.err.empty());
  const Ran help = w.shell("(sleep 0.2; moekit train --help; echo $? >&2) | true");
  CHECK(help.err == "0\n");
}

TEST_CASE("colours: on a terminal, unless NO_COLOR or --color say otherwise") {
  const Workshop w;
  make_model(w);
  const std::string escape = "\x1b[";
  CHECK_FALSE(has(w.run("inspect m.moe").out, escape));
  CHECK(has(w.run("inspect m.moe --color always").out, escape));
  CHECK(has(w.on_terminal("inspect m.moe").out, escape));
  CHECK_FALSE(has(w.on_terminal("inspect m.moe", "NO_COLOR=1").out, escape));
  CHECK(has(w.on_terminal("inspect m.moe --color always", "NO_COLOR=1").out, escape));
  CHECK_FALSE(has(w.on_terminal("inspect m.moe --color never").out, escape));
  CHECK_FALSE(has(w.on_terminal("inspect m.moe", "TERM=dumb").out, escape));
}

TEST_CASE("progress: on a terminal only, and not with -q") {
  const Workshop w;
  const std::string line =
      "train data/mcycle.csv --target accel --experts 3 --restarts 20 -o m.moe --color never";
  CHECK(has(w.on_terminal(line).out, "\rfit: "));
  CHECK_FALSE(has(w.on_terminal(line + " -q").out, "\r"));
  CHECK_FALSE(has(w.run(line).err, "\r"));
}

TEST_CASE("-q silences notes and summaries, not errors") {
  const Workshop w;
  const Ran quiet = w.run("train data/mcycle.csv --target accel --experts 2 --restarts 2 -q -o m.moe");
  CHECK(quiet.err.empty());
  CHECK(quiet.out.empty());
  CHECK(one_error_line(w.run("train nosuch.csv --target accel -q -o m.moe")));
  const Ran talking = w.run("train data/mcycle.csv --target accel --experts 2 --restarts 2 -o m.moe");
  CHECK(talking.out.empty());
  CHECK(has(talking.err, "log-likelihood"));
  const Ran verbose = w.run("train data/mcycle.csv --target accel --experts 2 --restarts 2 -v -o m.moe");
  CHECK(verbose.err.size() > talking.err.size());
}

TEST_CASE("Ctrl-C ends with 130 and leaves neither a half file nor a temporary") {
  const Workshop w;
  w.write("old.moe", "old");
  const Ran ran = w.shell(
      "env --default-signal=INT timeout --preserve-status -s INT 0.5 " MOEKIT_PROGRAM
      " train data/diamonds.csv.gz --target price --experts 20 --restarts 100 --ridge 0 -q -o old.moe");
  CHECK(ran.code == 130);
  CHECK(w.read("old.moe") == "old");
  CHECK(w.entries() == std::vector<std::string>{"old.moe"});
}

TEST_CASE("an error names file, line, column and value, and says what to do") {
  const Workshop w;
  w.write("t.csv",
          "a,b,y\n1,2,3\n2,3,4\n3,4,5\n4,5,6\n5,6,7\n6,7,8\n7,8,9\n8,9,1\n9,1,2\n10,11,3\n11,N/A?,4\n");
  const Ran ran = w.run("train t.csv --target y -o m.moe");
  CAPTURE(ran.err);
  CHECK(ran.code == 65);
  for (const char* part : {"t.csv:12:", "'b'", "N/A?", "--missing", "--categorical"})
    CHECK(has(ran.err, part));
  CHECK_FALSE(w.exists("m.moe"));
}
