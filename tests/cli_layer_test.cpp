// moekit layer run and layer inspect as a user meets them (docs/cli.md).
#include "cli_helpers.hpp"
#include "layer_helpers.hpp"
#include "reference/naive_layer.hpp"
#include "safetensors_helpers.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

const LayerShape kShape = {64, 128, 64, 8, ExpertKind::glu, Activation::silu};

/// w.safetensors (layer 3) and x.npy with so many rows.
MemoryWeights prepare(const Workshop& w, std::size_t rows) {
  const MemoryWeights weights = random_weights(kShape, 1);
  w.write("w.safetensors", safetensors_of(mixtral_tensors(weights, 3)));
  w.write("x.npy", npy_of(random_rows(rows, 64, 2), 64));
  return weights;
}

std::vector<float> values_of(const std::string& npy) {
  const std::size_t begin =
      10 + static_cast<unsigned char>(npy.at(8)) + 256u * static_cast<unsigned char>(npy.at(9));
  std::vector<float> values((npy.size() - begin) / 4);
  if (!values.empty()) std::memcpy(values.data(), npy.data() + begin, values.size() * 4);
  return values;
}

}  // namespace

TEST_CASE("layer run: the block of the formula, whatever the threads") {
  const Workshop w;
  const MemoryWeights weights = prepare(w, 50);
  const naive::LayerResult expected = naive::layer(weights, random_rows(50, 64, 2), 2);
  const std::string line = "layer run w.safetensors --layer 3 --input x.npy -o ";
  REQUIRE(w.run(line + "y.npy").code == 0);
  CHECK(relative_difference(values_of(w.read("y.npy")), expected.y) < 1e-5);
  CHECK(has(w.read("y.npy"), "(50, 64)"));
  for (const char* threads : {"1", "5"}) {
    REQUIRE(w.run(line + "z.npy -q --threads " + threads).code == 0);
    CHECK(w.read("z.npy") == w.read("y.npy"));
  }
  REQUIRE(w.run(line + "z.npy --dtype bf16").code == 0);
  CHECK(relative_difference(values_of(w.read("z.npy")), expected.y) < 1e-2);
  REQUIRE(w.run(line + "z.npy --dtype int8").code == 0);
  CHECK(relative_difference(values_of(w.read("z.npy")), expected.y) < 4e-2);
  REQUIRE(w.run(line + "z.npy --top-k 8").code == 0);
  CHECK(relative_difference(values_of(w.read("z.npy")), naive::layer(weights, random_rows(50, 64, 2), 8).y) <
        1e-5);
}

TEST_CASE("layer run: no row and one row") {
  const Workshop w;
  prepare(w, 1);
  REQUIRE(w.run("layer run w.safetensors --layer 3 --input x.npy -o y.npy --report r.json").code == 0);
  CHECK(values_of(w.read("y.npy")).size() == 64);
  w.write("x.npy", npy_of({}, 64));
  const Ran ran = w.run("layer run w.safetensors --layer 3 --input x.npy -o y.npy --report r.json");
  CHECK(ran.code == 0);
  CHECK(has(w.read("y.npy"), "(0, 64)"));
  CHECK(nlohmann::json::parse(w.read("r.json")).at("rows") == 0);
}

TEST_CASE("layer run --report: counts, margins, and what labels and experts tell of each other") {
  const Workshop w;
  const MemoryWeights weights = prepare(w, 60);
  const naive::LayerResult expected = naive::layer(weights, random_rows(60, 64, 2), 2);
  std::string labels;
  for (const auto& picks : expected.picks) labels += "expert " + std::to_string(picks[0]) + "\n";
  w.write("labels.txt", labels);
  const Ran ran =
      w.run("layer run w.safetensors --layer 3 --input x.npy -o y.npy --labels labels.txt --report r.json");
  REQUIRE(ran.code == 0);
  CHECK(ran.out.empty());
  CHECK(has(ran.err, "mutual information"));
  CHECK(has(ran.err, "####"));
  const nlohmann::json report = nlohmann::json::parse(w.read("r.json"));
  CHECK(report.at("first_expert") == 0);
  std::vector<int> counts(8);
  for (const auto& picks : expected.picks)
    for (const int e : picks) ++counts[static_cast<std::size_t>(e)];
  CHECK(report.at("counts").get<std::vector<int>>() == counts);
  CHECK(report.at("dropped") == 0);
  CHECK(report.at("labels").at("mutual_information") > report.at("labels").at("by_chance"));
}

