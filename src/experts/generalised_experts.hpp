#pragma once
#include "coefficient_prior.hpp"
#include "experts/kernel.hpp"
#include "moekit/experts.hpp"

namespace moekit {

/// What a kernel is asked with, of the experts side by side.
struct KernelParameters {
  const Kernel* kernel = nullptr;
  mat location, scale;  ///< n x K; scale: 1 if the family has none
  vec shape;            ///< K
};

/// Linear experts with any distribution (generalised linear models: Nelder & Wedderburn 1972; noise with its
/// own linear predictor: Smyth 1989; Rigby & Stasinopoulos 2005): location w'x (+ offset), log scale v'b, and
/// a shape. A pass sums scores and curvatures of all three; an update is one penalised Newton step of each.
class GeneralisedExperts final : public ExpertFamily {
 public:
  GeneralisedExperts(const Kernel& kernel, const ExpertShape& shape);

  std::string_view name() const override { return kernel_.name(); }
  uword count() const override { return w_.n_cols; }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<GeneralisedExperts>(*this); }
  std::vector<Field> fields(uword k) override;
  void state(Archive& archive) override {
    ExpertFamily::state(archive);
    prior_.state(archive);
    noise_prior_.state(archive);
    archive(floor_);
  }
  void select(std::span<const uword> from) override;
  mat coefficients(uword k) const override { return w_.col(k); }
  vec noise_coefficients(uword k) const override { return q() > 0 ? vec(v_.col(k)) : vec(); }
  double noise(uword k) const override;
  double free_parameters() const override {
    return static_cast<double>(w_.n_elem + v_.n_elem + (kernel_.has_shape() ? count() : 0));
  }
  double effective_parameters() const override;
  std::string degenerate(uword k, double weight) const override;

  void log_density(const Batch& batch, mat& out) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;
  std::size_t sums() const override { return count() * stride(); }
  void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const override;
  void update(std::span<const double> sums, const Penalty& penalty) override;
  void set_penalty(const Penalty& penalty) override;
  double log_prior() const override;
  void add_prior_gradient(std::span<double> gradient) const override;
  void moments(const Batch& batch, mat& mean, mat& sd) const override;
  void cumulative(const Batch& batch, const vec& at, mat& out) const override;
  KernelParameters parameters(const Batch& batch) const {
    Predictors own;
    predict(batch, own);
    if (q() == 0) own.scale.ones(batch.rows, count());
    return {&kernel_, std::move(own.location), std::move(own.scale), shape_};
  }

 private:
  uword p() const { return w_.n_rows; }
  uword q() const { return v_.n_rows; }
  /// Where the parts of an expert's sums begin: weight; location score and curvature; the same of the scale,
  /// and its features; slope and curvature of the shape.
  std::size_t location_at() const { return 1; }
  std::size_t scale_at() const { return location_at() + p() + packed_size(p()); }
  std::size_t centre_at() const { return scale_at() + q() + packed_size(q()); }
  std::size_t shape_at() const { return centre_at() + q(); }
  std::size_t stride() const { return shape_at() + 2; }

  /// What the experts say of the rows of a batch: n x K each; `slope`: d ln scale / d predictor.
  struct Predictors {
    mat location, scale, slope;
    KernelRows rows(const Batch& batch, uword k, double shape) const {
      return {batch.rows, batch.target.memptr(), location.colptr(k),
              scale.is_empty() ? nullptr : scale.colptr(k), shape};
    }
  };
  /// Of the experts first, first + 1, .. first + experts - 1: columns 0, 1, .. of `out`.
  void predict(const Batch& batch, uword first, uword experts, Predictors& out) const;
  void predict(const Batch& batch, Predictors& out) const { predict(batch, 0, count(), out); }
  /// Of the expert with this shape, from column k.
  void derive(const Batch& batch, const Predictors& at, uword k, double shape, KernelDerivatives& out) const;
  void add_from(uword first, const Batch& batch, const mat& responsibility, std::span<double> sums) const;
  /// Score and curvature of a predictor's coefficients, from the sums; of the scale with its own prior.
  struct Newton {
    vec score;
    mat curvature;
  };
  Newton location_sums(const double* own) const;
  Newton scale_sums(uword k, const double* own) const;
  void refresh(std::span<const double> sums);
  double scale_prior(uword k, double& slope, double& curvature) const;
  void update_scale(uword k, const double* own);
  void update_shape(uword k, const double* own);

  const Kernel& kernel_;
  mat w_;      // p x K, location
  mat v_;      // q x K, logarithm of the scale; empty if the family has none
  vec shape_;  // K
  CoefficientPrior prior_, noise_prior_;
  double most_location_;  // behind a log link
  mat centre_;            // q x K, noise features of the average row of each expert
  double floor_;
};

}  // namespace moekit
