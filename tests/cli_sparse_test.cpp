// Gradient fits, networks, routing and product keys through the command line.
#include <cmath>

#include "cli_helpers.hpp"

using namespace moekit::testing;

namespace {

Ran good(const Workshop& w, const std::string& arguments) {
  const Ran ran = w.run(arguments);
  CAPTURE(arguments);
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  return ran;
}

void refused(const Workshop& w, const std::string& arguments, const std::string& with) {
  const Ran ran = w.run(arguments);
  CAPTURE(arguments);
  CHECK(ran.code == 64);
  CHECK(ran.err.find(with) != std::string::npos);
  CHECK(lines_of(ran.err.substr(ran.err.rfind("moekit: "))).size() == 1);
}

const std::string kIris = "train data/iris.csv --target target -q ";
const std::string kCycle = "train data/mcycle.csv --target accel -q ";

double likelihood(const Workshop& w, const std::string& train) {
  good(w, train + " --report r.json -o m.moe");
  return json_of(w.read("r.json"))["log_likelihood"].get<double>();
}

}  // namespace

TEST_CASE("every option of gradient fits changes the fit") {
  const Workshop w;
  const std::string base = kIris + "--fit adam --expert mlp:4 --experts 3 --epochs 5";
  const double plain = likelihood(w, base);
  CHECK(likelihood(w, base) == plain);
  for (const char* option :
       {"--epochs 6", "--batch-size 32", "--learning-rate 0.01", "--schedule constant", "--weight-decay 0.5",
        "--clip 0.01", "--fit sgd", "--loss competitive", "--loss cooperative", "--seed 1",
        "--expert mlp:4,4", "--gate mlp:3", "--ridge 50", "--validation 0.3", "--restarts 3"}) {
    CAPTURE(option);
    std::string line = base;
    const std::string name = std::string(option).substr(0, std::string(option).find(' '));
    if (const auto at = line.find(name + " "); at != std::string::npos)
      line.replace(at, line.find(' ', line.find(' ', at) + 1) - at, "");
    CHECK(likelihood(w, line + " " + option) != plain);
  }
}

TEST_CASE("every option of routing changes the fit") {
  const Workshop w;
  const std::string base =
      kIris + "--fit adam --expert mlp:4 --experts 6 --epochs 5 --top-k 2 --batch-size 16";
  const double plain = likelihood(w, base);
  for (const char* option :
       {"--gate-score sigmoid", "--gate-score hash", "--balance none", "--balance switch,importance",
        "--balance-weight 0.5", "--z-loss 0.5", "--noisy-top-k", "--noisy-top-k --balance load",
        "--expert-choice", "--capacity 0.5", "--shared-experts 1"}) {
    CAPTURE(option);
    CHECK(likelihood(w, base + " " + option) != plain);
  }
  CHECK(likelihood(w, base + " --balance bias") == plain);
}

TEST_CASE("a routed model is inspected, scored, diagnosed and cross-validated") {
  const Workshop w;
  good(w, kIris +
              "--fit adam --expert mlp:4 --gate mlp:4 --experts 6 --epochs 20 --batch-size 16 "
              "--learning-rate 0.01 "
              "--top-k 2 -o m.moe");
  const Ran text = good(w, "inspect m.moe");
  CHECK(text.out.find("6 logistic experts of mlp:4, mlp:4 gate, top-2") != std::string::npos);
  const auto json = json_of(good(w, "inspect m.moe --json").out);
  CHECK(json["top_k"] == 2);
  CHECK(json["balance"] == "bias");
  CHECK(text.out.find("balance         bias\n") != std::string::npos);
  CHECK(json["hidden"][0] == 4);
  CHECK(json_of(good(w, "evaluate m.moe data/iris.csv --json").out)["accuracy"].get<double>() > 0.6);
  const auto picks = [&](const std::string& option) {
    std::size_t most = 0;
    const auto rows = lines_of(good(w, "predict m.moe data/iris.csv -q --regions" + option).out);
    for (std::size_t i = 1; i < rows.size(); ++i) {
      const auto cells = cells_of(rows[i]);
      most = std::max<std::size_t>(
          most,
          std::count_if(cells.end() - 6, cells.end(), [](const std::string& c) { return std::stod(c) > 0; }));
    }
    return most;
  };
  CHECK(picks("") == 2);
  CHECK(picks(" --top-k 1") == 1);
  CHECK(picks(" --top-k 0") == 6);
  refused(w, "predict m.moe data/iris.csv --top-k 7", "--top-k 7");
  good(w, "diagnose m.moe data/iris.csv -o d --label target");
  const auto routing = json_of(w.read("d/routing.json"));
  CHECK(routing["picks"] == 2);
  CHECK(routing["labels"]["names"].size() == 3);
  CHECK(routing["labels"]["mutual_information"].get<double>() > 0);
  CHECK(lines_of(w.read("d/partition.csv"))[0].starts_with("target,expert,gate_1"));
  const auto cv =
      json_of(good(w,
                   "cv data/iris.csv --target target -q --json --folds 3 --experts 4 --fit adam --epochs 5 "
                   "--expert mlp:4 --top-k 2")
                  .out);
  CHECK(cv["results"].size() == 2);
}