TEST_CASE("layer inspect: layers and tensors, as text and as JSON") {
  const Workshop w;
  prepare(w, 1);
  const Ran text = w.run("layer inspect w.safetensors");
  CHECK(text.code == 0);
  CHECK(has(text.out, "model.layers.3.block_sparse_moe.gate.weight"));
  const Ran ran = w.run("layer inspect w.safetensors --json");
  const nlohmann::json json = nlohmann::json::parse(ran.out);
  CHECK(json.at("tensors").size() == 25);
  CHECK(json.at("layers")[0].at("layer") == 3);
  CHECK(json.at("layers")[0].at("experts") == 8);
  CHECK(json.at("layers")[0].at("hidden") == 128);
  CHECK(json.at("layers")[0].at("kind") == "glu");
  w.write("other.safetensors", safetensors_of({{"a", {1}, {1}}}));
  CHECK(has(w.run("layer inspect other.safetensors").out, "none under the known names"));
}

TEST_CASE("layer: errors are one line with the documented exit code, and nothing is left behind") {
  const Workshop w;
  MemoryWeights odd = prepare(w, 5);
  odd.gate[9] = NAN;
  w.write("nan_gate.safetensors", safetensors_of(mixtral_tensors(odd, 3)));
  odd = prepare(w, 5);
  odd.experts[2].w3[5] = -INFINITY;
  w.write("inf_expert.safetensors", safetensors_of(mixtral_tensors(odd, 3)));
  w.write("narrow.npy", npy_of({1, 2, 3}, 3));
  std::vector<float> bad(64, 1.0f);
  bad[7] = NAN;
  w.write("nan.npy", npy_of(bad, 64));
  w.write("cut.safetensors", w.read("w.safetensors").substr(0, 5000));
  w.write("few.txt", "a\nb\n");
  w.write("huge.npy", npy_of(std::vector<float>(64, 1e30f), 64));
  const std::vector<std::string> before = w.entries();
  const auto refused = [&](const std::string& arguments, int code, const std::string& part) {
    const Ran ran = w.run("layer " + arguments);
    CAPTURE(arguments);
    CAPTURE(ran.err);
    CHECK(ran.code == code);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, part));
    CHECK(w.entries() == before);
  };
  const std::string run = "run w.safetensors --layer 3 -o y.npy -q --input ";
  refused("", 64, "inspect");
  refused("rum w.safetensors", 64, "did you mean 'run'");
  refused("run w.safetensors --input x.npy", 64, "--output");
  refused(run + "x.npy --top-k 9", 64, "9 picks");
  refused(run + "x.npy --top-k 0", 64, "--top-k");
  refused(run + "x.npy --dtype f16", 64, "known");
  refused(run + "x.npy --activation tanh", 64, "relu");
  refused(run + "x.npy --report y.npy", 64, "same file");
  refused(run + "x.npy --no-such", 64, "moekit layer run has no option");
  refused("run w.safetensors --layer 3 --input x.npy -o x.npy", 64, "x.npy");
  refused("run w.safetensors --input x.npy -o y.npy", 65, "layers in the file: 3");
  refused("run cut.safetensors --layer 3 --input x.npy -o y.npy", 65, "cut.safetensors");
  refused(
      "run nan_gate.safetensors --layer 3 --input x.npy -o y.npy", 65,
      "nan_gate.safetensors: tensor 'model.layers.3.block_sparse_moe.gate.weight' has a weight that is NaN");
  for (const std::string type : {"f32", "bf16", "int8"})
    refused(
        "run inf_expert.safetensors --layer 3 --input x.npy -o y.npy --dtype " + type, 65,
        "inf_expert.safetensors: tensor 'model.layers.3.block_sparse_moe.experts.2.w3.weight' has a weight");
  refused(run + "narrow.npy", 65, "takes 64");
  refused(run + "nan.npy", 65, "column 7");
  refused(run + "huge.npy", 65, "float32");
  refused(run + "w.safetensors", 65, "not a NumPy file");
  refused(run + "x.npy --labels few.txt", 65, "few.txt");
  refused(run + "nosuch.npy", 66, "nosuch.npy");
  refused("run nosuch --input x.npy -o y.npy", 66, "nosuch");
  refused(run + "x.npy --labels nosuch.txt", 66, "nosuch.txt");
  refused("run w.safetensors --layer 3 --input x.npy -o no/such.npy", 73, "no/such");
  refused("inspect x.npy", 65, "x.npy");
}

