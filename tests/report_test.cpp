// moekit report and the figures of diagnose --svg: the numbers of the page are recomputed from what predict
// and diagnose write, and hostile names do no harm.
#include <cmath>
#include <map>

#include "cli_helpers.hpp"
#include "report_json.hpp"
#include "report_rows.hpp"

using namespace moekit::testing;
using nlohmann::json;

namespace {

/// The JSON inside a page.
json data_of(const std::string& page) {
  const std::string begin = "<script type=\"application/json\" id=\"data\">";
  const std::size_t at = page.find(begin);
  REQUIRE(at != std::string::npos);
  return json::parse(page.substr(at + begin.size(), page.find("</script>", at) - at - begin.size()));
}

/// Columns of a CSV file without quotes, by name.
std::map<std::string, std::vector<std::string>> columns_of(const std::string& text) {
  const auto lines = lines_of(text);
  const auto heads = cells_of(lines[0]);
  std::map<std::string, std::vector<std::string>> out;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto cells = cells_of(lines[i]);
    cells.resize(heads.size());
    for (std::size_t j = 0; j < heads.size(); ++j) out[heads[j]].push_back(cells[j]);
  }
  return out;
}

std::vector<double> numbers(const std::vector<std::string>& texts) {
  std::vector<double> out;
  for (const std::string& text : texts) out.push_back(text.empty() ? NAN : std::stod(text));
  return out;
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(1.0, std::abs(b)); }

/// Sums over rows, weighted by the gate weight of a region.
struct Weighted {
  double weight = 0, sum = 0;
  void add(double w, double value) {
    weight += w;
    sum += w * value;
  }
  double mean() const { return sum / weight; }
};

}  // namespace

TEST_CASE("report: its figures are those of partition.csv and of predict (regression)") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 3 --restarts 3 -q -o m.moe").code == 0);
  REQUIRE(w.run("diagnose m.moe data/mcycle.csv -o d").code == 0);
  REQUIRE(w.run("predict m.moe data/mcycle.csv --interval 0.9 -o p.csv").code == 0);
  const json data = data_of(w.read("d/report.html"));
  auto partition = columns_of(w.read("d/partition.csv"));
  auto predicted = columns_of(w.read("p.csv"));
  const auto y = numbers(columns_of(w.read("data/mcycle.csv"))["accel"]),
             mean = numbers(predicted["prediction"]), lower = numbers(predicted["lower"]),
             upper = numbers(predicted["upper"]), entropy = numbers(partition["gate_entropy"]),
             boundary = numbers(partition["boundary"]);
  const std::size_t n = y.size();
  CHECK(data["summary"]["rows"] == n);
  REQUIRE(data["regions"].size() == 3);
  Weighted all_entropy;
  std::vector<double> histogram(20, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    all_entropy.add(1, entropy[i]);
    histogram[std::min<std::size_t>(19, static_cast<std::size_t>(20 * entropy[i] / std::log(3.0)))] +=
        1.0 / static_cast<double>(n);
  }
  CHECK(near(data["summary"]["gate_entropy"], all_entropy.mean()));
  for (std::size_t b = 0; b < 20; ++b) CHECK(near(data["entropy"]["histogram"][b], histogram[b]));
  double pit = 0, all_inside = 0;
  for (const json& share : data["calibration"]["targets"][0]["pit"]) pit += share.get<double>();
  CHECK(near(pit, 1));
  for (std::size_t k = 0; k < 3; ++k) {
    const auto gate = numbers(partition["gate_" + std::to_string(k + 1)]);
    const auto responsibility = numbers(partition["responsibility_" + std::to_string(k + 1)]);
    Weighted share, error, inside, of_entropy, of_boundary;
    double rows = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double within = y[i] >= lower[i] && y[i] <= upper[i];
      share.add(1, gate[i]);
      error.add(gate[i], (y[i] - mean[i]) * (y[i] - mean[i]));
      inside.add(gate[i], within);
      of_entropy.add(gate[i], entropy[i]);
      of_boundary.add(gate[i], boundary[i]);
      rows += responsibility[i];
      if (k == 0) all_inside += within / static_cast<double>(n);
    }
    const json& region = data["regions"][k];
    CHECK(near(region["share"], share.mean()));
    CHECK(near(region["effective_rows"], rows));
    CHECK(near(region["targets"][0]["error"], std::sqrt(error.mean())));
    CHECK(near(data["calibration"]["targets"][0]["regions"][k]["coverage_90"], inside.mean()));
    CHECK(near(data["entropy"]["regions"][k]["entropy"], of_entropy.mean()));
    CHECK(near(data["entropy"]["regions"][k]["boundary"], of_boundary.mean()));
  }
  const json& calibration = data["calibration"]["targets"][0];
  REQUIRE(calibration["levels"][17] == 0.9);
  CHECK(near(calibration["coverage"][17], all_inside));
  CHECK(near(data["summary"]["metrics"]["coverage_90"], all_inside));
  // Few rows are all in the sample, in their order.
  CHECK(data["sample"]["row"].size() == n);
  CHECK(data["sample"]["row"][n - 1] == n);
  CHECK(data["curves"]["x"].size() == 200);
}

