#include <cmath>
#include <map>

#include "experts/families.hpp"
#include "linalg.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

/// Experts for m targets at once, built from m families of one target, all under the same responsibilities.
/// Independent: f_k(y | x) = prod_j f_kj(y_j | x). Full covariance (Gaussian): the chain rule
/// p(y_1, .., y_m | x) = prod_j p(y_j | x, y_1, .., y_(j-1)), where the family of target j also sees the
/// targets before it; regressions on those and their variances are the modified Cholesky factors of the
/// covariance (Pourahmadi 1999, Biometrika 86:677), so any covariance can be reached and none is singular.
/// Priors are on the slopes of the means of y_j given x alone: on those beside earlier targets a ridge would
/// let an earlier target, which knows x, stand in for x, and find correlations where there are none.
class JointExperts final : public ExpertFamily {
 public:
  JointExperts(std::string_view family, const ExpertShape& shape) : full_(shape.full_covariance) {
    if (full_ && (family != "gaussian" || shape.noise_groups.size() > 1))
      throw Error(Errc::usage, "a full covariance needs gaussian experts with constant noise");
    ExpertShape one = shape;
    one.targets = 1;
    one.full_covariance = false;
    for (uword j = 0; j < shape.targets; ++j) {
      families_.emplace_back(make_experts(family, one));
      // What a target takes from those before it shrinks on its own.
      if (full_) one.groups.push_back(arma::max(arma::uvec(shape.groups)) + 1);
    }
  }
  JointExperts(const JointExperts& other) : full_(other.full_), of_means_(other.of_means_) {
    for (const auto& family : other.families_) families_.push_back(family->clone());
  }
  JointExperts& operator=(const JointExperts&) = delete;

  std::string_view name() const override { return families_[0]->name(); }
  uword count() const override { return families_[0]->count(); }
  uword targets() const override { return families_.size(); }
  std::unique_ptr<ExpertFamily> clone() const override { return std::make_unique<JointExperts>(*this); }
  std::vector<Field> fields(uword k) override;
  void state(Archive& archive) override {
    for (const auto& family : families_) family->state(archive);
    archive(of_means_);
  }
  void select(std::span<const uword> from) override {
    for (const auto& family : families_) family->select(from);
  }
  mat coefficients(uword k) const override { return families_[0]->coefficients(k); }
  vec noise_coefficients(uword k) const override { return families_[0]->noise_coefficients(k); }
  double noise(uword k) const override { return families_[0]->noise(k); }
  double free_parameters() const override {
    double sum = 0;
    for (const auto& family : families_) sum += family->free_parameters();
    return sum;
  }
  double effective_parameters() const override {
    double sum = 0;
    for (const auto& family : families_) sum += family->effective_parameters();
    return sum;
  }
  std::string degenerate(uword k, double weight) const override {
    for (const auto& family : families_)
      if (std::string why = family->degenerate(k, weight); !why.empty()) return why;
    return {};
  }
  std::unique_ptr<ExpertFamily> marginal(uword j) const override;
  mat correlation(uword k) const override;

  void log_density(const Batch& batch, mat& out) const override;
  std::size_t sums() const override {
    std::size_t sum = 0;
    for (const auto& family : families_) sum += family->sums();
    return sum;
  }
  void add(const Batch& batch, const mat& responsibility, std::span<double> sums) const override;
  void update(std::span<const double> sums, const Penalty& penalty) override;
  void set_penalty(const Penalty& penalty) override {
    take_mode(penalty);
    for (const auto& family : families_) family->set_penalty(penalty);
  }
  double log_prior() const override;
  void add_prior_gradient(std::span<double> gradient) const override;
  void scores(const Batch& batch, uword k, mat& out) const override;
  void moments(const Batch& batch, mat& mean, mat& sd) const override {
    families_[0]->moments(batch, mean, sd);
  }
  void cumulative(const Batch& batch, const vec& at, mat& out) const override {
    families_[0]->cumulative(batch, at, out);
  }

 private:
  /// Calls visit(j, batch of target j).
  template <class Visit>
  void each_target(const Batch& batch, const Visit& visit) const;
  /// Coefficients of target j on features, then on the targets before it, and its own noise.
  vec chain(uword j, uword k) const { return families_[j]->coefficients(k).col(0); }
  /// M of y = W'x + M e with e independent, unit lower triangular; W: p x m.
  mat mixing(uword k, mat& means) const;
  /// Where sparse slopes are wanted it is those of the chain that are to be zero.
  void take_mode(const Penalty& penalty) {
    of_means_ = full_ && penalty.mode != Penalty::Mode::none && penalty.lasso == 0;
  }
  std::vector<mat> means() const;  ///< of each expert, p x m
  /// Coefficients of target j on features become those of its mean (sign 1), or are so no more (-1).
  void shift(uword j, const std::vector<mat>& means, double sign);
  std::vector<double> turned(uword j, std::span<const double> sums, const std::vector<mat>& means) const;
  JointExperts with_means(const std::vector<mat>& means) const;  ///< shifted: a copy to ask, not to fit
  std::vector<std::vector<double>> prior_slopes() const;
  void turn_back(std::vector<std::vector<double>>& slopes, const std::vector<mat>& means,
                 const std::vector<mat>& pull) const;
  /// Of the priors of later targets by the means of earlier ones, for each expert: p x m.
  std::vector<mat> pulls(const std::vector<std::vector<double>>& slopes, const std::vector<mat>& means) const;

