#include "cv_checkpoint.hpp"

#include "moekit/archive.hpp"

namespace moekit::cli {

namespace {

std::uint64_t unit_of(uword experts, std::uint32_t fold) { return std::uint64_t{experts} << 32 | fold; }

/// The parts of a fit's result, for writing and reading.
void parts(Archive& archive, const std::vector<std::uint64_t>& rows, HeldOutScores& scores,
           FoldResult& result) {
  for (std::vector<double>* all : {&scores.nll, &scores.loss, &scores.weight}) {
    std::vector<double> own;
    own.reserve(rows.size());
    for (const std::uint64_t row : rows) own.push_back((*all)[row]);
    archive.fixed(std::span(own));
    for (std::size_t i = 0; i < rows.size(); ++i) (*all)[rows[i]] = own[i];
  }
  archive(result.fitted, result.found, result.seconds);
}

}  // namespace

void begin_cv(FitCheckpoint& checkpoint, std::vector<std::pair<std::string, std::string>> fit,
              const std::vector<uword>& experts, const Folds& folds) {
  std::string numbers;
  for (const uword count : experts)
    numbers += (numbers.empty() ? "" : ",") + (count > 0 ? std::to_string(count) : "auto");
  for (auto& [name, value] : fit)
    if (name == "--experts") value = numbers;
  Archive rows;
  std::vector<std::uint32_t> of_row = folds.of_row;
  rows(of_row);
  fit.emplace_back("the number of folds", std::to_string(folds.count));
  fit.emplace_back("the hash of the folds", std::to_string(hash_bytes(0, rows.bytes())));
  checkpoint.begin(std::move(fit));
}

std::size_t folds_kept(const FitCheckpoint& checkpoint, const std::vector<uword>& experts,
                       std::uint32_t folds) {
  std::size_t kept = 0;
  for (const uword count : experts)
    for (std::uint32_t fold = 0; fold < folds; ++fold)
      kept += checkpoint.find(unit_of(count, fold), true).has_value();
  return kept;
}

bool take_fold(const FitCheckpoint* checkpoint, uword experts, std::uint32_t fold,
               const std::vector<std::uint64_t>& rows, HeldOutScores& scores, FoldResult& result) {
  if (!checkpoint) return false;
  const std::optional<std::string> bytes = checkpoint->find(unit_of(experts, fold), true);
  if (!bytes) return false;
  Archive archive(*bytes);
  parts(archive, rows, scores, result);
  Archive::require(archive.left().empty());
  return true;
}

void keep_fold(FitCheckpoint* checkpoint, uword experts, std::uint32_t fold,
               const std::vector<std::uint64_t>& rows, HeldOutScores& scores, FoldResult result) {
  if (!checkpoint) return;
  Archive archive;
  parts(archive, rows, scores, result);
  checkpoint->keep(unit_of(experts, fold), true, archive.take());
}

}  // namespace moekit::cli
