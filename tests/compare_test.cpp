// Two models side by side: partitions against definitions written out, figures against evaluate.
#include "moekit/compare.hpp"

#include <cmath>

#include "cli_helpers.hpp"

using namespace moekit;
using namespace moekit::testing;

namespace {

Model model_of(uword regions) {
  Model model;
  Mixture m;
  m.experts = Value<ExpertFamily>(make_experts("gaussian", {regions, {0}, {0}, 1}));
  model.members = {m};
  return model;
}

PartitionMatch match_of(const std::vector<uword>& a, const std::vector<uword>& b, uword ka, uword kb) {
  PartitionComparison comparison(model_of(ka), model_of(kb));
  Block block;
  block.rows = a.size();
  Prediction pa, pb;
  pa.gate.zeros(a.size(), ka);
  pb.gate.zeros(b.size(), kb);
  pa.expert = arma::uvec(a);
  pb.expert = arma::uvec(b);
  comparison.add(block, pa, pb);
  return comparison.match();
}

}  // namespace

TEST_CASE("the same partition under other names, and one that has nothing to do with it") {
  std::vector<uword> a, renamed, other;
  for (uword i = 0; i < 300; ++i) {
    a.push_back(i % 3);
    renamed.push_back((i + 1) % 3);
    other.push_back(i / 3 % 2);
  }
  const PartitionMatch same = match_of(a, renamed, 3, 4);
  CHECK(same.agreement == 1);
  CHECK(same.adjusted_rand == doctest::Approx(1));
  CHECK(same.partner == std::vector<int>{1, 2, 0});
  const PartitionMatch none = match_of(a, other, 3, 2);
  CHECK(std::abs(none.adjusted_rand) < 0.02);
  CHECK(std::count(none.partner.begin(), none.partner.end(), -1) == 1);
  CHECK(match_of({0, 0, 0}, {0, 0, 0}, 1, 1).adjusted_rand == 1);
}

TEST_CASE("the adjusted Rand index is that of counting pairs") {
  const std::vector<uword> a = {0, 0, 1, 1, 2, 2, 2, 0, 1, 0}, b = {0, 0, 1, 0, 1, 1, 1, 0, 1, 1};
  double both = 0, in_a = 0, in_b = 0, all = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      both += a[i] == a[j] && b[i] == b[j];
      in_a += a[i] == a[j];
      in_b += b[i] == b[j];
      ++all;
    }
  const double chance = in_a * in_b / all;
  CHECK(match_of(a, b, 3, 2).adjusted_rand ==
        doctest::Approx((both - chance) / (0.5 * (in_a + in_b) - chance)));
}

TEST_CASE("compare on the command line") {
  const Workshop w;
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 1 -q -o a.moe").code == 0);
  REQUIRE(w.run("train data/mcycle.csv --target accel --experts 3 --restarts 3 -q -o b.moe").code == 0);
  const Ran ran = w.run("compare a.moe b.moe data/mcycle.csv --json");
  CAPTURE(ran.err);
  REQUIRE(ran.code == 0);
  const nlohmann::json c = json_of(ran.out);
  const nlohmann::json a = json_of(w.run("evaluate a.moe data/mcycle.csv --json").out),
                       b = json_of(w.run("evaluate b.moe data/mcycle.csv --json").out);
  CHECK(c["a"] == a);
  CHECK(c["b"] == b);
  CHECK(c["paired"]["nll"]["difference"].get<double>() ==
        doctest::Approx(b["nll"].get<double>() - a["nll"].get<double>()).epsilon(1e-9));
  CHECK(c["paired"]["squared_error"]["difference"].get<double>() ==
        doctest::Approx(std::pow(b["rmse"].get<double>(), 2) - std::pow(a["rmse"].get<double>(), 2))
            .epsilon(1e-9));
  CHECK(c["paired"]["nll"]["upper"].get<double>() < 0);
  const Ran text = w.run("compare a.moe b.moe data/mcycle.csv");
  CHECK(text.out.find("B is better") != std::string::npos);
  const nlohmann::json self = json_of(w.run("compare b.moe b.moe data/mcycle.csv --json").out);
  CHECK(self["partition"]["agreement"] == 1);
  CHECK(self["partition"]["adjusted_rand"] == 1);
  CHECK(self["paired"]["nll"]["difference"] == 0);

  REQUIRE(w.run("train data/faithful.csv --target waiting --experts 1 -q -o f.moe").code == 0);
  CHECK(w.run("compare a.moe f.moe data/mcycle.csv").code == 64);
  CHECK(w.run("compare a.moe b.moe -").code == 64);
}