TEST_CASE("layer: a checkpoint of several files, by its index or its folder") {
  const Workshop w;
  const MemoryWeights weights = prepare(w, 20);
  REQUIRE(w.run("layer run w.safetensors --layer 3 --input x.npy -o y.npy").code == 0);
  const std::vector<StoredTensor> tensors = mixtral_tensors(weights, 3);
  std::filesystem::create_directory(w.file("model"));
  nlohmann::json index = {{"metadata", {{"total_size", 1}}}};
  std::array<std::vector<StoredTensor>, 2> parts;
  const std::array<std::string, 2> names = {"model-00001-of-00002.safetensors",
                                            "model-00002-of-00002.safetensors"};
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    parts[i % 2].push_back(tensors[i]);
    index["weight_map"][tensors[i].name] = names[i % 2];
  }
  for (std::size_t p = 0; p < 2; ++p) w.write("model/" + names[p], safetensors_of(parts[p]));
  w.write("model/model.safetensors.index.json", index.dump());
  for (const std::string path : {"model", "model/", "model/model.safetensors.index.json"}) {
    REQUIRE(w.run("layer run " + path + " --layer 3 --input x.npy -o z.npy").code == 0);
    CHECK(w.read("z.npy") == w.read("y.npy"));
  }
  const Ran text = w.run("layer inspect model");
  CHECK(has(text.out, "25 tensors"));
  CHECK(has(text.out, "in 2 files"));
  const nlohmann::json json = json_of(w.run("layer inspect model --json").out);
  CHECK(json.at("layers")[0].at("experts") == 8);
  CHECK(json.at("tensors")[0].at("file") == names[1]);

  const std::string run = "layer run model --layer 3 --input x.npy -o ";
  Ran ran = w.run(run + "model/" + names[1]);
  CHECK(ran.code == 64);
  CHECK(has(ran.err, "read and written by the same command"));
  ran = w.run("layer run model/" + names[0] + " --layer 3 --input x.npy -o z.npy");
  CHECK(ran.code == 65);
  index["weight_map"][tensors[0].name] = "../w.safetensors";
  w.write("model/model.safetensors.index.json", index.dump());
  ran = w.run(run + "z.npy");
  CHECK(ran.code == 65);
  CHECK(one_error_line(ran));
  index["weight_map"][tensors[0].name] = "nosuch.safetensors";
  w.write("model/model.safetensors.index.json", index.dump());
  ran = w.run(run + "z.npy");
  CHECK(ran.code == 66);
  CHECK(one_error_line(ran));
}

TEST_CASE("layer run: files that somebody cuts short meanwhile end it with one line and exit code 74") {
  const Workshop w;
  for (const std::string file : {"w.safetensors", "x.npy"}) {
    prepare(w, 50);
    const std::vector<std::string> before = w.entries();
    // The program waits for its labels when both files are mapped.
    const Ran ran =
        w.shell("mkfifo _labels; moekit layer run w.safetensors --layer 3 --input x.npy -o y.npy " +
                std::string("--labels _labels & { truncate -s 200 ") + file +
                "; for i in {1..50}; do echo a; done; } >_labels; wait $!");
    CHECK(ran.code == 74);
    CHECK(one_error_line(ran));
    CHECK(has(ran.err, file + ": was cut short"));
    CHECK(w.entries() == before);
    std::filesystem::remove(w.file("_labels"));
  }
}

TEST_CASE("help of the commands of layer: options with defaults, examples that run, all in docs/cli.md") {
  const Workshop w;
  std::ifstream in(MOEKIT_DATA "/../docs/cli.md");
  const std::string manual(std::istreambuf_iterator<char>(in), {});
  for (const std::string command : {"layer", "layer run", "layer inspect"}) {
    const Ran help = w.run(command + " --help");
    CHECK(help.code == 0);
    CHECK(w.run("help " + command).out == help.out);
    const std::size_t examples = help.out.find("\nExamples:\n");
    REQUIRE(examples != std::string::npos);
    for (std::size_t at = help.out.find("  --"); at < examples; at = help.out.find("  --", at + 1)) {
      const std::string option = help.out.substr(at + 2, help.out.find_first_of(" \n", at + 2) - at - 2);
      CAPTURE(option);
      CHECK(has(manual, "`" + option));
    }
    for (const std::string& line : lines_of(help.out.substr(0, examples))) CHECK(line.size() <= 80);
    for (const std::string& line : lines_of(help.out.substr(examples + 11)))
      CHECK(w.shell(line.substr(2)).code == 0);
  }
}