TEST_CASE("what keeps the experts busy is stated") {
  const Workshop w;
  const auto stated = [&](const std::string& options) {
    const Ran ran = good(
        w, "train data/iris.csv --target target --epochs 2 --fit adam -o m.moe --report r.json " + options);
    const auto json = json_of(w.read("r.json"));
    const std::string text = json["balance"].is_null() ? "" : json["balance"].get<std::string>();
    CHECK((ran.err.find("\nbalance  ") != std::string::npos) == !text.empty());
    return text;
  };
  CHECK(stated("").empty());
  CHECK(stated("--top-k 2") == "bias");
  CHECK(stated("--top-k 1") == "bias");
  CHECK(stated("--top-k 2 --balance none") == "none");
  CHECK(stated("--top-k 2 --balance switch,importance") == "switch,importance");
  CHECK(stated("--top-k 2 --expert-choice") == "expert choice");
  CHECK(stated("--top-k 2 --gate-score hash") == "hash");
  good(w, kIris + "--top-k 2 --report r.json -o m.moe");
  CHECK(json_of(w.read("r.json"))["balance"] == "none");
}

TEST_CASE("a routing report is of the scores that route: sigmoids, and none of hashes") {
  const Workshop w;
  const std::string train = kIris + "--fit adam --experts 4 --top-k 2 --epochs 5 -o m.moe --gate-score ";
  good(w, train + "sigmoid");
  good(w, "diagnose m.moe data/iris.csv -o d");
  auto routing = json_of(w.read("d/routing.json"));
  // Each sigmoid says by itself how well an expert suits, so that about as much goes to those left out.
  CHECK(routing["gate_entropy"].get<double>() > 1.2);
  CHECK(routing["margins"].size() > 1);
  good(w, train + "hash");
  const Ran ran = good(w, "diagnose m.moe data/iris.csv -o d");
  CHECK(ran.err.find("gate entropy") == std::string::npos);
  CHECK(ran.err.find("first left out") == std::string::npos);
  routing = json_of(w.read("d/routing.json"));
  for (const char* key : {"gate_entropy", "mean_probability", "margins"}) CHECK(routing[key].is_null());
  CHECK(routing["load_balance"]["switch_balance"].is_null());
  CHECK(routing["utilisation"].size() == 4);
}

TEST_CASE("neurons behind product keys through every command") {
  const Workshop w;
  good(w, kCycle +
              "--gate product-key --experts 4096 --fit adam --epochs 60 --batch-size 16 --validation 0.2 "
              "--heads 2 --picks 4 --report r.json -o m.moe");
  CHECK(json_of(w.read("r.json"))["experts"] == 4096);
  CHECK(json_of(w.read("r.json"))["log_likelihood_one_expert"].is_null());
  const auto rows = lines_of(good(w, "predict m.moe data/mcycle.csv -q --regions --quantiles 0.5").out);
  const auto names = cells_of(rows[0]);
  CHECK(std::find(names.begin(), names.end(), "weight_8") != names.end());
  CHECK(names.size() == 2 + 1 + 1 + 16);
  CHECK(good(w, "inspect m.moe").out.find("4096 gaussian neurons, product-key gate, 2 heads of 4 picks") !=
        std::string::npos);
  CHECK(good(w, "diagnose m.moe data/mcycle.csv -o d").err.find("first left out") == std::string::npos);
  CHECK(json_of(w.read("d/routing.json"))["margins"].is_null());
  CHECK(json_of(w.read("d/summary.json"))["experts"] == 4096);
  CHECK(json_of(w.read("d/routing.json"))["counts"].size() == 4096);
  CHECK(json_of(good(w, "evaluate m.moe data/mcycle.csv --json").out)["r2"].get<double>() > 0.3);
  refused(w, "predict m.moe data/mcycle.csv --top-k 1", "product-key");
}

