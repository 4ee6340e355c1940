/// Are standard errors right? Two experiments on simulated tables:
///
///   standard_errors bootstrap [--rows 1000] [--replicates 500] [--threads N] [--seed S]
///     Fits one table and compares the standard errors from the information with the spread of refits to
///     tables drawn from the fitted model (parametric bootstrap): one line of CSV a coefficient, with their
///     ratio.
///
///   standard_errors rejection [--rows 1000] [--replicates 1000] [--threads N] [--seed S]
///     Draws tables in which an input has no effect on gate and experts, fits each with --ridge 0, and prints
///     for each of its coefficients the share of tables in which the test z = estimate / standard error
///     rejects zero at 5 %, for the information and for the sandwich.
///
/// Two Gaussian experts, a softmax gate, inputs x1 (gate and expert 1), x2 (experts), x3 (no effect).
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "moekit/moekit.hpp"
#include "standard_errors/match_experts.hpp"

namespace {

using namespace moekit;

struct Args {
  uword rows = 1000;
  int replicates = 0;
  Compute compute;
  std::uint64_t seed = 1;
};

struct Truth {
  double gate[4] = {0.3, 2, 0, 0};
  double expert[2][4] = {{1, 0.5, 2, 0}, {-1, 0, -1, 0}};
  double noise[2] = {0.4, 0.7};
};

/// A table of three numeric inputs; target(i, inputs) gives y.
template <class Target>
MemorySource make_table(const mat& x, const Target& target) {
  MemorySource source;
  for (uword begin = 0; begin < x.n_rows; begin += kBlockRows) {
    BlockData block;
    block.rows = std::min<uword>(kBlockRows, x.n_rows - begin);
    for (uword j = 0; j < x.n_cols; ++j)
      for (uword i = 0; i < block.rows; ++i) block.numeric.push_back(x(begin + i, j));
    for (uword i = 0; i < block.rows; ++i) block.target.push_back(target(begin + i));
    source.push(std::move(block));
  }
  return source;
}

Schema make_schema(const Source& source) {
  Schema schema;
  for (std::uint32_t j = 0; j < 3; ++j) {
    Column column;
    column.name = "x" + std::to_string(j + 1);
    column.index = j;
    schema.inputs.push_back(column);
  }
  schema.target.name = "y";
  measure(schema, source, {1, &one_rank()});
  return schema;
}

mat draw_inputs(uword rows, Rng rng) {
  mat x(rows, 3);
  for (double& v : x) v = rng.normal();
  return x;
}

/// Rows of the truth, and the expert of each.
MemorySource draw_rows(uword rows, std::uint64_t seed, std::uint64_t replicate,
                       std::vector<std::uint32_t>& region) {
  const Truth truth;
  const mat x = draw_inputs(rows, Rng(seed, 1, replicate));
  Rng rng(seed, 2, replicate);
  region.assign(rows, 0);
  const auto line = [&](const double* c, uword i) {
    return c[0] + c[1] * x(i, 0) + c[2] * x(i, 1) + c[3] * x(i, 2);
  };
  return make_table(x, [&](uword i) {
    const uword k = rng.uniform() < 1 / (1 + std::exp(-line(truth.gate, i))) ? 0 : 1;
    region[i] = static_cast<std::uint32_t>(k);
    return line(truth.expert[k], i) + truth.noise[k] * rng.normal();
  });
}

FitOptions exact_fit(std::vector<std::uint32_t> region) {
  FitOptions o;
  o.experts = 2;
  o.ridge_mode = Penalty::Mode::fixed;
  o.initial_region = std::move(region);
  return o;
}

std::vector<Coefficient> with_errors(Model& model, const Source& source, ErrorKind kind,
                                     const Compute& compute) {
  model.standard_errors = standard_errors(model, source, {kind, false, 0}, {}, compute).errors;
  return coefficients(model);
}

int compare_with_bootstrap(const Args& args) {
  const int replicates = args.replicates ? args.replicates : 500;
  std::vector<std::uint32_t> region;
  const MemorySource source = draw_rows(args.rows, args.seed, 0, region);
  const Schema schema = make_schema(source);
  Model model = fit(schema, source, exact_fit(region), args.compute);
  const std::vector<Coefficient> centre = with_errors(model, source, ErrorKind::information, args.compute);
  const mat x = draw_inputs(args.rows, Rng(args.seed, 1, 0));
  mat gate, mean, sd;
  for (std::size_t b = 0; b < source.blocks(); ++b) {
    const Prediction p = predict(model, source.data(b).view());
    gate = arma::join_cols(gate, p.gate);
    mean = arma::join_cols(mean, p.component_mean);
    sd = arma::join_cols(sd, p.component_sd);
  }

  std::vector<std::vector<double>> drawn(replicates);
  Compute single = args.compute;
  single.threads = 1;
  parallel_for(replicates, args.compute, [&](std::size_t r) {
    Rng rng(args.seed, 3, r);
    std::vector<std::uint32_t> own(args.rows);
    const MemorySource table = make_table(x, [&](uword i) {
      const uword k = rng.uniform() < gate(i, 0) ? 0 : 1;
      own[i] = static_cast<std::uint32_t>(k);
      return mean(i, k) + sd(i, k) * rng.normal();
    });
    Model refit = fit(make_schema(table), table, exact_fit(own), single);
    if (refit.members.front().count() != 2) return;
    Mixture& m = refit.members.front();
    m.select(errors::match_experts(model.members.front(), m, refit.schema, table, single));
    for (const Coefficient& c : coefficients(refit)) drawn[r].push_back(c.estimate);
  });
  std::printf("part,expert,term,estimate,standard_error,bootstrap,ratio\n");
  double least = 1e300, most = 0;
  for (std::size_t i = 0; i < centre.size(); ++i) {
    double count = 0, shift = 0, squares = 0;
    for (const auto& d : drawn)
      if (!d.empty()) {
        const double e = d[i] - centre[i].estimate;
        count += 1, shift += e, squares += e * e;
      }
    const double spread = std::sqrt((squares - shift * shift / count) / (count - 1));
    const double ratio = centre[i].standard_error / spread;
    least = std::min(least, ratio), most = std::max(most, ratio);
    std::printf("%s,%u,%s,%.4f,%.5f,%.5f,%.3f\n", centre[i].part.c_str(),
                static_cast<unsigned>(centre[i].expert + 1), centre[i].term.c_str(), centre[i].estimate,
                centre[i].standard_error, spread, ratio);
  }
  std::printf("# ratios from %.3f to %.3f\n", least, most);
  return 0;
}

int count_rejections(const Args& args) {
  const int replicates = args.replicates ? args.replicates : 1000;
  constexpr double kLevel = 0.05;
  struct Outcome {
    std::vector<double> information, sandwich;  // p values of the coefficients of x3
  };
  std::vector<Outcome> outcomes(replicates);
  Compute single = args.compute;
  single.threads = 1;
  parallel_for(replicates, args.compute, [&](std::size_t r) {
    std::vector<std::uint32_t> region;
    const MemorySource source = draw_rows(args.rows, args.seed, r + 1, region);
    Model model = fit(make_schema(source), source, exact_fit(region), single);
    if (model.members.front().count() != 2) return;
    const auto p_values = [&](ErrorKind kind) {
      std::vector<double> p;
      for (const Coefficient& c : with_errors(model, source, kind, single))
        if (c.term == "x3") p.push_back(c.p());
      return p;
    };
    outcomes[r] = {p_values(ErrorKind::information), p_values(ErrorKind::sandwich)};
  });
  const char* names[] = {"gate", "expert 1", "expert 2"};
  std::printf("coefficient of x3,tables,information,sandwich\n");
  double all = 0, rejected[2] = {0, 0};
  for (std::size_t i = 0; i < 3; ++i) {
    double tables = 0, by[2] = {0, 0};
    for (const Outcome& o : outcomes) {
      if (o.information.size() != 3) continue;
      tables += 1;
      by[0] += o.information[i] < kLevel;
      by[1] += o.sandwich[i] < kLevel;
    }
    std::printf("%s,%.0f,%.4f,%.4f\n", names[i], tables, by[0] / tables, by[1] / tables);
    all += tables;
    for (const int s : {0, 1}) rejected[s] += by[s];
  }
  std::printf("all,%.0f,%.4f,%.4f\n", all, rejected[0] / all, rejected[1] / all);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Args args;
    for (int i = 2; i + 1 < argc; i += 2) {
      const std::string name = argv[i];
      const long long value = std::stoll(argv[i + 1]);
      if (name == "--rows") args.rows = static_cast<uword>(value);
      if (name == "--replicates") args.replicates = static_cast<int>(value);
      if (name == "--threads") args.compute.threads = static_cast<int>(value);
      if (name == "--seed") args.seed = static_cast<std::uint64_t>(value);
    }
    if (argc > 1 && !std::strcmp(argv[1], "bootstrap")) return compare_with_bootstrap(args);
    if (argc > 1 && !std::strcmp(argv[1], "rejection")) return count_rejections(args);
    std::fprintf(stderr,
                 "standard_errors bootstrap|rejection [--rows N] [--replicates N] [--threads N] "
                 "[--seed S]\n");
    return 64;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "standard_errors: %s\n", e.what());
    return 1;
  }
}
