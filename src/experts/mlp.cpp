#include <algorithm>
#include <cmath>
#include <numeric>

#include "experts/families.hpp"
#include "moekit/error.hpp"
#include "picking.hpp"
#include "simd/vector_math.hpp"
#include "sparse/network.hpp"

namespace moekit {

namespace {

constexpr double kLogTwoPi = 1.8378770664093454836;
constexpr double kLeastNoise = 1e-8;
/// The ridge of the default penalty, as the evidence is for linear experts only.
constexpr double kUnitRidge = 1;

/// Experts that are networks: a normal distribution around the network's output, with a standard deviation of
/// each expert's own, or a softmax of C outputs. Jacobs, Jordan, Nowlan & Hinton 1991 have them in general
/// form; trained by gradients, without a closed step. Only the rows that an expert is asked about
/// (Batch::picks) are gone through, so the cost follows the number of picks.
class MlpExperts final : public ExpertFamily {
 public:
  MlpExperts(std::string_view family, const ExpertShape& shape)
      : family_(family),
        classes_(family == "logistic" ? shape.classes : 0),
        network_(widths(shape, classes_)),
        weights_(network_.size(), shape.experts, arma::fill::zeros),
        noise_(shape.experts, arma::fill::ones) {}

  std::string_view name() const override { return family_; }
  uword count() const override { return weights_.n_cols; }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<MlpExperts>(*this); }
  bool short_ramps() const override { return true; }
  std::vector<Field> fields(uword k) override {
    std::vector<Field> all{{"weights", {weights_.colptr(k), weights_.n_rows}, Field::Kind::free}};
    if (classes_ == 0) all.push_back({"noise", {&noise_[k], 1}, Field::Kind::positive, floor_});
    return all;
  }
  void state(Archive& archive) override {
    ExpertFamily::state(archive);
    archive(floor_, ridge_);
  }
  void select(std::span<const uword> from) override {
    const arma::uvec index(std::vector<uword>(from.begin(), from.end()));
    weights_ = weights_.cols(index).eval();
    noise_ = noise_(index).eval();
  }
  mat coefficients(uword) const override { return mat(network_.inputs(), 0); }
  vec noise_coefficients(uword k) const override { return classes_ > 0 ? vec() : vec{std::log(noise_[k])}; }
  double noise(uword k) const override { return classes_ > 0 ? 0 : noise_[k]; }
  double free_parameters() const override { return static_cast<double>(stride() * count()); }
  double effective_parameters() const override { return free_parameters(); }
  std::string degenerate(uword, double) const override { return {}; }

  bool closed_step() const override { return false; }
  std::size_t sums() const override { return 0; }
  void add(const Batch&, const mat&, std::span<double>) const override {}
  void update(std::span<const double>, const Penalty& penalty) override { set_penalty(penalty); }

  void set_penalty(const Penalty& penalty) override {
    ridge_ = penalty.mode == Penalty::Mode::evidence ? kUnitRidge : penalty.ridge;
    if (penalty.mode == Penalty::Mode::none) ridge_ = 0;
    floor_ = std::max(penalty.noise_floor, kLeastNoise);
    noise_.clamp(floor_, arma::datum::inf);
  }
  double log_prior() const override {
    double sum = 0;
    for (uword k = 0; ridge_ > 0 && k < count(); ++k) sum += network_.slopes_squared(weights_.colptr(k));
    return -0.5 * ridge_ * sum;
  }
  void add_prior_gradient(std::span<double> gradient) const override {
    for (uword k = 0; ridge_ > 0 && k < count(); ++k)
      network_.add_ridge_gradient(weights_.colptr(k), ridge_, gradient.data() + k * stride());
  }
  void randomise(Rng rng) override {
    for (uword k = 0; k < count(); ++k) network_.randomise(weights_.colptr(k), rng);
    noise_.ones();
  }

  void log_density(const Batch& batch, mat& out) const override;
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override;
  bool add_answer_gradient(const Batch& batch, const arma::cube& slope,
                           std::span<double> gradient) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;
  void moments(const Batch& batch, mat& mean, mat& sd) const override;
  void cumulative(const Batch& batch, const vec& at, mat& out) const override;
  uword classes() const override { return classes_; }
  void class_probabilities(const Batch& batch, arma::cube& out) const override;
  void add_class_probabilities(const Batch& batch, const mat& weight, mat& out) const override;

 private:
  static std::vector<uword> widths(const ExpertShape& shape, uword classes) {
    std::vector<uword> all{shape.groups.size()};
    all.insert(all.end(), shape.hidden.begin(), shape.hidden.end());
    all.push_back(std::max<uword>(1, classes));
    return all;
  }
  std::size_t stride() const { return weights_.n_rows + (classes_ > 0 ? 0 : 1); }

