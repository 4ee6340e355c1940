#pragma once
#include <vector>

#include "moekit/fit.hpp"

namespace moekit::errors {

/// Every row of a source as often as it was drawn: its weight times the count. The source must outlive it.
class Resampled final : public Source {
 public:
  Resampled(const Source& source, std::vector<std::uint32_t> counts)
      : source_(source), counts_(std::move(counts)) {}
  std::size_t blocks() const override { return source_.blocks(); }
  std::uint64_t rows() const override { return source_.rows(); }
  BlockShape shape() const override { return source_.shape(); }
  Block read(std::size_t i, BlockData& buffer) const override;

 private:
  const Source& source_;
  std::vector<std::uint32_t> counts_;  // of each row
};

struct Bootstrap {
  vec deviation;  ///< of each of coefficients(model) over the replicates; empty if there are too few
  int replicates = 0, refused = 0;
};
/// Refits to `replicates` resampled tables, each begun at the fitted parameters, experts matched to the
/// model's.
Bootstrap bootstrap(const Model& model, const Source& source, int replicates, const FitOptions& fit,
                    const Compute& compute, const OnIteration& on_iteration);

}  // namespace moekit::errors
