#include <algorithm>
#include <cmath>

#include "experts/families.hpp"
#include "moekit/error.hpp"
#include "sparse/neuron_steps.hpp"

namespace moekit {

namespace {

constexpr double kLogTwoPi = 1.8378770664093454836;
constexpr double kLeastNoise = 1e-3;
/// Rows that are gone through at a time: what they picked stays in the cache.
constexpr uword kRows = 256;
/// Share of the newest batch in the spread of the errors.
constexpr double kErrorShare = 0.01;

/// One network of many single-neuron experts (neuron_bank.hpp) with one density: normal around its output, or
/// softmax of C outputs. It is a bank of one expert: its neurons are no densities of their own, so a mixture
/// has nothing to weigh. Trained by sparse steps (neuron_steps.hpp).
class NeuronExperts final : public ExpertFamily {
 public:
  NeuronExperts(std::string_view family, const ExpertShape& shape)
      : family_(family),
        classes_(family == "logistic" ? shape.classes : 0),
        shape_(shape.neurons),
        bank_(shape.neurons, shape.groups.size(), std::max<uword>(1, classes_)) {}

  std::string_view name() const override { return family_; }
  uword count() const override { return 1; }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<NeuronExperts>(*this); }
  std::vector<Field> fields(uword) override {
    if (classes_ > 0) return {};
    return {{"noise", {&noise_, 1}, Field::Kind::positive, floor_}};
  }
  std::vector<FloatField> float_fields() override {
    return {{"queries", bank_.queries()},
            {"keys", bank_.keys().keys()},
            {"linear", bank_.linear()},
            {"neurons", bank_.neurons()}};
  }
  void state(Archive& archive) override;
  void select(std::span<const uword> from) override {
    if (from.size() != 1 || from[0] != 0)
      throw Error(Errc::internal, "a network of neurons is one expert and cannot be cut");
  }
  mat coefficients(uword) const override { return mat(bank_.inputs(), 0); }
  vec noise_coefficients(uword) const override { return classes_ > 0 ? vec() : vec{std::log(noise_)}; }
  double noise(uword) const override { return classes_ > 0 ? 0 : noise_; }
  double free_parameters() const override {
    NeuronExperts& self = const_cast<NeuronExperts&>(*this);  // sizes only
    double sum = classes_ > 0 ? 0 : 1;
    for (const FloatField& f : self.float_fields()) sum += static_cast<double>(f.values.size());
    return sum;
  }
  double effective_parameters() const override { return free_parameters(); }
  std::string degenerate(uword, double) const override { return {}; }

  bool closed_step() const override { return false; }
  std::size_t sums() const override { return 0; }
  void add(const Batch&, const mat&, std::span<double>) const override {}
  void update(std::span<const double>, const Penalty& penalty) override { set_penalty(penalty); }
  void set_penalty(const Penalty& penalty) override {
    floor_ = std::max(penalty.noise_floor, kLeastNoise);
    noise_ = std::max(noise_, floor_);
  }
  double log_prior() const override { return 0; }
  void add_prior_gradient(std::span<double>) const override {}
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override;
  void scores(const Batch& batch, uword, mat& out) const override;
  void randomise(Rng rng) override {
    bank_.randomise(rng);
    noise_ = 1;
  }
  double sparse_step(const Batch& batch, const SparseStep& step) override;
  bool parts(const Batch& batch, arma::umat& index, mat& weight) const override;
  uword part_count() const override { return shape_.count; }

  void log_density(const Batch& batch, mat& out) const override;
  void moments(const Batch& batch, mat& mean, mat& sd) const override;
  void cumulative(const Batch& batch, const vec& at, mat& out) const override;
  uword classes() const override { return classes_; }
  void class_probabilities(const Batch& batch, arma::cube& out) const override;

 private:
  void answer(const Batch& batch, NeuronBank::Work& work, mat& out) const;
  double log_likelihood(const Batch& batch, uword row, const double* answer, double* slope,
                        double& of_noise) const;