TEST_CASE("report: its figures are those of partition.csv and of predict (classes)") {
  const Workshop w;
  REQUIRE(w.run("train data/pb52_jacobs4.csv --target Vowel --drop Type,Speaker,Repetition --experts 2 "
                "--restarts 2 "
                "-q -o v.moe")
              .code == 0);
  REQUIRE(w.run("diagnose v.moe data/pb52_jacobs4.csv -o d --svg").code == 0);
  REQUIRE(w.run("predict v.moe data/pb52_jacobs4.csv -o p.csv").code == 0);
  const json data = data_of(w.read("d/report.html"));
  auto partition = columns_of(w.read("d/partition.csv"));
  const auto truth = columns_of(w.read("data/pb52_jacobs4.csv"))["Vowel"],
             label = columns_of(w.read("p.csv"))["prediction"];
  const std::vector<std::string> classes = data["confusion"]["classes"];
  const auto place = [&](const std::string& text) {
    return static_cast<std::size_t>(std::find(classes.begin(), classes.end(), text) - classes.begin());
  };
  for (std::size_t m = 0; m < 3; ++m) {  // all rows, then each region
    const auto gate =
        m ? numbers(partition["gate_" + std::to_string(m)]) : std::vector<double>(truth.size(), 1.0);
    std::vector<std::vector<double>> counts(classes.size(), std::vector<double>(classes.size()));
    Weighted wrong;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      counts[place(truth[i])][place(label[i])] += gate[i];
      wrong.add(gate[i], truth[i] != label[i]);
    }
    for (std::size_t a = 0; a < classes.size(); ++a)
      for (std::size_t b = 0; b < classes.size(); ++b)
        CHECK(near(data["confusion"]["matrices"][m][a][b], counts[a][b]));
    const json& of = data["calibration"]["classes"];
    CHECK(near(m ? of["regions"][m - 1]["accuracy"] : of["accuracy"], 1 - wrong.mean()));
    if (m) CHECK(near(data["regions"][m - 1]["targets"][0]["error"], wrong.mean()));
  }
  CHECK(near(data["calibration"]["classes"]["ece"], data["summary"]["metrics"]["ece"]));
  CHECK(data["curves"].is_null());
  // The map: every cell of the grid has a region, and its boundary lies inside.
  const json& map = data["maps"][0];
  const std::size_t side = map["n"];
  std::size_t cells = 0;
  for (std::size_t i = 0; i < map["cells"].size(); i += 2) {
    CHECK(map["cells"][i] <= 2);
    cells += map["cells"][i + 1].get<std::size_t>();
  }
  CHECK(cells == side * side);
  CHECK(map["boundaries"].size() >= 4);
  for (const json& at : map["boundaries"]) CHECK((at >= 0 && at <= 1));
  for (const char* name : {"d/map.svg", "d/shares.svg", "d/calibration.svg"}) {
    CAPTURE(name);
    const std::string svg = w.read(name);
    CHECK(svg.starts_with("<svg xmlns="));
    CHECK(svg.ends_with("</svg>\n"));
    CHECK(!has(svg, "nan"));
  }
}

TEST_CASE(
    "report: weights, counts and several targets: coverage and shares are those of the other commands") {
  const Workshop w;
  REQUIRE(
      w.shell("awk -F, 'NR == 1 { print $0 \",w\"; next } { print $0 \",\" 1 + NR % 3 }' data/mcycle.csv > "
              "m.csv && "
              "moekit train m.csv --target accel --weights w --experts 2 --restarts 1 -q -o m.moe && "
              "moekit diagnose m.moe m.csv -o m && "
              "moekit train data/patents.csv --target Patents --task count --family poisson --drop Company "
              "--experts 2 --restarts 1 -q -o p.moe && moekit diagnose p.moe data/patents.csv -o p && "
              "moekit train data/iris.csv --target sepal_length,petal_width --experts 2 --restarts 1 -q -o "
              "i.moe && "
              "moekit diagnose i.moe data/iris.csv -o i")
          .code == 0);
  auto partition = columns_of(w.read("m/partition.csv"));
  const auto weight = numbers(columns_of(w.read("m.csv"))["w"]), gate = numbers(partition["gate_1"]);
  Weighted share;
  for (std::size_t i = 0; i < weight.size(); ++i) share.add(weight[i], gate[i]);
  CHECK(near(data_of(w.read("m/report.html"))["regions"][0]["share"], share.mean()));
  for (const std::string name : {"m", "p", "i"}) {
    CAPTURE(name);
    const json data = data_of(w.read(name + "/report.html"));
    const json& metrics = data["summary"]["metrics"];
    for (const json& of : data["calibration"]["targets"]) {
      const json& own =
          metrics.contains("targets") ? metrics["targets"][of["target"].get<std::string>()] : metrics;
      CHECK(near(of["coverage"][17], own["coverage_90"]));
      double pit = 0, shared = 0;
      for (const json& bin : of["pit"]) pit += bin.get<double>();
      CHECK(near(pit, 1));
      // Over the regions, weighted by share, it is the coverage over all rows: gate weights add up to 1.
      for (std::size_t k = 0; k < 2; ++k)
        shared += data["regions"][k]["share"].get<double>() * of["regions"][k]["coverage_90"].get<double>();
      CHECK(near(shared, own["coverage_90"]));
    }
  }
}

