// Times one thing at a time for bench/sparse/run.py: a request a line on standard input, seconds a line on
// standard output (sparse_steady.hpp), so that other programs can take turns with it.
//
//   forward TYPE ROWS THREADS     a pass of the block given by the arguments; rows differ from call to call
//   small TYPE EXPERTS ROWS THREADS   the same of small experts, 64 -> 256 -> 64, relu, top 2
//   train ROWS THREADS            forward and backward of the block in float32
//   read MEGABYTES THREADS        adds up so many megabytes of float32
//   fma TYPE THREADS              10^9 multiply-adds a thread in registers (f32), or products from the cache
//   sgemm M N K THREADS           OpenBLAS
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>

#include "layer/buffer.hpp"
#include "layer/kernels.hpp"
#include "moekit/layer.hpp"
#include "moekit/rng.hpp"
#include "sparse_steady.hpp"

extern "C" {
void openblas_set_num_threads(int);
void cblas_sgemm(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*,
                 int);
}

using namespace moekit;

namespace {

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void fill(std::vector<float>& values, std::uint64_t stream, double scale) {
  Rng rng(0, stream);
  // Uniform with the variance of a normal: as good for timing, and quicker to draw.
  for (float& v : values) v = static_cast<float>((rng.uniform() - 0.5) * 3.46 * scale);
}

MemoryWeights random_weights(const LayerShape& shape) {
  MemoryWeights weights(shape);
  std::uint64_t stream = 0;
  const double in = 1 / std::sqrt(static_cast<double>(shape.inputs)),
               mid = 1 / std::sqrt(static_cast<double>(shape.hidden));
  fill(weights.gate, ++stream, in);
  for (auto& e : weights.experts) {
    fill(e.w1, ++stream, in);
    fill(e.w3, ++stream, in);
    fill(e.w2, ++stream, mid);
  }
  return weights;
}

/// Layers by what they are, made when they are asked for.
class Bench {
 public:
  explicit Bench(const LayerShape& shape) : weights_(random_weights(shape)), x_(4096 * shape.inputs) {
    fill(x_, 999, 1);
  }

  double forward(const std::string& type, std::size_t rows, int threads) {
    const Layer& layer =
        of(weights_, type + std::to_string(threads), weight_type_named(type), threads, false);
    return run(layer, x_, rows);
  }
  double small(const std::string& type, std::size_t experts, std::size_t rows, int threads) {
    const std::string name = "small" + type + std::to_string(experts) + "/" + std::to_string(threads);
    if (!layers_.contains(name)) small_x_.resize(4096 * 64), fill(small_x_, 998, 1);
    const LayerShape shape{64, 256, 64, experts, ExpertKind::mlp, Activation::relu};
    if (!layers_.contains(name)) of(random_weights(shape), name, weight_type_named(type), threads, false);
    return run(layers_.at(name), small_x_, rows);
  }
  double train(std::size_t rows, int threads) {
    const Layer& layer = of(weights_, "train" + std::to_string(threads), WeightType::f32, threads, true);
    const float* x = next(x_, rows, layer.shape().inputs);
    y_.resize(rows * layer.shape().outputs);
    return seconds([&] {
      layer.forward(x, rows, y_.data(), trace_);
      layer.backward(trace_, y_.data(), gradients_);
    });
  }

 private:
  const Layer& of(const MemoryWeights& weights, const std::string& name, WeightType type, int threads,
                  bool trainable) {
    if (const auto at = layers_.find(name); at != layers_.end()) return at->second;
    LayerOptions options;
    options.type = type;
    options.trainable = trainable;
    options.compute.threads = threads;
    return layers_.emplace(name, Layer(weights, options)).first->second;
  }
  double run(const Layer& layer, const std::vector<float>& x, std::size_t rows) {
    const float* from = next(x, rows, layer.shape().inputs);
    y_.resize(rows * layer.shape().outputs);
    return seconds([&] { layer.forward(from, rows, y_.data()); });
  }
  const float* next(const std::vector<float>& x, std::size_t rows, std::size_t inputs) {
    if (at_ + rows > 4096) at_ = 0;
    const float* from = x.data() + at_ * inputs;
    at_ += rows;
    return from;
  }