  std::string_view family_;
  uword classes_;
  Neurons shape_;
  NeuronBank bank_;
  double noise_ = 1, floor_ = kLeastNoise;
  // Not kept with the model:
  NeuronSteps steps_;
  double error_ = 0;  // squared, moving average
};

void NeuronExperts::state(Archive& archive) {
  ExpertFamily::state(archive);
  archive(noise_, floor_, error_);
  steps_.state(archive, bank_);
}

/// ln f of one row from the network's answer (C or 1), its slope by the answer (unless null) and by ln noise.
double NeuronExperts::log_likelihood(const Batch& batch, uword row, const double* answer, double* slope,
                                     double& of_noise) const {
  const double y = batch.target[row];
  if (classes_ == 0) {
    const double z = (y - answer[0]) / noise_;
    if (slope) slope[0] = z / noise_;
    of_noise = z * z - 1;
    return -0.5 * z * z - std::log(noise_) - 0.5 * kLogTwoPi;
  }
  if (std::isnan(y)) return y;
  const double most = *std::max_element(answer, answer + classes_);
  double sum = 0;
  for (uword c = 0; c < classes_; ++c) sum += std::exp(answer[c] - most);
  for (uword c = 0; slope && c < classes_; ++c) slope[c] = -std::exp(answer[c] - most) / sum;
  const auto label = static_cast<uword>(y);
  if (slope) slope[label] += 1;
  return answer[label] - most - std::log(sum);
}

void NeuronExperts::answer(const Batch& batch, NeuronBank::Work& work, mat& out) const {
  out.set_size(bank_.outputs(), batch.rows);
  mat part;
  for (uword begin = 0; begin < batch.rows; begin += kRows) {
    const uword end = std::min(batch.rows, begin + kRows);
    bank_.forward(batch.expert.rows(begin, end - 1), work, part);
    out.cols(begin, end - 1) = part;
  }
}

void NeuronExperts::log_density(const Batch& batch, mat& out) const {
  thread_local NeuronBank::Work work;
  mat y;
  double of_noise;
  answer(batch, work, y);
  out.set_size(batch.rows, 1);
  for (uword i = 0; i < batch.rows; ++i) out(i, 0) = log_likelihood(batch, i, y.colptr(i), nullptr, of_noise);
}

void NeuronExperts::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  if (classes_ > 0) return;
  thread_local NeuronBank::Work work;
  mat y;
  double of_noise;
  answer(batch, work, y);
  for (uword i = 0; i < batch.rows; ++i) {
    log_likelihood(batch, i, y.colptr(i), nullptr, of_noise);
    gradient[0] += weight(i, 0) * of_noise;
  }
}

void NeuronExperts::scores(const Batch& batch, uword, mat& out) const {
  out.zeros(batch.rows, classes_ > 0 ? 0 : 1);
  mat weight(batch.rows, 1, arma::fill::zeros);
  for (uword i = 0; i < batch.rows && out.n_cols > 0; ++i) {
    weight.zeros();
    weight(i, 0) = 1;
    add_gradient(batch, weight, {&out(i, 0), 1});
  }
}

double NeuronExperts::sparse_step(const Batch& batch, const SparseStep& step) {
  const auto weight_of = [&](uword i) { return batch.weight ? batch.weight[i] : 1.0; };
  double weight = 0, sum = 0, squares_of_errors = 0;
  for (uword i = 0; i < batch.rows; ++i) weight += weight_of(i);
  if (!(weight > 0)) return 0;
  vec value(batch.rows), of_noise(batch.rows, arma::fill::zeros);
  const auto slope_of = [&](uword i, const double* answer, double* slope) {
    value[i] = log_likelihood(batch, i, answer, slope, of_noise[i]);
    // Steps are taken for the error on the target's own scale: the noise would make them longer as it falls.
    const double scale = classes_ > 0 ? weight_of(i) : weight_of(i) * noise_ * noise_;
    for (uword c = 0; c < bank_.outputs(); ++c) slope[c] *= scale;
  };
  steps_.step(bank_, batch.expert, weight, slope_of, step);
  for (uword i = 0; i < batch.rows; ++i) {
    sum += weight_of(i) * value[i];
    squares_of_errors += weight_of(i) * noise_ * noise_ * (of_noise[i] + 1);
  }
  if (classes_ == 0) {
    // Errors of rows before they were learnt from: an honest spread, where that of learnt rows is too small.
    error_ = (1 - kErrorShare) * error_ + kErrorShare * squares_of_errors / weight;
    const double seen_share = 1 - std::pow(1 - kErrorShare, steps_.taken());
    noise_ = std::max(floor_, std::sqrt(error_ / seen_share));
  }
  return sum;
}

