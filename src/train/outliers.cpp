#include "train/outliers.hpp"

#include <cmath>

#include "train/pass.hpp"

namespace moekit::train {

namespace {

constexpr double kFar = 5;          // robust standard deviations
constexpr double kNormal = 1.4826;  // sd of a normal distribution in median absolute deviations
constexpr double kMost = 1.0 / 3;   // share of an expert's rows that may be outliers

/// 1 where a target lies far outside all rows'.
arma::uvec far_outside(const vec& target, double& middle) {
  middle = arma::median(target);
  const vec off = arma::abs(target - middle);
  const double sd = kNormal * arma::median(off);
  return sd > 0 ? arma::uvec(off > kFar * sd) : arma::uvec(target.n_elem, arma::fill::zeros);
}

}  // namespace

void hide_outliers(mat& target) {
  for (uword j = 0; j < target.n_cols; ++j) {
    double middle = 0;
    const arma::uvec outside = far_outside(target.col(j), middle);
    for (uword i = 0; i < target.n_rows; ++i)
      if (outside[i]) target(i, j) = middle;
  }
}

std::string serves_outliers(const Mixture& mixture, const Schema& schema, const Source& rows) {
  const mat shares = responsibilities(mixture, schema, rows);
  vec target(rows.rows());
  for (uword j = 0; j < schema.targets(); ++j) {
    BlockData buffer;
    for (std::size_t b = 0; b < rows.blocks(); ++b) {
      const Block block = rows.read(b, buffer);
      std::copy_n(block.target_column(j), block.rows, target.memptr() + block.first);
    }
    double middle = 0;
    const arma::uvec outside = far_outside(target, middle);
    for (uword k = 0; k < shares.n_cols; ++k) {
      const double all = arma::accu(shares.col(k));
      if (arma::dot(shares.col(k), arma::conv_to<vec>::from(outside)) > kMost * all && all >= 1)
        return "an expert for outliers alone";
    }
  }
  return {};
}

}  // namespace moekit::train
