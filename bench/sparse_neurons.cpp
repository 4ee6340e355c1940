// Times networks of single-neuron experts behind product keys for bench/sparse/run.py: a request a line on
// standard input, seconds a line on standard output (sparse_steady.hpp), so that other programs can take
// turns with it.
//
//   forward COUNT ROWS THREADS    the answers of so many neurons; rows differ from call to call
//   train COUNT ROWS THREADS      forward, backward and the sparse step, as moekit train does
//   select COUNT ROWS             queries and product keys alone
//   brute COUNT ROWS              how many of the picks differ from those of a search through all neurons
//   memory                        bytes of memory that the process has had at most
//
// 256 inputs, 256 outputs (classes in training), 8 queries of 16 picks, half-keys of 64 values.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include "experts/families.hpp"
#include "moekit/rng.hpp"
#include "moekit/sum.hpp"
#include "simd/layer.hpp"
#include "sparse/neuron_bank.hpp"
#include "sparse_steady.hpp"

using namespace moekit;

namespace {

constexpr uword kWidth = 256, kRowsKept = 4096, kBlock = 64;

Neurons shape_of(uword count) { return {count, 8, 16, 64}; }

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Rows that are standardised, and labels.
struct Rows {
  Rows() : x(kRowsKept, kWidth), label(kRowsKept) {
    Rng rng(0, 1);
    for (double& v : x) v = (rng.uniform() - 0.5) * 3.46;
    for (double& v : label) v = static_cast<double>(rng.below(kWidth));
  }
  uword next(uword rows) {
    if (at + rows > kRowsKept) at = 0;
    at += rows;
    return at - rows;
  }
  mat x;
  vec label;
  uword at = 0;
};

/// Only one network of a kind lives at a time: a million neurons take 2 GiB.
class Bench {
 public:
  double forward(uword count, uword rows, int threads) {
    NeuronBank& bank = bank_of(count);
    const uword first = rows_.next(rows);
    Compute compute;
    compute.threads = threads;
    return seconds([&] {
      parallel_for((rows + kBlock - 1) / kBlock, compute, [&](std::size_t b) {
        thread_local NeuronBank::Work work;
        thread_local mat out;
        bank.forward(rows_.x.rows(first + b * kBlock, first + std::min(rows, (b + 1) * kBlock) - 1), work,
                     out);
      });
    });
  }
  double train(uword count, uword rows, int threads) {
    if (!family_ || family_->part_count() != count) {
      bank_.reset();
      family_.reset();
      ExpertShape shape;
      shape.groups.assign(kWidth, 1);
      shape.classes = kWidth;
      shape.neurons = shape_of(count);
      family_ = make_neurons("logistic", shape);
      family_->randomise(Rng(0, 2));
    }
    Batch batch;
    batch.rows = rows;
    const uword first = rows_.next(rows);
    batch.expert = rows_.x.rows(first, first + rows - 1);
    batch.target = rows_.label.subvec(first, first + rows - 1);
    return seconds([&] { family_->sparse_step(batch, {0.01, 0.001, 0, threads}); });
  }
  double select(uword count, uword rows) {
    const std::vector<float> queries = queries_of(count, rows);
    std::vector<KeyPick> picks(rows * 8 * bank_->keys().picks());
    return seconds([&] { bank_->keys().select(queries.data(), rows * 8, picks.data()); });
  }
  double brute(uword count, uword rows) {
    const std::vector<float> queries = queries_of(count, rows);
    ProductKeys& keys = bank_->keys();
    const uword side = keys.side(), width = keys.width(), k = keys.picks();
    std::vector<KeyPick> picks(rows * 8 * k), all(count);
    keys.select(queries.data(), rows * 8, picks.data());
    std::vector<float> half[2] = {std::vector<float>(side), std::vector<float>(side)};
    std::size_t differ = 0;
    for (uword q = 0; q < rows * 8; ++q) {
      for (uword h = 0; h < 2; ++h)
        simd::layer(keys.keys().data() + h * side * width, side, width, nullptr,
                    queries.data() + (2 * q + h) * width, 1, half[h].data());
      for (uword e = 0; e < count; ++e)
        all[e] = {static_cast<std::uint32_t>(e),
                  static_cast<double>(half[0][e / side]) + static_cast<double>(half[1][e % side])};
      std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(k), all.end(),
                        [](const KeyPick& a, const KeyPick& b) {
                          return a.score != b.score ? a.score > b.score : a.neuron < b.neuron;
                        });
      for (uword j = 0; j < k; ++j) differ += picks[q * k + j].neuron != all[j].neuron;
    }
    return static_cast<double>(differ);
  }

 private:
  NeuronBank& bank_of(uword count) {
    if (!bank_ || count_ != count) {
      family_.reset();
      bank_.reset();
      bank_ = std::make_unique<NeuronBank>(shape_of(count), kWidth, kWidth);
      Rng rng(0, 3);
      bank_->randomise(rng);
      count_ = count;
    }
    return *bank_;
  }
  std::vector<float> queries_of(uword count, uword rows) {
    bank_of(count);
    std::vector<float> queries(rows * 8 * 2 * 64);
    Rng rng(1, ++drawn_);
    for (float& v : queries) v = static_cast<float>(rng.normal());
    return queries;
  }

  Rows rows_;
  std::unique_ptr<NeuronBank> bank_;
  std::unique_ptr<ExpertFamily> family_;
  uword count_ = 0;
  std::uint64_t drawn_ = 0;
};

}  // namespace

int main() {
  Bench bench;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string what;
    uword count = 0, rows = 0;
    int threads = 1;
    double answer = -1;
    in >> what >> count >> rows;
    if (what == "forward" && in >> threads)
      answer = steady([&] { return bench.forward(count, rows, threads); });
    if (what == "train" && in >> threads) answer = steady([&] { return bench.train(count, rows, threads); });
    if (what == "select") answer = steady([&] { return bench.select(count, rows); });
    if (what == "brute") answer = bench.brute(count, rows);
    if (what == "memory") {
      rusage used{};
      getrusage(RUSAGE_SELF, &used);
      answer = 1024.0 * static_cast<double>(used.ru_maxrss);
    }
    std::printf("%.9g\n", answer);
    std::fflush(stdout);
  }
}
