#include "moekit/compare.hpp"

#include <CLI/CLI.hpp>
#include <cmath>

#include "app.hpp"
#include "held_out_scores.hpp"
#include "json_output.hpp"
#include "metrics_text.hpp"
#include "moekit/error.hpp"
#include "moekit/model_io.hpp"
#include "output.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

struct CompareArgs {
  std::string a, b, data;
  bool json = false;
  ReadingArgs reading;
};

void check_alike(const CompareArgs& args, const Schema& a, const Schema& b) {
  bool same = a.targets() == b.targets() && a.target.task == b.target.task &&
              a.target.labels == b.target.labels && a.weights == b.weights;
  for (uword j = 0; same && j < a.targets(); ++j) same = a.target_at(j).name == b.target_at(j).name;
  if (!same)
    throw Error(Errc::usage, args.a + " and " + args.b +
                                 " do not predict the same: target, task, labels and weights must be alike");
}

/// Paired differences over rows, B less A, as they come.
struct Paired {
  double weight = 0, sum = 0, squares = 0, rows = 0, cross = 0, weights = 0;
  void add(double difference, double w) {
    rows += 1;
    weight += w;
    sum += w * difference;
    squares += w * w * difference * difference;
    cross += w * w * difference;
    weights += w * w;
  }
  double mean() const { return sum / weight; }
  double error() const {
    if (!(rows > 1)) return std::nan("");
    const double m = mean(), deviation = squares - 2 * m * cross + m * m * weights;
    return std::sqrt(std::max(0.0, deviation) * rows / (rows - 1)) / weight;
  }
};

struct Comparison {
  Metrics a, b;
  Paired nll, loss;  // loss: squared error, or 1 for a wrong class
  PartitionMatch match;
  bool classes = false;
};

void add_rows(const Model& a, const Block& block, const Prediction& pa, const Prediction& pb,
              Comparison& to) {
  for (uword i = 0; i < block.rows; ++i) {
    const double w = block.weight ? block.weight[i] : 1.0;
    if (std::isnan(pa.log_density[i]) || !(w > 0)) continue;
    to.nll.add(pa.log_density[i] - pb.log_density[i], w);
    if (to.classes) {
      const auto code = static_cast<uword>(block.target[i]);
      to.loss.add((pb.label[i] != code ? 1.0 : 0.0) - (pa.label[i] != code ? 1.0 : 0.0), w);
    } else {
      to.loss.add(squared_error(a.schema, block, pb, i) - squared_error(a.schema, block, pa, i), w);
    }
  }
}

Json paired_json(const Paired& p) {
  return {{"difference", json_number(p.mean())},
          {"standard_error", json_number(p.error())},
          {"lower", json_number(p.mean() - 1.96 * p.error())},
          {"upper", json_number(p.mean() + 1.96 * p.error())}};
}

Json comparison_json(const Comparison& c) {
  Json json{{"n", c.a.rows}, {"a", metrics_json(c.a)}, {"b", metrics_json(c.b)}};
  json["paired"] = {{"nll", paired_json(c.nll)},
                    {c.classes ? "error_rate" : "squared_error", paired_json(c.loss)}};
  Json table = Json::array(), matched = Json::array();
  for (uword a = 0; a < c.match.rows.n_rows; ++a) {
    Json line = Json::array();
    for (uword b = 0; b < c.match.rows.n_cols; ++b) line.push_back(json_number(c.match.rows(a, b)));
    table.push_back(std::move(line));
    matched.push_back(c.match.partner[a] < 0 ? Json(nullptr) : Json(c.match.partner[a] + 1));
  }
  json["partition"] = {{"agreement", json_number(c.match.agreement)},
                       {"adjusted_rand", json_number(c.match.adjusted_rand)},
                       {"matched", std::move(matched)},
                       {"rows", std::move(table)}};
  return json;
}

