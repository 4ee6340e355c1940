#pragma once
#include <string>

#include "json_output.hpp"
#include "moekit/evaluate.hpp"
#include "moekit/fit.hpp"
#include "text.hpp"

namespace moekit::cli {

/// A fit, and what stood around it.
struct FitRecord {
  const Model& model;
  FitReport report;
  std::uint64_t rows_read = 0;
  std::vector<std::string> notes;  ///< the reader's, then the fit's
  std::optional<Metrics> held_out;
};

/// The keys of train --report.
Json fit_report_json(const FitRecord& record);
/// "64 logistic experts of mlp:32, softmax gate, top-2"; before it "ensemble of 10, each of".
std::string model_line(const Model& model);
Json starts_json(const Provenance& provenance);
/// The summary after training.
std::string fit_summary(const FitRecord& record, bool verbose);
/// Share, spread (regression) and effective rows of every expert.
/// `blocks`: shares as bars of block characters.
std::string experts_text(const Model& model, std::size_t most, bool blocks = false);
/// The table of starts.
std::string starts_text(const Provenance& provenance);
/// The sizes that --experts auto tried.
std::string growth_text(const Model& model);
/// Log-likelihood, criteria and so on, a row each.
void add_criteria(const Model& model, TextTable& table);

}  // namespace moekit::cli