  /// visit(k, rows, work) for every expert that is asked: rows, 0-based; work: what its network gave, at last
  /// 1 or C x rows, the mean or the logarithms of the probabilities. Kept in `to` if there is one.
  template <class Visit>
  void each_asked(const Batch& batch, NetworkAnswers* to, const Visit& visit) const;
  /// The same where nobody asks for a gradient; visit(k, rows, answer).
  template <class Visit>
  void each_answer(const Batch& batch, const Visit& visit) const {
    each_asked(batch, nullptr, [&](uword k, std::span<const uword> rows, const NetworkWork& work) {
      visit(k, rows, work.layer.back());
    });
  }

  std::string_view family_;
  uword classes_;
  Network network_;
  mat weights_;  // size x K
  vec noise_;    // K
  double floor_ = kLeastNoise, ridge_ = 0;
};

const mat& exp_of(const mat& z) {
  thread_local mat out;
  out = z;
  simd::exp_inplace(out.memptr(), out.n_elem);
  return out;
}

/// Columns become logarithms of probabilities.
void log_softmax_columns(mat& z) {
  for (uword i = 0; i < z.n_cols; ++i) {
    double* c = z.colptr(i);
    const double most = *std::max_element(c, c + z.n_rows);
    for (uword j = 0; j < z.n_rows; ++j) c[j] -= most;
  }
  const mat& e = exp_of(z);
  for (uword i = 0; i < z.n_cols; ++i) {
    const double lse = std::log(std::accumulate(e.begin_col(i), e.end_col(i), 0.0));
    for (uword j = 0; j < z.n_rows; ++j) z(j, i) -= lse;
  }
}

/// The rows that ask expert k.
std::span<const uword> asked(const Batch& batch, uword k) {
  if (batch.picks) return rows_of(*batch.picks, k);
  thread_local std::vector<uword> all;
  for (uword i = all.size(); i < batch.rows; ++i) all.push_back(i);
  return {all.data(), batch.rows};
}

/// What goes into an expert's network; x: its whole features, a column a row of the batch.
void take_inputs(const Batch& batch, const mat& x, std::span<const uword> rows, NetworkWork& work) {
  work.layer.resize(std::max<std::size_t>(1, work.layer.size()));
  mat& in = work.layer[0];
  in.set_size(x.n_rows, rows.size());
  for (uword j = 0; j < rows.size(); ++j) std::copy_n(x.colptr(rows[j]), x.n_rows, in.colptr(j));
  const std::size_t runs = batch.ramps.runs.size();
  work.ramps.runs = batch.ramps.runs;
  work.ramps.piece.resize(runs * rows.size());
  work.ramps.along.resize(runs * rows.size());
  for (std::size_t r = 0; r < runs; ++r)
    for (uword j = 0; j < rows.size(); ++j) {
      work.ramps.piece[j + r * rows.size()] = batch.ramps.piece[rows[j] + r * batch.rows];
      work.ramps.along[j + r * rows.size()] = batch.ramps.along[rows[j] + r * batch.rows];
    }
}

template <class Visit>
void MlpExperts::each_asked(const Batch& batch, NetworkAnswers* to, const Visit& visit) const {
  thread_local mat x;
  thread_local NetworkWork own;
  x = batch.expert.t();
  if (to) to->expert.resize(count());
  for (uword k = 0; k < count(); ++k) {
    const std::span<const uword> rows = asked(batch, k);
    if (rows.empty()) continue;
    NetworkWork& work = to ? to->expert[k] : own;
    take_inputs(batch, x, rows, work);
    network_.forward(weights_.colptr(k), work);
    if (classes_ > 0) log_softmax_columns(work.layer.back());
    visit(k, rows, work);
  }
}

void MlpExperts::log_density(const Batch& batch, mat& out) const {
  out.zeros(batch.rows, count());
  each_asked(batch, batch.answers, [&](uword k, std::span<const uword> rows, const NetworkWork& work) {
    const mat& answer = work.layer.back();
    for (uword j = 0; j < rows.size(); ++j) {
      const double y = batch.target[rows[j]];
      if (classes_ > 0) {
        out(rows[j], k) = std::isnan(y) ? y : answer(static_cast<uword>(y), j);
        continue;
      }
      const double z = (y - answer(0, j)) / noise_[k];
      out(rows[j], k) = -0.5 * z * z - std::log(noise_[k]) - 0.5 * kLogTwoPi;
    }
  });
  if (batch.answers) batch.answers->has_expert = true;
}

void MlpExperts::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  const auto add = [&](uword k, std::span<const uword> rows, const NetworkWork& work) {
    const mat& answer = work.layer.back();
    mat slope = classes_ > 0 ? exp_of(answer) : mat(arma::size(answer));
    double* own = gradient.data() + k * stride();
    for (uword j = 0; j < rows.size(); ++j) {
      const double r = weight(rows[j], k), y = batch.target[rows[j]];
      if (classes_ > 0) {
        for (uword c = 0; c < classes_; ++c) slope(c, j) *= -r;
        slope(static_cast<uword>(y), j) += r;
        continue;
      }
      const double z = (y - answer(0, j)) / noise_[k];
      slope(0, j) = r * z / noise_[k];
      own[weights_.n_rows] += r * (z * z - 1);
    }
    network_.backward(weights_.colptr(k), work, std::move(slope), own);
  };
  if (!batch.answers || !batch.answers->has_expert) return each_asked(batch, nullptr, add);
  for (uword k = 0; k < count(); ++k)
    if (const std::span<const uword> rows = asked(batch, k); !rows.empty())
      add(k, rows, batch.answers->expert[k]);
}

