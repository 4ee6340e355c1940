#include <algorithm>

#include "gates/families.hpp"
#include "simd/vector_math.hpp"
#include "sparse/network.hpp"

namespace moekit {

namespace {

/// The ridge of the default penalty.
constexpr double kUnitRidge = 1;

/// g(x) = softmax(network(x)), trained by gradients.
class MlpGate final : public GateFamily {
 public:
  MlpGate(const GateShape& shape, const std::vector<uword>& hidden)
      : name_("mlp:" + widths_text(hidden)),
        widths_(hidden),
        experts_(shape.experts),
        network_(widths(shape.groups.size())),
        weights_(network_.size(), 0.0) {}

  std::string_view name() const override { return name_; }
  uword count() const override { return experts_; }
  std::unique_ptr<GateFamily> clone() const override { return std::make_unique<MlpGate>(*this); }
  std::vector<Field> fields() override { return {{"weights", weights_, Field::Kind::free}}; }
  void state(Archive& archive) override {
    GateFamily::state(archive);
    archive(ridge_);
  }
  void select(std::span<const uword> from) override {
    weights_ = network_.select_outputs(weights_.data(), {from.begin(), from.end()});
    experts_ = from.size();
    network_ = Network(widths(network_.inputs()));
  }
  std::vector<GateForm> forms() const override { return {}; }
  double free_parameters() const override { return static_cast<double>(weights_.size()); }
  double effective_parameters() const override { return free_parameters(); }

  void log_prob(const Batch& batch, mat& out) const override {
    logits(batch, out);
    thread_local mat prob;
    thread_local vec lse;
    prob.set_size(out.n_rows, out.n_cols);
    lse.set_size(out.n_rows);
    simd::softmax_rows(out.memptr(), out.n_rows, out.n_cols, prob.memptr(), lse.memptr());
    out.each_col() -= lse;
  }
  bool logits(const Batch& batch, mat& out) const override {
    out = answer(batch).layer.back().t();
    if (batch.answers) batch.answers->has_gate = true;
    return true;
  }
  void add_logit_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override {
    const bool known = batch.answers && batch.answers->has_gate;
    network_.backward(weights_.data(), known ? batch.answers->gate : answer(batch), weight.t(),
                      gradient.data());
  }
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override {
    mat prob;
    log_prob(batch, prob);
    simd::exp_inplace(prob.memptr(), prob.n_elem);
    const vec all = arma::sum(weight, 1);
    add_logit_gradient(batch, weight - prob.each_col() % all, gradient);
  }
  void scores(const Batch& batch, uword k, mat& out) const override {
    out.set_size(batch.rows, weights_.size());
    std::vector<double> gradient(weights_.size());
    for (uword i = 0; i < batch.rows; ++i) {
      mat weight(batch.rows, count(), arma::fill::zeros);
      weight(i, k) = 1;
      std::fill(gradient.begin(), gradient.end(), 0.0);
      add_gradient(batch, weight, gradient);
      for (uword j = 0; j < gradient.size(); ++j) out(i, j) = gradient[j];
    }
  }

  bool closed_step() const override { return false; }
  std::size_t sums() const override { return 0; }
  void add(const Batch&, const mat&, const mat&, std::span<double>) const override {}
  void update(std::span<const double>, const Penalty& penalty) override { set_penalty(penalty); }
  void set_penalty(const Penalty& penalty) override {
    ridge_ = penalty.mode == Penalty::Mode::evidence ? kUnitRidge : penalty.ridge;
    if (penalty.mode == Penalty::Mode::none) ridge_ = 0;
  }
  double log_prior() const override { return -0.5 * ridge_ * network_.slopes_squared(weights_.data()); }
  void add_prior_gradient(std::span<double> gradient) const override {
    network_.add_ridge_gradient(weights_.data(), ridge_, gradient.data());
  }
  void randomise(Rng rng) override { network_.randomise(weights_.data(), rng); }

 private:
  std::vector<uword> widths(uword inputs) const {
    std::vector<uword> all{inputs};
    all.insert(all.end(), widths_.begin(), widths_.end());
    all.push_back(experts_);
    return all;
  }
  const NetworkWork& answer(const Batch& batch) const {
    thread_local NetworkWork own;
    NetworkWork& work = batch.answers ? batch.answers->gate : own;
    work.layer.resize(std::max<std::size_t>(1, work.layer.size()));
    work.layer[0] = batch.gate_features().t();
    network_.forward(weights_.data(), work);
    return work;
  }

  std::string name_;
  std::vector<uword> widths_;  // of the hidden layers
  uword experts_;
  Network network_;
  std::vector<double> weights_;
  double ridge_ = 0;
};

}  // namespace

std::unique_ptr<GateFamily> make_mlp_gate(const GateShape& shape, const std::vector<uword>& hidden) {
  return std::make_unique<MlpGate>(shape, hidden);
}

}  // namespace moekit
