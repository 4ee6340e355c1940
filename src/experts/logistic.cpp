#include <cmath>

#include "experts/families.hpp"
#include "experts/picked.hpp"
#include "simd/vector_math.hpp"
#include "softmax_regression.hpp"

namespace moekit {

namespace {

/// Standardised coefficients beyond this say that an unpenalised expert separates its rows.
constexpr double kSeparated = 15;

/// Logistic experts: class probabilities are a multinomial logit of the features, one regression an expert.
/// Jordan & Jacobs 1994. One Newton step a pass; under the evidence with the Laplace approximation.
class LogisticExperts final : public ExpertFamily {
 public:
  explicit LogisticExperts(const ExpertShape& shape)
      : expert_(shape.experts, SoftmaxRegression(shape.groups, shape.classes, true)) {}

  std::string_view name() const override { return "logistic"; }
  uword count() const override { return expert_.size(); }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<LogisticExperts>(*this); }
  std::vector<Field> fields(uword k) override {
    SoftmaxRegression& e = expert_[k];
    return {{"coefficients", {e.u().memptr(), e.u().n_elem}, Field::Kind::free},
            {"precision", e.precision(), Field::Kind::fixed},
            {"effective", e.effective(), Field::Kind::fixed}};
  }
  void state(Archive& archive) override {
    for (SoftmaxRegression& expert : expert_) expert.state(archive);
  }
  void select(std::span<const uword> from) override {
    std::vector<SoftmaxRegression> next;
    for (const uword k : from) next.push_back(expert_[k]);
    expert_ = std::move(next);
  }
  mat coefficients(uword k) const override {
    const mat theta = expert_[k].theta();
    const uword last = theta.n_cols - 1;
    if (last == 0) return mat(theta.n_rows, 0);
    return theta.head_cols(last).eval().each_col() - theta.col(last);
  }
  vec noise_coefficients(uword) const override { return {}; }
  double noise(uword) const override { return 0; }
  double free_parameters() const override {
    return static_cast<double>(count()) * expert_[0].free_parameters();
  }
  double effective_parameters() const override {
    double sum = 0;
    for (const SoftmaxRegression& e : expert_) sum += e.effective_parameters();
    return sum;
  }
  std::string degenerate(uword k, double weight) const override {
    const double least = std::max(5.0, static_cast<double>(expert_[k].u().n_elem));
    if (weight < least) return "expert on too few rows";
    if (expert_[k].u().n_rows > 1 &&
        arma::abs(expert_[k].u().tail_rows(expert_[k].u().n_rows - 1)).max() > kSeparated)
      return "expert separates its rows";
    return {};
  }

  void log_density(const Batch& batch, mat& out) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;
  std::size_t sums() const override { return count() * stride(); }
  void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const override;
  void update(std::span<const double> sums, const Penalty& penalty) override {
    for (uword k = 0; k < count(); ++k)
      if (sums[k * stride()] > 0) expert_[k].update(sums.subspan(k * stride() + 1, stride() - 1), penalty);
  }
  void set_penalty(const Penalty& penalty) override {
    for (SoftmaxRegression& e : expert_) e.set_penalty(penalty);
  }
  double log_prior() const override {
    double sum = 0;
    for (const SoftmaxRegression& e : expert_) sum += e.log_prior();
    return sum;
  }
  void add_prior_gradient(std::span<double> gradient) const override {
    for (uword k = 0; k < count(); ++k) expert_[k].add_prior_gradient(part(gradient, k));
  }
  void add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const override;
  bool add_answer_gradient(const Batch& batch, const arma::cube& slope,
                           std::span<double> gradient) const override;
  uword classes() const override { return expert_[0].classes(); }
  void class_probabilities(const Batch& batch, arma::cube& out) const override;

 private:
  std::size_t stride() const { return 1 + expert_[0].sums(); }
  void density(uword k, const Batch& batch, double* out) const;
  void add_from(uword first, const Batch& batch, const mat& responsibility, std::span<double> sums) const;
  std::span<double> part(std::span<double> gradient, uword k) const {
    return gradient.subspan(k * expert_[k].u().n_elem, expert_[k].u().n_elem);
  }

