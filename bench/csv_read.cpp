// Reads a table again and again: csv_read FILE TARGET THREADS [REPEATS]. A line a time: seconds by the clock,
// seconds of processor, rows.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "moekit/csv.hpp"
#include "moekit/error.hpp"

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: csv_read FILE TARGET THREADS [REPEATS]\n");
    return 64;
  }
  moekit::ReadOptions options;
  options.target = argv[2];
  moekit::Compute compute;
  compute.threads = std::atoi(argv[3]);
  const int repeats = argc > 4 ? std::atoi(argv[4]) : 1;
  try {
    for (int i = 0; i < repeats; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const std::clock_t cpu = std::clock();
      const moekit::Table table = moekit::read_table(argv[1], options, compute);
      std::printf("%.6f %.6f %llu\n",
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
                  static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC,
                  static_cast<unsigned long long>(table.rows().rows()));
    }
  } catch (const moekit::Error& error) {
    std::fprintf(stderr, "csv_read: %s\n", error.what());
    return 65;
  }
  return 0;
}