  bool full_;
  bool of_means_ = false;  // are the priors on means?
  std::vector<std::unique_ptr<ExpertFamily>> families_;
  std::map<std::pair<uword, std::string>, std::string> names_;  // what fields() names point into
};

std::vector<Field> JointExperts::fields(uword k) {
  std::vector<Field> all;
  for (uword j = 0; j < targets(); ++j)
    for (Field field : families_[j]->fields(k)) {
      std::string& name = names_[{j, std::string(field.name)}];
      if (name.empty()) name = std::string(field.name) + (j == 0 ? "" : "_" + std::to_string(j + 1));
      field.name = name;
      all.push_back(field);
    }
  return all;
}

template <class Visit>
void JointExperts::each_target(const Batch& batch, const Visit& visit) const {
  Batch one;
  one.rows = batch.rows;
  one.expert = batch.expert;
  one.noise = batch.noise;
  one.weight = batch.weight;
  one.offset = batch.offset;
  one.picks = batch.picks;
  for (uword j = 0; j < targets(); ++j) {
    one.target = batch.targets.col(j);
    visit(j, one);
    if (full_) one.expert.insert_cols(one.expert.n_cols, one.target);
  }
}

void JointExperts::log_density(const Batch& batch, mat& out) const {
  mat own;
  each_target(batch, [&](uword j, const Batch& one) {
    families_[j]->log_density(one, j == 0 ? out : own);
    if (j > 0) out += own;
  });
}

void JointExperts::add(const Batch& batch, const mat& responsibility, std::span<double> sums) const {
  each_target(batch, [&](uword j, const Batch& one) {
    const std::size_t size = families_[j]->sums();
    families_[j]->add(one, responsibility, sums.first(size));
    sums = sums.subspan(size);
  });
}

std::vector<mat> JointExperts::means() const {
  std::vector<mat> all(count());
  for (uword k = 0; k < count(); ++k) mixing(k, all[k]);
  return all;
}

void JointExperts::shift(uword j, const std::vector<mat>& means, double sign) {
  for (uword k = 0; k < count(); ++k)
    for (const Field& f : families_[j]->fields(k)) {
      if (f.name != "coefficients") continue;
      const uword p = means[k].n_rows;
      for (uword i = 0; i < j; ++i)
        for (uword r = 0; r < p; ++r) f.values[r] += sign * f.values[p + i] * means[k](r, i);
    }
}

/// Sums of target j as if it saw the residuals of the targets before it in place of these.
std::vector<double> JointExperts::turned(uword j, std::span<const double> sums,
                                         const std::vector<mat>& means) const {
  std::vector<double> out(sums.begin(), sums.end());
  if (j == 0) return out;
  const uword p = means[0].n_rows, all = p + j;
  const std::size_t stride = 2 + all + packed_size(all);  // of gaussian experts
  for (uword k = 0; k < count(); ++k) {
    double* own = out.data() + k * stride + 2;
    mat turn(all, all, arma::fill::eye);
    turn.submat(p, 0, all - 1, p - 1) = -means[k].head_cols(j).t();
    const vec score = turn * vec(own, all);
    const mat gram = turn * unpack(own + all, all) * turn.t();
    std::copy(score.begin(), score.end(), own);
    for (uword r = 0, at = 0; r < all; ++r)
      for (uword c = 0; c <= r; ++c) own[all + at++] = gram(r, c);
  }
  return out;
}

/// Of each target's own log prior: in the order of its fields that move, expert by expert.
std::vector<std::vector<double>> JointExperts::prior_slopes() const {
  std::vector<std::vector<double>> out;
  for (const auto& family : families_) {
    out.emplace_back(moving_size(family->fields(0)) * count(), 0.0);
    family->add_prior_gradient(out.back());
  }
  return out;
}

std::vector<mat> JointExperts::pulls(const std::vector<std::vector<double>>& slopes,
                                     const std::vector<mat>& means) const {
  std::vector<mat> out(count());
  const uword m = targets(), p = means[0].n_rows;
  for (uword k = 0; k < count(); ++k) {
    out[k].zeros(p, m);
    for (uword j = m; j-- > 1;) {
      const vec own = chain(j, k);
      const vec slope = out[k].col(j) + vec(slopes[j].data() + k * (p + j + 1), p);
      for (uword i = 0; i < j; ++i) out[k].col(i) += own[p + i] * slope;
    }
  }
  return out;
}