TEST_CASE("report: routed models, networks and product keys") {
  const Workshop w;
  REQUIRE(w.run("simulate --rows 600 --inputs 3 --experts 3 --seed 5 -q -o s.csv").code == 0);
  const std::string common = "train s.csv --target y --drop region --restarts 1 -q ",
                    adam = common + "--fit adam --epochs 1 ";
  REQUIRE(w.run(common + "--max-iterations 5 --experts 6 --top-k 2 -o k.moe").code == 0);
  REQUIRE(w.run(adam + "--expert mlp:3 --gate mlp:3 --experts 3 -o n.moe").code == 0);
  REQUIRE(w.run(adam + "--gate product-key --experts 1024 -o p.moe").code == 0);
  for (const std::string name : {"k", "n", "p"}) {
    CAPTURE(name);
    const Ran ran = w.run("diagnose " + name + ".moe s.csv -o " + name);
    CAPTURE(ran.err);
    REQUIRE(ran.code == 0);
    const json data = data_of(w.read(name + "/report.html"));
    CHECK(data["regions"].size() == data["region_count"]);
    CHECK(data["summary"]["experts"] == (name == "k" ? 6 : name == "n" ? 3 : 1024));
    for (const json& region : data["sample"]["region"]) CHECK(region <= data["region_count"]);
    // What an expert says where it is not asked means nothing, so effects ask all of them: no jumps of a
    // line.
    if (name != "k") continue;
    for (const json& effect : data["effects"])
      for (const json& line : effect["of"][0]["regions"]) {
        const double step = line[1].get<double>() - line[0].get<double>();
        for (std::size_t i = 1; i < line.size(); ++i)
          CHECK(line[i].get<double>() - line[i - 1].get<double>() ==
                doctest::Approx(step).epsilon(0.01).scale(1));
      }
  }
}

TEST_CASE("report: a sample's memory does not grow with the columns") {
  moekit::Model model;
  for (const std::size_t columns : {3, 1000, 100000}) {
    model.schema.inputs.resize(columns);
    const std::size_t rows = moekit::cli::RowSample(model, 0).capacity();
    CHECK(rows <= 5000);
    CHECK(rows >= 200);
    CHECK((rows == 200 || rows * columns <= 4'000'000));
  }
}

TEST_CASE("report: hostile names do no harm") {
  const Workshop w;
  const std::string script = "<script>alert(1)</script>", quote = "a\"b'c",
                    right = "\xD8\xB3\xD9\x84\xD8\xA7\xD9\x85",
                    separators = "l\xE2\x80\xA8p\xE2\x80\xA9&amp;", endless(10000, 'x');
  std::string csv = script + ",\"a\"\"b'c\"," + right + "," + endless + ",y\n";
  for (int i = 0; i < 80; ++i)
    csv += std::to_string(i) + "," + (i % 3 ? script : "</script><!--") + "," + std::to_string(i * i % 7) +
           "," + (i % 2 ? endless : separators) + "," + std::to_string(i % 2 ? i : -2 * i) + "\n";
  w.write("t.csv", csv);
  const Ran trained = w.run("train t.csv --target y --experts 2 --restarts 2 -q -o m.moe");
  CAPTURE(trained.err);
  REQUIRE(trained.code == 0);
  const Ran ran = w.run("diagnose m.moe t.csv -o d --svg");
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  const std::string page = w.read("d/report.html");
  CHECK(page.size() < 5'000'000);
  CHECK(!has(page, "alert(1)<"));
  CHECK(!has(page, "<script>alert"));
  const json data = data_of(page);
  std::vector<std::string> names;
  for (const json& input : data["inputs"]) names.push_back(input["name"]);
  for (const std::string& name : {script, quote, right})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  for (const std::string& name : names) CHECK(name.size() <= 240);
  for (const char* name : {"d/map.svg", "d/shares.svg", "d/calibration.svg"})
    CHECK(!has(w.read(name), "<script"));
}