  std::vector<SoftmaxRegression> expert_;
};

/// Of expert k, for each row.
void LogisticExperts::density(uword k, const Batch& batch, double* out) const {
  thread_local mat logit, prob;
  thread_local vec lse;
  lse.set_size(batch.rows);
  predictors(batch.expert, expert_[k].theta(), logit);
  prob.set_size(batch.rows, logit.n_cols);
  simd::softmax_rows(logit.memptr(), batch.rows, logit.n_cols, prob.memptr(), lse.memptr());
  for (uword i = 0; i < batch.rows; ++i) {
    const double y = batch.target[i];
    out[i] = std::isnan(y) ? y : logit(i, static_cast<uword>(y)) - lse[i];
  }
}

void LogisticExperts::log_density(const Batch& batch, mat& out) const {
  if (batch.picks) {
    density_of_picks(batch, count(), out,
                     [&](uword k, const Batch& part, double* own) { density(k, part, own); });
    return;
  }
  out.set_size(batch.rows, count());
  for (uword k = 0; k < count(); ++k) density(k, batch, out.colptr(k));
}

void LogisticExperts::add(const Batch& batch, const mat& responsibility, std::span<double> sums) const {
  add_all_or_picks(batch, responsibility, stride(), sums,
                   [this](uword first, const Batch& rows, const mat& own, std::span<double> to) {
                     add_from(first, rows, own, to);
                   });
}

/// add() for the experts from `first`, one a column of `responsibility`.
void LogisticExperts::add_from(uword first, const Batch& batch, const mat& responsibility,
                               std::span<double> sums) const {
  const uword experts = responsibility.n_cols;
  thread_local mat prob, label, columns, grams;
  thread_local vec scratch;
  uword due = 0;
  for (uword k = 0; k < experts; ++k) due += expert_[first + k].gram_columns();
  columns.set_size(batch.rows, due);
  double* next = columns.memptr();
  for (uword k = 0; k < experts; ++k) {
    const SoftmaxRegression& expert = expert_[first + k];
    const double* r = responsibility.colptr(k);
    expert.probabilities(batch.expert, prob, scratch);
    label.zeros(batch.rows, prob.n_cols);
    double weight = 0;
    for (uword i = 0; i < batch.rows; ++i) {
      label(i, static_cast<uword>(batch.target[i])) = r[i];
      weight += r[i];
    }
    sums[k * stride()] += weight;
    expert.add_gradient(batch.expert, prob, label, r, sums.subspan(k * stride() + 1, stride() - 1));
    if (expert.gram_columns() > 0) expert.fill_gram_weights(prob, r, next);
    next += expert.gram_columns() * batch.rows;
  }
  if (due == 0) return;
  grams.zeros(packed_size(batch.expert.n_cols), due);
  add_weighted_grams(batch.expert, columns, grams.memptr());
  const double* from = grams.memptr();
  for (uword k = 0; k < experts; ++k) {
    const SoftmaxRegression& expert = expert_[first + k];
    double* to = sums.data() + k * stride() + 1 + expert.gradient_sums();
    const std::size_t size = expert.gram_columns() * grams.n_rows;
    for (std::size_t i = 0; i < size; ++i) to[i] += from[i];
    from += size;
  }
}

void LogisticExperts::scores(const Batch& batch, uword k, mat& out) const {
  mat prob;
  vec scratch;
  expert_[k].probabilities(batch.expert, prob, scratch);
  mat label(batch.rows, prob.n_cols, arma::fill::zeros);
  for (uword i = 0; i < batch.rows; ++i) label(i, static_cast<uword>(batch.target[i])) = 1;
  expert_[k].scores(batch.expert, prob, label, out);
}

void LogisticExperts::add_gradient(const Batch& batch, const mat& weight, std::span<double> gradient) const {
  mat slope;
  vec scratch;
  for (uword k = 0; k < count(); ++k) {
    expert_[k].probabilities(batch.expert, slope, scratch);
    slope.each_col() %= -weight.col(k);
    for (uword i = 0; i < batch.rows; ++i) slope(i, static_cast<uword>(batch.target[i])) += weight(i, k);
    expert_[k].add_logit_gradient(batch.expert, slope, part(gradient, k));
  }
}

bool LogisticExperts::add_answer_gradient(const Batch& batch, const arma::cube& slope,
                                          std::span<double> gradient) const {
  mat prob;
  vec scratch;
  for (uword k = 0; k < count(); ++k) {
    expert_[k].probabilities(batch.expert, prob, scratch);
    const vec mean = arma::sum(prob % slope.slice(k), 1);
    prob %= slope.slice(k).each_col() - mean;
    expert_[k].add_logit_gradient(batch.expert, prob, part(gradient, k));
  }
  return true;
}

void LogisticExperts::class_probabilities(const Batch& batch, arma::cube& out) const {
  out.set_size(batch.rows, classes(), count());
  mat prob;
  vec scratch;
  for (uword k = 0; k < count(); ++k) {
    expert_[k].probabilities(batch.expert, prob, scratch);
    out.slice(k) = prob;
  }
}

}  // namespace

std::unique_ptr<ExpertFamily> make_logistic(const ExpertShape& shape) {
  return std::make_unique<LogisticExperts>(shape);
}

}  // namespace moekit
