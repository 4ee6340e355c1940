/// What a pass of EM costs, beside the rates of the machine in the same run (Google Benchmark):
///
///   speed --benchmark_format=json [--benchmark_filter=REGEX]
///
/// pass/D/K/T: E step, sums of K linear Gaussian experts and the gradient of a softmax gate, over 65,536 rows
/// of D inputs on T threads; curvature/D/K/T: the weighted Grams of the gate's Newton step, which a pass adds
/// to that; load/D/K: reading a model file of that shape; dgemm, exp: what they are measured against, on one
/// thread. Counters: ns_row; gflops, of useful floating-point operations (K p (p + 1) + 6 K p a row for the
/// pass, with p = D + 1); gexps; bytes of the model file.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "linalg.hpp"
#include "moekit/moekit.hpp"
#include "simd/vector_math.hpp"
#include "softmax_regression.hpp"

namespace {

using namespace moekit;

constexpr std::uint64_t kRows = 65536;

/// Rows of a known mixture and a model with its shape.
struct Case {
  Schema schema;
  MemorySource source;
  Mixture mixture;
  SoftmaxRegression gate;
};

Case make_case(uword inputs, uword experts) {
  SimulateOptions simulate;
  simulate.rows = kRows;
  simulate.inputs = inputs;
  simulate.experts = experts;
  simulate.seed = 1;
  Simulation simulation(simulate);
  Case c;
  mat x;
  vec y;
  arma::uvec region;
  for (std::uint64_t first = 0; first < kRows; first += kBlockRows) {
    simulation.rows(first, kBlockRows, x, y, region);
    BlockData block;
    block.first = first;
    block.rows = kBlockRows;
    block.numeric.assign(x.begin(), x.end());
    block.target.assign(y.begin(), y.end());
    c.source.push(std::move(block));
  }
  for (uword j = 0; j < inputs; ++j) {
    Column column;
    column.name = "x" + std::to_string(j + 1);
    column.index = j;
    c.schema.inputs.push_back(column);
  }
  c.schema.target.name = "y";
  measure(c.schema, c.source);
  const Basis basis = linear_basis(c.schema, {}, true);
  c.mixture.gate_basis = c.mixture.expert_basis = basis;
  c.mixture.gate = Value<GateFamily>(make_gate("softmax", {experts, basis.groups()}));
  ExpertShape shape;
  shape.experts = experts;
  shape.groups = basis.groups();
  c.mixture.experts = Value<ExpertFamily>(make_experts("gaussian", shape));
  // Any parameters will do, as long as responsibilities are soft.
  Rng rng(1, 2);
  for (const Field& field : c.mixture.fields())
    if (field.kind == Field::Kind::free)
      for (double& value : field.values) value = 0.3 * rng.normal();
  c.gate = SoftmaxRegression(basis.groups(), experts, false);
  return c;
}

const Case& the_case(uword inputs, uword experts) {
  static std::map<std::pair<uword, uword>, std::unique_ptr<Case>> cases;
  std::unique_ptr<Case>& found = cases[{inputs, experts}];
  if (!found) found = std::make_unique<Case>(make_case(inputs, experts));
  return *found;
}

void report(benchmark::State& state, double operations_a_row) {
  const double rows = static_cast<double>(state.iterations()) * static_cast<double>(kRows);
  state.counters["ns_row"] =
      benchmark::Counter(rows * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["gflops"] = benchmark::Counter(rows * operations_a_row * 1e-9, benchmark::Counter::kIsRate);
}

void pass(benchmark::State& state, uword inputs, uword experts, int threads) {
  const Case& c = the_case(inputs, experts);
  Compute compute;
  compute.threads = threads;
  const std::size_t of_gate = c.gate.gradient_sums();
  std::vector<double> total(1 + of_gate + c.mixture.experts->sums());
  for (auto step : state) {
    sum_over(c.source, compute, total, [&]() -> Adder {
      return [&, work = std::make_shared<Posterior>(), ones = vec(kBlockRows, arma::fill::ones)](
                 const Block& block, std::span<double> sums) {
        posterior(c.mixture, c.schema, block, *work);
        sums[0] += arma::accu(work->log_likelihood);
        c.gate.add_gradient(work->batch.gate_features(), work->gate, work->responsibility, ones.memptr(),
                            sums.subspan(1, of_gate));
        c.mixture.experts->add(work->batch, work->responsibility, sums.subspan(1 + of_gate));
      };
    });
    benchmark::DoNotOptimize(total.data());
  }
  const double p = static_cast<double>(inputs + 1), k = static_cast<double>(experts);
  report(state, k * p * (p + 1) + 6 * k * p);
}

void curvature(benchmark::State& state, uword inputs, uword experts, int threads) {
  const Case& c = the_case(inputs, experts);
  Compute compute;
  compute.threads = threads;
  const uword columns = c.gate.gram_columns(), p = inputs + 1;
  std::vector<double> total(columns * packed_size(p));
  // Features and gate weights once, as a pass has them already.
  std::vector<Posterior> blocks(c.source.blocks());
  BlockData buffer;
  for (std::size_t b = 0; b < blocks.size(); ++b)
    posterior(c.mixture, c.schema, c.source.read(b, buffer), blocks[b]);
  for (auto step : state) {
    sum_over(c.source, compute, total, [&]() -> Adder {
      return [&, weights = mat(kBlockRows, columns), ones = vec(kBlockRows, arma::fill::ones)](
                 const Block& block, std::span<double> sums) mutable {
        const Posterior& work = blocks[block.first / kBlockRows];
        c.gate.fill_gram_weights(work.gate, ones.memptr(), weights.memptr());
        add_weighted_grams(work.batch.gate_features(), weights, sums.data());
      };
    });
    benchmark::DoNotOptimize(total.data());
  }
  report(state, static_cast<double>(columns * p * (p + 1)));
}

void load(benchmark::State& state, uword inputs, uword experts) {
  const Case& c = the_case(inputs, experts);
  FitOptions options;
  options.experts = experts;
  options.restarts = options.max_iterations = 1;
  const Model model = fit(c.schema, c.source, options);
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("moekit_speed_" + std::to_string(::getpid()) + ".moe");
  save_model(model, path.string());
  for (auto step : state) benchmark::DoNotOptimize(load_model(path.string()));
  state.counters["bytes"] = static_cast<double>(std::filesystem::file_size(path));
  std::filesystem::remove(path);
}

void dgemm(benchmark::State& state) {
  constexpr uword kSize = 512;
  const mat a(kSize, kSize, arma::fill::ones), b = a;
  mat c(kSize, kSize, arma::fill::zeros);
  for (auto step : state) {
    c = a * b;
    benchmark::DoNotOptimize(c.memptr());
  }
  state.counters["gflops"] = benchmark::Counter(
      2e-9 * static_cast<double>(kSize * kSize * kSize * state.iterations()), benchmark::Counter::kIsRate);
}

void exponential(benchmark::State& state) {
  const vec x = arma::linspace(-20, 0, 8192);
  vec y;
  for (auto step : state) {
    y = x;
    simd::exp_inplace(y.memptr(), y.n_elem);
    benchmark::DoNotOptimize(y.memptr());
  }
  state.counters["gexps"] = benchmark::Counter(1e-9 * static_cast<double>(x.n_elem * state.iterations()),
                                               benchmark::Counter::kIsRate);
}

void add_pass(uword inputs, uword experts, int threads) {
  const std::string name =
      "/" + std::to_string(inputs) + "/" + std::to_string(experts) + "/" + std::to_string(threads);
  const auto add = [&](const char* what, auto run) {
    benchmark::RegisterBenchmark((what + name).c_str(), [=](benchmark::State& state) {
      run(state, inputs, experts, threads);
    })->UseRealTime();
  };
  add("pass", pass);
  if (experts <= 8) add("curvature", curvature);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::RegisterBenchmark("dgemm", dgemm);
  benchmark::RegisterBenchmark("exp", exponential);
  for (const uword inputs : {5, 10, 20, 50, 100})
    for (const uword experts : {2, 4, 8, 16, 32})
      for (const int threads : {1, 2}) add_pass(inputs, experts, threads);
  for (const auto& [inputs, experts] : {std::pair<uword, uword>{10, 4}, {20, 8}, {100, 32}})
    benchmark::RegisterBenchmark(("load/" + std::to_string(inputs) + "/" + std::to_string(experts)).c_str(),
                                 [=](benchmark::State& state) { load(state, inputs, experts); });
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 64;
  // OpenBLAS on one thread, as everywhere in moekit.
  parallel_for(1, {}, [](std::size_t) {});
  benchmark::RunSpecifiedBenchmarks();
}
