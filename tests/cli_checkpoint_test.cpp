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
