#include <algorithm>

#include "gates/families.hpp"
#include "simd/vector_math.hpp"
#include "softmax_regression.hpp"

namespace moekit {

namespace {

/// g(x) = softmax(theta'x), fitted to the responsibilities by one damped Newton step a pass.
class SoftmaxGate final : public GateFamily {
 public:
  explicit SoftmaxGate(const GateShape& shape) : regression_(shape.groups, shape.experts, false) {}

  std::string_view name() const override { return "softmax"; }
  uword count() const override { return regression_.classes(); }
  std::unique_ptr<GateFamily> clone() const override { return std::make_unique<SoftmaxGate>(*this); }
  std::vector<Field> fields() override {
    return {{"contrasts", {regression_.u().memptr(), regression_.u().n_elem}, Field::Kind::free},
            {"precision", regression_.precision(), Field::Kind::fixed},
            {"effective", regression_.effective(), Field::Kind::fixed}};
  }
  void state(Archive& archive) override { regression_.state(archive); }
  void select(std::span<const uword> from) override {
    const mat theta = regression_.theta();
    SoftmaxRegression next(regression_.groups(), from.size(), false);
    mat chosen(theta.n_rows, from.size());
    for (uword k = 0; k < from.size(); ++k) chosen.col(k) = theta.col(from[k]);
    std::ranges::copy(regression_.precision(), next.precision().begin());
    std::ranges::copy(regression_.effective(), next.effective().begin());
    next.set_theta(chosen);
    regression_ = std::move(next);
  }
  std::vector<GateForm> forms() const override {
    const mat theta = regression_.theta();
    std::vector<GateForm> out;
    for (uword k = 0; k + 1 < count(); ++k)
      out.push_back({GateForm::Kind::score, k, theta.col(k) - theta.col(count() - 1), {}, {}});
    return out;
  }
  double free_parameters() const override { return regression_.free_parameters(); }
  double effective_parameters() const override { return regression_.effective_parameters(); }

  void log_prob(const Batch& batch, mat& out) const override {
    predictors(batch.gate_features(), regression_.theta(), out);
    thread_local mat prob;
    thread_local vec lse;
    prob.set_size(out.n_rows, out.n_cols);
    lse.set_size(out.n_rows);
    simd::softmax_rows(out.memptr(), out.n_rows, out.n_cols, prob.memptr(), lse.memptr());
    out.each_col() -= lse;
  }

  void scores(const Batch& batch, uword k, mat& out) const override {
    mat prob;
    vec scratch;
    regression_.probabilities(batch.gate_features(), prob, scratch);
    mat label(batch.rows, count(), arma::fill::zeros);
    label.col(k).ones();
    regression_.scores(batch.gate_features(), prob, label, out);
  }
  std::size_t sums() const override { return regression_.sums(); }
  void add(const Batch& batch, const mat& prob, const mat& responsibility,
           std::span<double> sums) const override {
    if (count() < 2) return;
    if (batch.picks && regression_.adds_by_class()) {
      regression_.add_picks(batch.gate_features(), *batch.picks, prob, responsibility, sums);
      return;
    }
    const vec weight = arma::sum(responsibility, 1);
    regression_.add(batch.gate_features(), prob, responsibility, weight.memptr(), sums);
  }
  void update(std::span<const double> sums, const Penalty& penalty) override {
    regression_.update(sums, penalty);
  }
  void set_penalty(const Penalty& penalty) override { regression_.set_penalty(penalty); }
  double log_prior() const override { return regression_.log_prior(); }
  void add_prior_gradient(std::span<double> gradient) const override {
    regression_.add_prior_gradient(gradient);
  }
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override {
    mat prob;
    vec scratch;
    regression_.probabilities(batch.gate_features(), prob, scratch);
    const vec all = arma::sum(weight, 1);
    add_logit_gradient(batch, weight - prob.each_col() % all, gradient);
  }
  bool logits(const Batch& batch, mat& out) const override {
    predictors(batch.gate_features(), regression_.theta(), out);
    return true;
  }
  void add_logit_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override {
    regression_.add_logit_gradient(batch.gate_features(), weight, gradient);
  }

 private:
  SoftmaxRegression regression_;
};

}  // namespace

std::unique_ptr<GateFamily> make_softmax_gate(const GateShape& shape) {
  return std::make_unique<SoftmaxGate>(shape);
}

}  // namespace moekit