bool NeuronExperts::parts(const Batch& batch, arma::umat& index, mat& weight) const {
  thread_local NeuronBank::Work work;
  const uword picks = bank_.picks();
  index.set_size(batch.rows, picks);
  weight.set_size(batch.rows, picks);
  mat y;
  std::vector<std::pair<double, uword>> order;
  for (uword begin = 0; begin < batch.rows; begin += kRows) {
    const uword end = std::min(batch.rows, begin + kRows);
    bank_.forward(batch.expert.rows(begin, end - 1), work, y);
    for (uword i = begin; i < end; ++i) {
      order.clear();
      // A neuron that several queries picked counts once, with the sum of its weights.
      for (uword j = 0; j < picks; ++j)
        order.emplace_back(work.weight[(i - begin) * picks + j] / static_cast<double>(shape_.heads),
                           work.pick[(i - begin) * picks + j].neuron);
      std::ranges::stable_sort(order, {}, &std::pair<double, uword>::second);
      std::size_t last = 0;
      for (std::size_t j = 1; j < order.size(); ++j) {
        if (order[j].second == order[last].second)
          order[last].first += order[j].first;
        else
          order[++last] = order[j];
      }
      order.resize(last + 1);
      std::ranges::stable_sort(order, std::ranges::greater{}, &std::pair<double, uword>::first);
      for (uword j = 0; j < picks; ++j) {
        index(i, j) = j < order.size() ? order[j].second : 0;
        weight(i, j) = j < order.size() ? order[j].first : 0;
      }
    }
  }
  return true;
}

void NeuronExperts::moments(const Batch& batch, mat& mean, mat& sd) const {
  thread_local NeuronBank::Work work;
  mat y;
  answer(batch, work, y);
  mean = y.t();
  sd.set_size(batch.rows, 1);
  sd.fill(noise_);
}

void NeuronExperts::cumulative(const Batch& batch, const vec& at, mat& out) const {
  mat sd;
  moments(batch, out, sd);
  for (uword i = 0; i < batch.rows; ++i)
    out(i, 0) = 0.5 * std::erfc((out(i, 0) - at[i]) / (noise_ * M_SQRT2));
}

void NeuronExperts::class_probabilities(const Batch& batch, arma::cube& out) const {
  thread_local NeuronBank::Work work;
  mat y;
  answer(batch, work, y);
  out.set_size(batch.rows, classes_, 1);
  for (uword i = 0; i < batch.rows; ++i) {
    const double* z = y.colptr(i);
    const double most = *std::max_element(z, z + classes_);
    double sum = 0;
    for (uword c = 0; c < classes_; ++c) sum += out(i, c, 0) = std::exp(z[c] - most);
    for (uword c = 0; c < classes_; ++c) out(i, c, 0) /= sum;
  }
}

}  // namespace

std::unique_ptr<ExpertFamily> make_neurons(std::string_view family, const ExpertShape& shape) {
  if (square_side(shape.neurons.count) == 0)
    throw Error(Errc::usage,
                "--gate product-key needs a square number of experts, such as 1024, 65536 or 1048576, not " +
                    std::to_string(shape.neurons.count));
  if (shape.experts != 1) throw Error(Errc::internal, "a network of neurons is one expert");
  if (family == "gaussian") return std::make_unique<NeuronExperts>("gaussian", shape);
  if (family == "logistic") return std::make_unique<NeuronExperts>("logistic", shape);
  throw Error(Errc::usage, "neurons are gaussian or logistic, not " + std::string(family) +
                               "; give another --family or --gate");
}

}  // namespace moekit