bool MlpExperts::add_answer_gradient(const Batch& batch, const arma::cube& slope,
                                     std::span<double> gradient) const {
  each_asked(batch, nullptr, [&](uword k, std::span<const uword> rows, const NetworkWork& work) {
    mat own = classes_ > 0 ? exp_of(work.layer.back()) : mat(1, rows.size());
    for (uword j = 0; j < rows.size(); ++j) {
      double mean = 0;
      for (uword c = 0; c < classes_; ++c) mean += own(c, j) * slope(rows[j], c, k);
      for (uword c = 0; c < own.n_rows; ++c)
        own(c, j) = classes_ > 0 ? own(c, j) * (slope(rows[j], c, k) - mean) : slope(rows[j], 0, k);
    }
    network_.backward(weights_.colptr(k), work, std::move(own), gradient.data() + k * stride());
  });
  return true;
}

void MlpExperts::scores(const Batch& batch, uword k, mat& out) const {
  out.zeros(batch.rows, stride());
  Picks one{std::vector<uword>(count() + 1, 0), {0}};
  for (uword j = k + 1; j <= count(); ++j) one.begin[j] = 1;
  std::vector<double> gradient(count() * stride());
  Batch row = batch;
  row.picks = &one;
  row.answers = nullptr;
  for (uword i = 0; i < batch.rows; ++i) {
    one.rows[0] = i;
    std::fill(gradient.begin(), gradient.end(), 0.0);
    add_gradient(row, mat(batch.rows, count(), arma::fill::ones), gradient);
    for (uword j = 0; j < stride(); ++j) out(i, j) = gradient[k * stride() + j];
  }
}

void MlpExperts::moments(const Batch& batch, mat& mean, mat& sd) const {
  mean.zeros(batch.rows, count());
  sd.set_size(batch.rows, count());
  sd.each_row() = noise_.t();
  each_answer(batch, [&](uword k, std::span<const uword> rows, const mat& answer) {
    for (uword j = 0; j < rows.size(); ++j) mean(rows[j], k) = answer(0, j);
  });
}

void MlpExperts::cumulative(const Batch& batch, const vec& at, mat& out) const {
  out.zeros(batch.rows, count());
  each_answer(batch, [&](uword k, std::span<const uword> rows, const mat& answer) {
    for (uword j = 0; j < rows.size(); ++j)
      out(rows[j], k) = 0.5 * std::erfc((answer(0, j) - at[rows[j]]) / (noise_[k] * M_SQRT2));
  });
}

void MlpExperts::class_probabilities(const Batch& batch, arma::cube& out) const {
  out.zeros(batch.rows, classes_, count());
  each_answer(batch, [&](uword k, std::span<const uword> rows, const mat& answer) {
    const mat& p = exp_of(answer);
    for (uword j = 0; j < rows.size(); ++j)
      for (uword c = 0; c < classes_; ++c) out(rows[j], c, k) = p(c, j);
  });
}

void MlpExperts::add_class_probabilities(const Batch& batch, const mat& weight, mat& out) const {
  each_answer(batch, [&](uword k, std::span<const uword> rows, const mat& answer) {
    const mat& p = exp_of(answer);
    for (uword j = 0; j < rows.size(); ++j)
      for (uword c = 0; c < classes_; ++c) out(rows[j], c) += weight(rows[j], k) * p(c, j);
  });
}

}  // namespace

std::unique_ptr<ExpertFamily> make_mlp(std::string_view family, const ExpertShape& shape) {
  if (shape.noise_groups.size() > 1)
    throw Error(Errc::usage, "mlp experts have one noise each; leave --noise out");
  if (family == "gaussian") return std::make_unique<MlpExperts>("gaussian", shape);
  if (family == "logistic") return std::make_unique<MlpExperts>("logistic", shape);
  throw Error(Errc::usage, "mlp experts are gaussian or logistic, not " + std::string(family) +
                               "; give another --family, or --expert linear");
}

}  // namespace moekit