std::string comparison_text(const CompareArgs& args, const Comparison& c) {
  constexpr uword kMost = 16;
  std::string text = "A: " + shorten(args.a, 60) + ": " + metrics_line(c.a) + "\n" +
                     "B: " + shorten(args.b, 60) + ": " + metrics_line(c.b) + "\n";
  const auto line = [&](const std::string& name, const Paired& p) {
    const double low = p.mean() - 1.96 * p.error(), high = p.mean() + 1.96 * p.error();
    const std::string verdict = low > 0 ? "A is better" : high < 0 ? "B is better" : "no clear difference";
    text += name + " of B less A, row by row: " + brief(p.mean(), 4) + " (95 %: " + brief(low, 4) + " to " +
            brief(high, 4) + "): " + verdict + "\n";
  };
  line("nll", c.nll);
  line(c.classes ? "error rate" : "squared error", c.loss);
  text += "partitions: " + percent(c.match.agreement) +
          " of rows lie in matched regions, adjusted Rand index " + brief_amount(c.match.adjusted_rand, 3) +
          "\n";
  TextTable table;
  using enum TextTable::Align;
  table.column("region of A", right);
  table.column("of B", right);
  table.column("rows in both", right);
  table.column("of A's", right);
  table.column("of B's", right);
  for (uword a = 0; a < std::min(kMost, c.match.rows.n_rows); ++a) {
    const int b = c.match.partner[a];
    if (b < 0) {
      table.row({std::to_string(a + 1), "-", "", "", ""});
      continue;
    }
    const double both = c.match.rows(a, static_cast<uword>(b));
    table.row({std::to_string(a + 1), std::to_string(b + 1), brief_amount(both),
               percent(both / arma::accu(c.match.rows.row(a))),
               percent(both / arma::accu(c.match.rows.col(static_cast<uword>(b))))});
  }
  text += table.text(2);
  if (c.match.rows.n_rows > kMost)
    text += "  ... and " + counted(c.match.rows.n_rows - kMost, "more region") + " (--json has all)\n";
  return text;
}

int run_compare(const CompareArgs& args, Console& console) {
  const Model a = load_model(args.a), b = load_model(args.b);
  check_alike(args, a.schema, b.schema);
  if (args.data == "-")
    throw Error(Errc::usage,
                "compare reads the data twice, side by side; give a file instead of standard input");
  const auto open = [&](const Model& model) {
    RowOptions options = row_options(args.reading, model);
    options.need_target = true;
    options.skip_rows_without_target = true;
    return RowReader(args.data, model.schema, options);
  };
  RowReader first = open(a), second = open(b);
  Comparison out;
  out.classes = a.schema.target.task == Task::classification;
  Evaluator of_a(a), of_b(b);
  PartitionComparison partitions(a, b);
  std::uint64_t rows = 0;
  // Both readers pass over the same rows, those without a target, so their blocks hold the same rows.
  for (BlockData x, y; first.next(x) && second.next(y);) {
    const Prediction pa = predict(a, x.view()), pb = predict(b, y.view());
    of_a.add(x.view(), pa);
    of_b.add(y.view(), pb);
    partitions.add(x.view(), pa, pb);
    add_rows(a, x.view(), pa, pb, out);
    rows += x.rows;
    console.progress("compare: " + std::to_string(rows) + " rows");
  }
  console.clear_progress();
  out.a = of_a.metrics();
  out.b = of_b.metrics();
  out.match = partitions.match();
  write_standard_output(args.json ? json_text(comparison_json(out)) : comparison_text(args, out));
  return 0;
}

}  // namespace

void add_compare(CLI::App& program, Command& command) {
  auto args = std::make_shared<CompareArgs>();
  CLI::App* sub = add_command(program, "compare", "Two models on the same rows: figures and partitions.",
                              "  moekit compare mcycle.moe tree.moe data/mcycle.csv\n"
                              "  moekit compare mcycle.moe tree.moe data/mcycle.csv --json\n",
                              command.common);
  sub->add_option("A", args->a, "model file that train wrote")->required();
  sub->add_option("B", args->b, "another one, of the same target")->required();
  sub->add_option("DATA", args->data, "CSV or TSV, plain, .gz or .zst")->required();
  sub->add_flag("--json", args->json, "one JSON object instead of a text")->group("Output");
  add_reading(*sub, args->reading, "the models'");
  sub->callback(
      [args, &command] { command.run = [args](Console& console) { return run_compare(*args, console); }; });
}

}  // namespace moekit::cli
