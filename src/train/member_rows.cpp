#include "train/member_rows.hpp"

#include <algorithm>

#include "fit_check.hpp"
#include "moekit/rng.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kBootstrapStream = 0x626f6f74, kPartStream = 0x70617274;
/// A member leaves out two parts of twice this number at most.
constexpr std::uint64_t kLeastShares = 10;

std::vector<std::uint64_t> drawn_with_replacement(std::uint64_t rows, std::uint64_t seed) {
  Rng rng(seed, kBootstrapStream);
  std::vector<std::uint64_t> chosen(rows);
  for (std::uint64_t& row : chosen) row = rng.below(rows);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

/// Which part each row belongs to: the same for all members.
class Parts {
 public:
  explicit Parts(const FitOptions& options)
      : members_(static_cast<std::uint64_t>(options.ensemble)),
        count_(2 * std::max(kLeastShares, members_)),
        rng_(options.seed, kPartStream) {}
  std::uint64_t next_row() { return rng_.below(count_); }
  /// Of the first `members()` parts each is left out by the member of its number and by the one before.
  std::uint64_t members() const { return members_; }
  std::uint64_t second(std::uint64_t part) const { return (part + members_ - 1) % members_; }

 private:
  std::uint64_t members_, count_;
  Rng rng_;
};

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
  Parts parts(options);
  const auto own = static_cast<std::uint64_t>(member);
  std::vector<std::uint64_t> held;
  for (std::uint64_t row = 0; row < source.rows(); ++row) {
    const std::uint64_t part = parts.next_row();
    const bool left_out = part < parts.members() && (part == own || parts.second(part) == own);
    (left_out ? held : out.index).push_back(row);
  }
  if (out.index.empty()) out.index.swap(held);  // a table of very few rows
  out.rows = take_rows(source, out.index);
  out.held = take_rows(source, held);
  return out;
}

std::vector<LeftOutPart> left_out_twice(const FitOptions& options, std::uint64_t rows) {
  Parts parts(options);
  std::vector<LeftOutPart> out(parts.members());
  for (std::uint64_t p = 0; p < parts.members(); ++p) out[p] = {p, parts.second(p), {}};
  for (std::uint64_t row = 0; row < rows; ++row)
    if (const std::uint64_t part = parts.next_row(); part < parts.members()) out[part].rows.push_back(row);
  return out;
}

}  // namespace moekit::train