TEST_CASE("report: JSON and XML are escaped") {
  using namespace moekit::cli;
  const std::string text = "</script>&\xE2\x80\xA8\xE2\x80\xA9\xFF";
  const std::string out = embedded(Json{{"a", text}});
  for (const char* bad : {"<", ">", "&", "\xE2\x80\xA8", "\xE2\x80\xA9"}) CHECK(!has(out, bad));
  CHECK(json::parse(out)["a"] == "</script>&\uFFFD\uFFFD\uFFFD");
  CHECK(escaped("<a b=\"c\" d='e'>&\x01\xFF") == "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp; \xEF\xBF\xBD");
  CHECK(plotted(1.0 / 3).dump() == "0.333333");
  CHECK(plotted(NAN).is_null());
}

TEST_CASE("report: many rows are sampled, the page stays small, and threads change nothing") {
  const Workshop w;
  REQUIRE(w.run("simulate --rows 12000 --inputs 6 --experts 3 --seed 3 -q -o s.csv").code == 0);
  const std::string target = cells_of(first_line(w.read("s.csv"))).back();
  CAPTURE(target);
  REQUIRE(w.shell("head -1500 s.csv > t.csv && moekit train t.csv --target " + target +
                  " --experts 3 --restarts 1 --max-iterations 20 -q -o m.moe")
              .code == 0);
  for (const char* run :
       {"report m.moe s.csv -o 1.html --threads 1", "report m.moe s.csv -o 3.html --threads 3",
        "report m.moe s.csv -o 4.html --seed 4"}) {
    const Ran ran = w.run(run);
    CAPTURE(ran.err);
    REQUIRE(ran.code == 0);
    CHECK(ran.out.empty());
  }
  const std::string page = w.read("1.html");
  CHECK(page.size() < 5'000'000);
  CHECK(page == w.read("3.html"));
  const json data = data_of(page), other = data_of(w.read("4.html"));
  CHECK(data["summary"]["rows"] == 12000);
  const std::vector<int> rows = data["sample"]["row"], others = other["sample"]["row"];
  CHECK(rows.size() == 5000);
  CHECK(std::is_sorted(rows.begin(), rows.end()));
  CHECK(rows != others);  // another seed, another sample; the figures stay
  CHECK(data["regions"] == other["regions"]);
  // Every row had the same chance: the mean of 5,000 of 12,000 rows has a standard deviation of 37.
  double mean = 0;
  for (const int row : rows) mean += row / 5000.0;
  CHECK(std::abs(mean - 6000.5) < 5 * 37);
}

TEST_CASE("report: rows to look at are those with the highest scores, the first where they are equal") {
  moekit::cli::TopRows top(3);
  const double scores[] = {1, 5, 3, 5, 2, 4};
  for (std::uint64_t i = 0; i < 6; ++i)
    if (top.wants(scores[i])) {
      moekit::cli::ReportRow row;
      row.row = i;
      top.add(scores[i], std::move(row));
    }
  const auto rows = top.rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].row == 1);
  CHECK(rows[1].row == 3);
  CHECK(rows[2].row == 5);
}

TEST_CASE("report: without a target, without inputs, several targets, and refusals") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 2 --restarts 1 -q -o m.moe").code == 0);
  REQUIRE(w.shell("cut -d, -f1 data/mcycle.csv > x.csv && moekit report m.moe x.csv -o x.html").code == 0);
  const json bare = data_of(w.read("x.html"));
  CHECK(bare["summary"]["has_target"] == false);
  CHECK(bare["calibration"]["targets"].empty());
  CHECK(bare["look"]["outliers"].empty());
  REQUIRE(w.run("train data/iris.csv --target sepal_length,petal_width --experts 2 --restarts 1 -q -o i.moe")
              .code == 0);
  REQUIRE(w.run("diagnose i.moe data/iris.csv -o i --svg").code == 0);
  const json two = data_of(w.read("i/report.html"));
  CHECK(two["calibration"]["targets"].size() == 2);
  CHECK(two["regions"][0]["targets"].size() == 2);
  CHECK(two["sample"]["targets"].size() == 2);
  REQUIRE(w.shell("cut -d, -f2 data/mcycle.csv > y.csv && moekit train y.csv --target accel --experts 2 "
                  "--gate constant "
                  "--restarts 1 -q -o y.moe && moekit diagnose y.moe y.csv -o y --svg")
              .code == 0);
  CHECK(data_of(w.read("y/report.html"))["maps"].empty());
  CHECK(w.exists("y/shares.svg"));
  CHECK(w.run("report m.moe data/mcycle.csv").code == 64);
  CHECK(w.run("report m.moe data/mcycle.csv -o nowhere/r.html").code == 73);
  CHECK(w.run("report m.moe missing.csv -o r.html").code == 66);
  CHECK(!w.exists("r.html"));
}
