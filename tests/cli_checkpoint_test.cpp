// train --checkpoint and --resume as a user meets them.
#include "cli_helpers.hpp"

using namespace moekit::testing;

namespace {

const std::string kTrain = "train data/boston.csv --target medv --restarts 4 -q ";

}  // namespace

TEST_CASE("an interrupted fit keeps its checkpoint, ends with 130 and goes on to the same file") {
  const Workshop shop;
  REQUIRE(shop.run(kTrain + "-o whole.moe").code == 0);
  // The signal comes as soon as something is in the checkpoint; a fit that was faster is tried again.
  const std::string interrupted = "'" MOEKIT_PROGRAM
                                  "' train data/boston.csv --target medv --restarts 4 --ensemble 20 "
                                  "-o model.moe --checkpoint fit.ckpt --checkpoint-every 1 & fit=$!; "
                                  "while [ ! -e fit.ckpt ]; do sleep 0.01; done; kill -";
  for (const auto& [signal, code] : {std::pair{"INT", 130}, std::pair{"TERM", 143}}) {
    CAPTURE(signal);
    // Job control gives the fit its own signals back, which a background job of a script ignores.
    const Ran ran = shop.shell("set -m; " + interrupted + signal + " $fit; wait $fit");
    CHECK(ran.code == code);
    CHECK(has(ran.err, "note: interrupted: fit.ckpt keeps how far the fit is"));
    CHECK(shop.exists("fit.ckpt"));
    CHECK_FALSE(shop.exists("model.moe"));
    const std::string options = "--ensemble 20 --checkpoint fit.ckpt --resume -o ";
    CHECK(shop.run(kTrain + options + "resumed.moe --threads 1").code == 0);
    CHECK(shop.run(kTrain + "--ensemble 20 -o again.moe").code == 0);
    CHECK(shop.read("resumed.moe") == shop.read("again.moe"));
    CHECK_FALSE(shop.exists("fit.ckpt"));
  }
}

TEST_CASE("a checkpoint that is not there yet, or whose fit is another") {
  const Workshop shop;
  const Ran fresh =
      shop.run("train data/mcycle.csv --target accel --restarts 2 -o a.moe --checkpoint fit.ckpt --resume");
  CHECK(fresh.code == 0);
  CHECK(has(fresh.err, "note: fit.ckpt: there is no checkpoint yet, so the fit begins anew"));
  CHECK(shop.entries() == std::vector<std::string>{"a.moe"});

  shop.write("fit.ckpt", "moekit-checkpoint 1 3 00000000\nabc");
  const Ran damaged = shop.run(kTrain + "-o b.moe --checkpoint fit.ckpt --resume");
  CHECK(damaged.code == 65);
  CHECK(one_error_line(damaged));
  CHECK(has(damaged.err, "fit.ckpt: damaged checkpoint"));

  const Ran there = shop.run(kTrain + "-o b.moe --checkpoint fit.ckpt");
  CHECK(there.code == 64);
  CHECK(one_error_line(there));
  CHECK(has(there.err, "fit.ckpt: a file is there already; give --resume to go on from it, or remove it"));
}

TEST_CASE("an interrupted or killed cv goes on to the same figures") {
  const Workshop shop;
  const std::string cv = "cv data/boston.csv --target medv --experts 2,3 --folds 10 --restarts 5 --json ";
  const auto figures = [](const std::string& text) {
    auto json = json_of(text);
    for (auto& result : json["results"]) result.erase("seconds");
    return json;
  };
  const Ran whole = shop.run(cv + "-q");
  REQUIRE(whole.code == 0);
  // Each run is stopped as soon as it has finished one more fit.
  const std::string begin = "set -m; \"" MOEKIT_PROGRAM "\" " + cv + "--checkpoint cv.ckpt";
  for (const auto& [signal, code] : {std::pair{"INT", 130}, std::pair{"KILL", 137}, std::pair{"TERM", 143}}) {
    CAPTURE(signal);
    const std::string kill = std::string("kill -") + signal + " $cv; wait $cv";
    const Ran first =
        shop.shell(begin + " & cv=$!; while [ ! -e cv.ckpt ] && kill -0 $cv; do sleep 0.01; done; " + kill);
    CHECK(first.code == code);
    CHECK(first.out.empty());
    CHECK(has(first.err, "interrupted: cv.ckpt keeps") == (code != 137));
    const Ran second = shop.shell(
        "cp cv.ckpt _old; " + begin +
        " --resume & cv=$!; while cmp -s cv.ckpt _old && kill -0 $cv; do sleep 0.01; done; " + kill);
    CHECK(second.code == code);
    CHECK(has(second.err, "note: cv.ckpt: "));
    CHECK(has(second.err, " of 30 fits done"));
    const Ran resumed = shop.run(cv + "--checkpoint cv.ckpt --resume --threads 1");
    CHECK(resumed.code == 0);
    CHECK(has(resumed.err, " of 30 fits done"));
    CHECK(figures(resumed.out) == figures(whole.out));
    CHECK_FALSE(shop.exists("cv.ckpt"));
  }
}