  MemoryWeights weights_;
  std::vector<float> x_, small_x_, y_;
  std::map<std::string, Layer> layers_;
  LayerTrace trace_;
  LayerGradients gradients_;
  std::size_t at_ = 0;
};

double read_memory(std::size_t megabytes, int threads) {
  static layer::Buffer memory;
  const std::size_t bytes = megabytes << 20;
  if (memory.bytes() < bytes) {
    memory.ensure(bytes);
    std::memset(memory.data(), 1, memory.bytes());
  }
  Compute compute;
  compute.threads = threads;
  std::atomic<std::uint64_t> total{0};  // keeps the sums from being left out
  const std::size_t pieces = static_cast<std::size_t>(threads);
  return seconds([&] {
    parallel_for(pieces, compute, [&](std::size_t p) {
      // Lines of 64 bytes and independent sums, so that reading is all that takes time.
      using Line = std::uint64_t __attribute__((vector_size(64)));
      const auto* from = reinterpret_cast<const Line*>(memory.data()) + bytes / pieces / sizeof(Line) * p;
      Line sum[4] = {};
      for (std::size_t i = 0; i + 4 <= bytes / pieces / sizeof(Line); i += 4)
        for (std::size_t j = 0; j < 4; ++j) {
          __builtin_prefetch(from + i + j + 64, 0, 2);  // as the kernels do
          sum[j] += from[i + j];
        }
      total += (sum[0] + sum[1] + sum[2] + sum[3])[0];
    });
  });
}

/// A tile that stays in the first-level cache: what the kernels reach without waiting for memory.
double multiply_adds(const std::string& name, int threads) {
  const WeightType type = weight_type_named(name);
  const layer::Product& product = layer::product_of(type);
  constexpr std::size_t kInner = 128;
  const std::size_t rows = product.tile_rows();
  Compute compute;
  compute.threads = threads;
  return seconds([&] {
    parallel_for(static_cast<std::size_t>(threads), compute, [&](std::size_t) {
      layer::Buffer panel(layer::panel_bytes(type, kInner)), x(rows * product.row_bytes(kInner));
      std::memset(panel.data(), 0, panel.bytes());
      std::memset(x.data(), 0, x.bytes());
      std::vector<float> out(rows * layer::kPanel);
      const std::size_t sums = kInner * rows * layer::kPanel;
      for (std::size_t i = 0; i < 1000000000 / sums; ++i)
        layer::multiply(product, panel.data(), x.data(), kInner, rows, out.data());
    });
  });
}

double sgemm(int m, int n, int k, int threads) {
  static std::vector<float> a, b, c;
  a.resize(static_cast<std::size_t>(m) * k, 0.5f);
  b.resize(static_cast<std::size_t>(n) * k, 0.5f);
  c.resize(static_cast<std::size_t>(m) * n);
  openblas_set_num_threads(threads);
  // Row-major x times w transposed: what a layer multiplies.
  return seconds([&] { cblas_sgemm(101, 111, 112, m, n, k, 1, a.data(), k, b.data(), k, 0, c.data(), n); });
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int i, std::size_t otherwise) {
    return argc > i ? static_cast<std::size_t>(std::stoul(argv[i])) : otherwise;
  };
  const LayerShape shape{argument(1, 1024), argument(2, 3584), argument(1, 1024),
                         argument(3, 8),    ExpertKind::glu,   Activation::silu};
  Bench bench(shape);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string what, type;
    std::size_t a = 0, b = 0, c = 0;
    int threads = 1;
    in >> what;
    double time = -1;
    if (what == "forward" && in >> type >> a >> threads)
      time = steady([&] { return bench.forward(type, a, threads); });
    if (what == "small" && in >> type >> a >> b >> threads)
      time = steady([&] { return bench.small(type, a, b, threads); });
    if (what == "train" && in >> a >> threads) time = steady([&] { return bench.train(a, threads); });
    if (what == "read" && in >> a >> threads) time = steady([&] { return read_memory(a, threads); });
    if (what == "fma" && in >> type >> threads) time = steady([&] { return multiply_adds(type, threads); });
    if (what == "sgemm" && in >> a >> b >> c >> threads)
      time = steady(
          [&] { return sgemm(static_cast<int>(a), static_cast<int>(b), static_cast<int>(c), threads); });
    std::printf("%.9g\n", time);
    std::fflush(stdout);
  }
}