TEST_CASE("what cannot be is refused in one line") {
  const Workshop w;
  const std::string to = " -o m.moe";
  refused(w, kIris + "--expert mlp:x" + to, "mlp:H");
  refused(w, kIris + "--gate mlp:0" + to, "mlp:H");
  refused(w, kIris + "--expert mlp:4" + to, "--fit adam");
  refused(w, kIris + "--balance bias" + to, "--balance");
  refused(w, kIris + "--top-k 1" + to, "--top-k 1");
  refused(w, kIris + "--fit adam --top-k 2 --balance lode" + to, "did you mean 'load'");
  refused(w, kIris + "--expert neuron" + to, "--gate product-key");
  refused(w, kIris + "--gate product-key --fit adam --experts 1000" + to, "square");
  refused(w, kIris + "--experts 20000" + to, "--gate product-key");
  refused(w, kIris + "--fit adam --expert mlp:4 --standard-errors sandwich" + to, "--standard-errors");
  refused(w, kCycle + "--family laplace --expert mlp:4 --fit adam" + to, "gaussian or logistic");
  CHECK(w.entries().empty());
}

TEST_CASE("options that change nothing beside the others are named in a note") {
  const Workshop w;
  const std::string to = " -o m.moe";
  const auto noted = [](const Workshop& in, std::string line, const std::string& text) {
    if (const std::size_t quiet = line.find(" -q"); quiet != std::string::npos) line.erase(quiet, 3);
    CAPTURE(line);
    CHECK(good(in, line + " --dry-run").err.find("note: ") != std::string::npos);
    CHECK(good(in, line + " --dry-run").err.find(text) != std::string::npos);
  };
  const std::string keys = kIris + "--gate product-key --experts 1024 --fit adam ";
  noted(w, kIris + "--gate product-key --experts 1024 --fit sgd" + to, "--fit sgd is the same");
  for (const std::string option : {"--gate-columns sepal_width", "--gate-basis poly:2",
                                   "--expert-basis ramps", "--ridge 1", "--clip 2", "--balance none"})
    noted(w, keys + option + to,
          option.substr(0, option.find(' ')) + " changes nothing with --gate product-key");
  for (const std::string option : {"--epochs 5", "--batch-size 8", "--learning-rate 1", "--schedule constant",
                                   "--weight-decay 1", "--clip 2", "--patience 3", "--fit lbfgs --epochs 5"})
    noted(w, kIris + option + to, "changes nothing without --fit adam or sgd");
  const std::string routed = kIris + "--fit adam --top-k 2 ";
  for (const std::string option : {"--max-iterations 5", "--tolerance 1"})
    noted(w, routed + option + to, option.substr(0, option.find(' ')) + " changes nothing");
  noted(w, routed + "--patience 3" + to, "without --validation");
  for (const std::string option : {"--heads 2", "--picks 2", "--key-width 2"})
    noted(w, routed + option + to, "without --gate product-key");
  for (const std::string option : {"--balance none", "--expert-choice", "--gate-score hash"})
    noted(w, routed + "--balance-weight 1 " + option + to, "--balance-weight changes nothing");
  noted(w, kIris + "--fit adam --balance-weight 1" + to, "--balance-weight changes nothing");
  noted(w, routed + "--z-loss 1 --gate-score hash" + to, "--z-loss changes nothing");
  noted(w, kIris + "--gate constant --gate-columns petal_width --gate-basis poly:2" + to,
        "--gate-columns, --gate-basis change nothing with --gate constant");
  noted(w, kIris + "--expert constant --expert-columns petal_width" + to, "--expert-columns");
  noted(w, kIris + "--expert-basis ramps" + to, "--expert mlp:H");
  noted(w, kIris + "--bins 4" + to, "additive curves or ramps");
  const std::string ran = good(w, "cv data/iris.csv --target target --experts 1 --folds 2 --heads 2").err;
  CHECK(ran.find("note: --heads changes nothing") != std::string::npos);
  CHECK(good(w, kIris + "--preset accurate --dry-run" + to).err.find("nothing") == std::string::npos);
}