TEST_CASE("cv refuses the checkpoint of other data, other options or another command") {
  const Workshop shop;
  const std::string cv = "cv data/mcycle.csv --target accel --experts 2 --folds 3 --restarts 1 -q ",
                    resume = "--checkpoint cv.ckpt --resume ";
  const auto keep = [&](const std::string& command) {
    shop.shell("rm -f cv.ckpt; set -m; \"" MOEKIT_PROGRAM "\" " + command +
               " --checkpoint cv.ckpt & p=$!; while [ ! -e cv.ckpt ] && kill -0 $p; do sleep 0.01; done; "
               "kill -KILL $p; wait $p");
    REQUIRE(shop.exists("cv.ckpt"));
  };
  keep("cv data/mcycle.csv --target accel --experts 2 --folds 100 --restarts 5 -q");
  const auto refused = [&](const std::string& arguments, const std::string& why) {
    CAPTURE(arguments);
    const Ran ran = shop.run(arguments + " -q " + resume);
    CHECK(ran.code == 65);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, why));
    CHECK(ran.out.empty());
  };
  const std::string base = "cv data/mcycle.csv --target accel ";
  refused(base + "--experts 2 --folds 99 --restarts 5", "the number of folds was 100 and is 99");
  refused(base + "--experts 3 --folds 100 --restarts 5", "--experts was 1,2 and is 1,3");
  refused(base + "--experts 2 --folds 100 --restarts 5 --gate tree", "--gate was softmax and is tree");
  refused(base + "--experts 2 --folds 100 --restarts 5 --seed 1", "--seed was 0 and is 1");
  shop.shell("head -120 data/mcycle.csv > other.csv");
  refused("cv other.csv --target accel --experts 2 --folds 100 --restarts 5", "the number of rows was 133");
  keep("train data/boston.csv --target medv --ensemble 20 -q -o m.moe --checkpoint-every 1");
  refused(cv, "cv.ckpt: the checkpoint is of another command");
  shop.write("cv.ckpt", "moekit-checkpoint 1 3 00000000\nabc");
  refused(cv, "cv.ckpt: damaged checkpoint");

  const Ran there = shop.run(cv + "--checkpoint cv.ckpt");
  CHECK(there.code == 64);
  CHECK(has(there.err, "a file is there already; give --resume"));
  CHECK(shop.run(cv + "--resume").code == 64);
  CHECK(shop.run(cv + "--checkpoint data/mcycle.csv --resume").code == 64);
  CHECK(shop.run(cv + "--checkpoint absent/c").code == 73);
}

TEST_CASE("options of checkpoints that make no sense are usage errors") {
  const Workshop shop;
  for (const char* options : {"--resume", "--checkpoint-every 5s", "--checkpoint c --checkpoint-every soon",
                              "--checkpoint c --checkpoint-every 0", "--checkpoint c --checkpoint-every 1.5",
                              "--checkpoint c --checkpoint-every -3s", "--checkpoint b.moe"}) {
    CAPTURE(options);
    const Ran ran = shop.run(kTrain + "-o b.moe " + std::string(options));
    CHECK(ran.code == 64);
    CHECK(one_error_line(ran));
  }
  CHECK(shop.run(kTrain + "-o b.moe --checkpoint absent/c").code == 73);
  CHECK(shop.entries().empty());
}

TEST_CASE("several processes of mpirun are ranks, or refused") {
  const Workshop shop;
  CHECK(shop.run("inspect absent.moe").code == 66);
#ifndef MOEKIT_MPI
  const Ran first = shop.shell("export PMI_SIZE=2 PMI_RANK=0; moekit " + kTrain + "-o b.moe"),
            second = shop.shell("export PMI_SIZE=2 PMI_RANK=1; moekit " + kTrain + "-o b.moe");
  CHECK(first.code == 64);
  CHECK(one_error_line(first));
  CHECK(has(first.err, "built without MPI"));
  CHECK(second.code == 64);
  CHECK(second.err.empty());
#endif
  CHECK(shop.entries().empty());
}
