#include "gates/families.hpp"
#include "gates/mixing_weights.hpp"

namespace moekit {

namespace {

/// g(x) = p(k): a plain mixture of regressions (Quandt & Ramsey 1978; DeSarbo & Cron 1988). The inputs do not
/// say who answers; the target does. One pass sums the responsibilities, and the update is their share.
class ConstantGate final : public GateFamily {
 public:
  explicit ConstantGate(const GateShape& shape) : weights_(shape.experts) {}

  std::string_view name() const override { return "constant"; }
  uword count() const override { return weights_.count(); }
  std::unique_ptr<GateFamily> clone() const override { return std::make_unique<ConstantGate>(*this); }
  std::vector<Field> fields() override { return {{"contrasts", weights_.contrasts(), Field::Kind::free}}; }
  void state(Archive& archive) override { weights_.state(archive); }
  void select(std::span<const uword> from) override { weights_.select(from); }
  std::vector<GateForm> forms() const override {
    const vec weight = arma::exp(weights_.log_weights());
    std::vector<GateForm> out;
    for (uword k = 0; k < count(); ++k) out.push_back({GateForm::Kind::weight, k, vec{weight[k]}, {}, {}});
    return out;
  }
  double free_parameters() const override { return static_cast<double>(count() - 1); }
  double effective_parameters() const override { return free_parameters(); }

  void log_prob(const Batch& batch, mat& out) const override {
    out.set_size(batch.rows, count());
    out.each_row() = weights_.log_weights().t();
  }
  void scores(const Batch& batch, uword k, mat& out) const override {
    mat part(batch.rows, count());
    part.each_row() = -arma::exp(weights_.log_weights()).t();
    part.col(k) += 1;
    weights_.scores(part, out);
  }

  std::size_t sums() const override { return count(); }
  void add(const Batch&, const mat&, const mat& responsibility, std::span<double> sums) const override {
    for (uword k = 0; k < count(); ++k) sums[k] += arma::accu(responsibility.col(k));
  }
  void update(std::span<const double> sums, const Penalty& penalty) override {
    weights_.update(vec(sums.data(), sums.size()), penalty);
  }
  void set_penalty(const Penalty& penalty) override { weights_.set_penalty(penalty); }
  double log_prior() const override { return weights_.log_prior(); }
  void add_prior_gradient(std::span<double> gradient) const override {
    weights_.add_prior_gradient(gradient);
  }

 private:
  MixingWeights weights_;
};

}  // namespace

std::unique_ptr<GateFamily> make_constant_gate(const GateShape& shape) {
  return std::make_unique<ConstantGate>(shape);
}

}  // namespace moekit