void JointExperts::update(std::span<const double> sums, const Penalty& penalty) {
  take_mode(penalty);
  std::vector<mat> mean, pull;
  if (of_means_) {
    mean = means();
    for (uword j = 1; j < targets(); ++j) shift(j, mean, 1);
    pull = pulls(prior_slopes(), mean);
  }
  for (uword j = 0; j < targets(); ++j) {
    const std::span<const double> part = sums.first(families_[j]->sums());
    sums = sums.subspan(part.size());
    if (!of_means_) {
      families_[j]->update(part, penalty);
      continue;
    }
    std::vector<double> own = turned(j, part, mean);
    const std::size_t stride = own.size() / count();
    for (uword k = 0; k < count(); ++k)
      for (uword r = 0; r < pull[k].n_rows; ++r)
        own[k * stride + 2 + r] += std::pow(families_[j]->noise(k), 2) * pull[k](r, j);
    families_[j]->update(own, penalty);
    shift(j, mean, -1);
  }
}

JointExperts JointExperts::with_means(const std::vector<mat>& means) const {
  JointExperts out(*this);
  for (uword j = 1; j < targets(); ++j) out.shift(j, means, 1);
  return out;
}

double JointExperts::log_prior() const {
  if (of_means_) {
    JointExperts turned = with_means(means());
    turned.of_means_ = false;
    return turned.log_prior();
  }
  double sum = 0;
  for (const auto& family : families_) sum += family->log_prior();
  return sum;
}

void JointExperts::scores(const Batch& batch, uword k, mat& out) const {
  out.set_size(batch.rows, 0);
  mat own;
  each_target(batch, [&](uword j, const Batch& one) {
    families_[j]->scores(one, k, own);
    out.insert_cols(out.n_cols, own);
  });
}

/// From slopes by the coefficients of means to those by the chain's.
void JointExperts::turn_back(std::vector<std::vector<double>>& slopes, const std::vector<mat>& means,
                             const std::vector<mat>& pull) const {
  const uword p = means[0].n_rows;
  for (uword k = 0; k < count(); ++k)
    for (uword j = 0; j < targets(); ++j) {
      double* own = slopes[j].data() + k * (p + j + 1);
      const vec by_mean = vec(own, p) + pull[k].col(j);
      std::copy(by_mean.begin(), by_mean.end(), own);
      for (uword i = 0; i < j; ++i) own[p + i] += arma::dot(means[k].col(i), by_mean);
    }
}

/// Families are ordered by expert, and so is the whole: an expert's part holds those of its targets.
void JointExperts::add_prior_gradient(std::span<double> gradient) const {
  std::vector<std::vector<double>> slopes;
  if (of_means_) {
    const std::vector<mat> mean = means();
    const JointExperts turned = with_means(mean);
    slopes = turned.prior_slopes();
    turn_back(slopes, mean, turned.pulls(slopes, mean));
  } else {
    slopes = prior_slopes();
  }
  std::size_t begin = 0;
  const std::size_t all = gradient.size() / count();
  for (const std::vector<double>& own : slopes) {
    const std::size_t size = own.size() / count();
    for (uword k = 0; k < count(); ++k)
      for (std::size_t j = 0; j < size; ++j) gradient[k * all + begin + j] += own[k * size + j];
    begin += size;
  }
}

mat JointExperts::mixing(uword k, mat& means) const {
  const uword m = targets(), p = chain(0, k).n_elem;
  means.zeros(p, m);
  mat mix(m, m, arma::fill::eye);
  for (uword j = 0; j < m; ++j) {
    const vec own = chain(j, k);
    means.col(j) = own.head(p);
    for (uword i = 0; i < j; ++i) {
      means.col(j) += own[p + i] * means.col(i);
      mix.row(j) += own[p + i] * mix.row(i);
    }
  }
  return mix;
}

std::unique_ptr<ExpertFamily> JointExperts::marginal(uword j) const {
  if (!full_ || j == 0) return families_[j]->clone();
  std::unique_ptr<ExpertFamily> out = families_[0]->clone();
  mat means;
  for (uword k = 0; k < count(); ++k) {
    const mat mix = mixing(k, means);
    double variance = 0;
    for (uword i = 0; i <= j; ++i) variance += std::pow(mix(j, i) * families_[i]->noise(k), 2);
    for (const Field& field : out->fields(k)) {
      if (field.name == "coefficients") std::copy_n(means.colptr(j), means.n_rows, field.values.begin());
      if (field.name == "noise") field.values[0] = std::sqrt(variance);
    }
  }
  return out;
}

mat JointExperts::correlation(uword k) const {
  if (!full_) return {};
  mat means;
  mat scaled = mixing(k, means);
  for (uword i = 0; i < targets(); ++i) scaled.col(i) *= families_[i]->noise(k);
  scaled = arma::normalise(scaled, 2, 1);
  return scaled * scaled.t();
}

}  // namespace

std::unique_ptr<ExpertFamily> make_joint(std::string_view family, const ExpertShape& shape) {
  return std::make_unique<JointExperts>(family, shape);
}

}  // namespace moekit
