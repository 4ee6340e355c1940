/// Time of one EM pass over a table, and the log-likelihood reached, from a given start:
///
///   em_pass DATA.csv[.gz] REPEATS [--threads N] [--target y] [--start z] [--ridge 0|auto]
///
/// DATA has a column with the starting region of each row (--start) and a numeric target. The fit runs to
/// convergence REPEATS times; the time of a pass is taken between the first and the last pass of its runs, so
/// that reading and the bookkeeping around the fit are left out and the M steps between the passes are in.
/// Prints one line of CSV: rows, median over the repeats of the seconds a pass, log-likelihood, passes of a
/// fit, seconds of a whole fit.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "moekit/moekit.hpp"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// The passes of one run of EM: they are numbered from 1, so a smaller number begins a new run.
struct Run {
  int first = 0, last = 0;
  Clock::time_point begin, end;
};

/// What a fit reports while it runs: a short run and the finish for one expert, then the same for all of
/// them.
class Passes {
 public:
  void see(int index) {
    const Clock::time_point now = Clock::now();
    if (runs_.empty() || index <= runs_.back().last) runs_.push_back({index, index, now, now});
    runs_.back().last = index;
    runs_.back().end = now;
  }

  /// Passes of the last two runs, those of all experts.
  int count() const { return finish().last + brief().last; }
  double seconds_each() const {
    const double seconds =
        seconds_between(finish().begin, finish().end) + seconds_between(brief().begin, brief().end);
    return seconds / (finish().last - finish().first + brief().last - brief().first);
  }

 private:
  const Run& finish() const { return runs_.back(); }
  const Run& brief() const { return runs_.at(runs_.size() - 2); }

  std::vector<Run> runs_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

int run(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: em_pass DATA REPEATS [--threads N] [--target y] [--start z] [--ridge 0|auto]\n");
    return 64;
  }
  moekit::ReadOptions read;
  read.target = "y";
  std::string start = "z", ridge = "0";
  moekit::Compute compute;
  compute.threads = 1;
  for (int i = 3; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--threads")) compute.threads = std::stoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--target")) read.target = argv[i + 1];
    if (!std::strcmp(argv[i], "--start")) start = argv[i + 1];
    if (!std::strcmp(argv[i], "--ridge")) ridge = argv[i + 1];
  }
  read.carry = {start};
  const moekit::Table table = moekit::read_table(argv[1], read);

  moekit::FitOptions options;
  options.ridge_mode = ridge == "auto" ? moekit::Penalty::Mode::evidence : moekit::Penalty::Mode::none;
  options.tolerance = 1e-14;  // as far as rounding goes
  for (std::size_t b = 0; b < table.source.blocks(); ++b)
    for (const std::string& region : table.source.data(b).carried.back())
      options.initial_region.push_back(static_cast<std::uint32_t>(std::stoul(region) - 1));
  options.experts = *std::max_element(options.initial_region.begin(), options.initial_region.end()) + 1;

  std::vector<double> pass, whole;
  double log_likelihood = 0;
  int count = 0;
  for (int repeat = 0; repeat < std::stoi(argv[2]); ++repeat) {
    Passes passes;
    const Clock::time_point begin = Clock::now();
    const moekit::Model model =
        moekit::fit(table.schema, table.source, options, compute, [&](const moekit::Iteration& i) {
          passes.see(i.index);
          return moekit::Next::proceed;
        });
    whole.push_back(seconds_between(begin, Clock::now()));
    pass.push_back(passes.seconds_each());
    count = passes.count();
    log_likelihood = model.provenance.log_likelihood;
  }
  std::printf("%llu,%.9g,%.4f,%d,%.4f\n", static_cast<unsigned long long>(table.schema.rows), median(pass),
              log_likelihood, count, median(whole));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "em_pass: %s\n", error.what());
    return 1;
  }
}
