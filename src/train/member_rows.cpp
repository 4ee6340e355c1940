#include "train/member_rows.hpp"

#include <algorithm>

#include "fit_check.hpp"
#include "moekit/rng.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kBootstrapStream = 0x626f6f74, kPartStream = 0x70617274;
/// Parts that the rows are cut into at least, each left out by one member.
constexpr int kLeastParts = 10;

std::vector<std::uint64_t> drawn_with_replacement(std::uint64_t rows, std::uint64_t seed) {
  Rng rng(seed, kBootstrapStream);
  std::vector<std::uint64_t> chosen(rows);
  for (std::uint64_t& row : chosen) row = rng.below(rows);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

bool members_leave_out(const FitOptions& options) {
  return in_batches(options.method) && options.ensemble > 1 && !options.validation;
}

MemberRows member_rows(const FitOptions& options, const Source& source, std::uint64_t seed, int member) {
  MemberRows out;
  if (!members_leave_out(options)) {
    out.index = drawn_with_replacement(source.rows(), seed);
    out.rows = take_rows(source, out.index);
    return out;
  }
  // The same parts for all members, so that every row is left out by one of them at most.
  const auto parts = static_cast<std::uint64_t>(std::max(kLeastParts, options.ensemble));
  Rng rng(options.seed, kPartStream);
  std::vector<std::uint64_t> held;
  for (std::uint64_t row = 0; row < source.rows(); ++row)
    (rng.below(parts) == static_cast<std::uint64_t>(member) ? held : out.index).push_back(row);
  if (out.index.empty()) out.index.swap(held);  // a table of very few rows
  out.rows = take_rows(source, out.index);
  out.held = take_rows(source, held);
  return out;
}

}  // namespace moekit::train
