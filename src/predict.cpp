#include "moekit/predict.hpp"

#include <algorithm>
#include <cmath>

#include "components.hpp"
#include "moekit/error.hpp"
#include "moekit/targets.hpp"

namespace moekit {

Unit target_unit(const Target& target) {
  if (target.task != Task::regression) return {};
  return {target.mean, target.sd};
}

Moments moments(const mat& weight, const mat& mean, const mat& sd) {
  Moments out;
  out.mean = arma::sum(weight % mean, 1);
  out.within = arma::sqrt(arma::sum(weight % arma::square(sd), 1));
  out.between = arma::sqrt(arma::sum(weight % arma::square(mean.each_col() - out.mean), 1));
  return out;
}

bool gaussian(const Model& model) { return model.family == "gaussian"; }
bool discrete(const Model& model) { return model.schema.target.task == Task::count; }

namespace {

/// A class of probability 0 would make a logarithm infinite.
constexpr double kLeastProbability = 1e-300;
/// Log density of a target so far away that its square is infinite.
constexpr double kLeastLogDensity = -1e300;

bool classifies(const Model& model) { return model.schema.target.task == Task::classification; }

/// The block without its target: nothing that is known about the answer may reach a prediction.
Block inputs_of(const Block& block) {
  Block inputs = block;
  inputs.target = nullptr;
  return inputs;
}

/// Rows without a target get a stand-in, because a family need not cope with NaN (it is no class code); what
/// follows from it is blanked by blank_missing().
class KnownTarget {
 public:
  KnownTarget(const Model& model, const Block& block) : block_(block) {
    if (!block.target) return;
    const Schema& schema = model.schema;
    const auto missing = [&](uword i) {
      for (uword j = 0; j < schema.targets(); ++j)
        if (std::isnan(block.target_column(j)[i])) return true;
      return false;
    };
    for (uword i = 0; i < block.rows; ++i)
      if (missing(i)) missing_.push_back(i);
    if (missing_.empty()) return;
    filled_.assign(block.target, block.target + block.rows * schema.targets());
    for (uword j = 0; j < schema.targets(); ++j) {
      const double stand_in = classifies(model) ? 0 : target_unit(schema.target_at(j)).user(1);
      for (const uword i : missing_) filled_[j * block.rows + i] = stand_in;
    }
    block_.target = filled_.data();
  }
  KnownTarget(const KnownTarget&) = delete;
  KnownTarget& operator=(const KnownTarget&) = delete;

  const Block& block() const { return block_; }
  const std::vector<uword>& missing() const { return missing_; }

 private:
  Block block_;
  std::vector<uword> missing_;
  std::vector<double> filled_;
};

void e_step(const Model& model, const Mixture& member, const Block& block, Posterior& out) {
  out.keep_before = true;
  if (block.target)
    posterior(member, model.schema, block, out);
  else
    gate_weights(member, model.schema, block, out);
}

/// Adds the experts of one member, which counts for `part` of the whole.
void append(const Mixture& member, const Posterior& post, double part, Components& to) {
  mat mean, sd;
  member.experts->moments(post.batch, mean, sd);
  to.weight = arma::join_rows(to.weight, part * post.gate);
  to.mean = arma::join_rows(to.mean, mean);
  to.sd = arma::join_rows(to.sd, sd);
}

/// out_i += part sum_k g_k F_k(at_i).
void add_cumulative(const Mixture& member, const Posterior& post, const vec& at, double part, vec& out) {
  mat each;
  member.experts->cumulative(post.batch, at, each);
  out += part * arma::sum(post.gate % each, 1);
}

/// ln of the average density: acc = ln(exp(acc) + exp(next)), member by member.
void add_logs(vec& acc, const vec& next) {
  for (uword i = 0; i < acc.n_elem; ++i) {
    const double most = std::max(acc[i], next[i]), least = std::min(acc[i], next[i]);
    acc[i] = std::isfinite(most) ? most + std::log1p(std::exp(least - most)) : most;
  }
}

/// A target beyond the reach of numbers has no density anywhere: the gate alone then says who is responsible.
void mend_remote_rows(Posterior& post) {
  for (uword i = 0; i < post.log_likelihood.n_elem; ++i) {
    if (post.log_likelihood[i] > kLeastLogDensity) continue;  // false for NaN too
    post.log_likelihood[i] = kLeastLogDensity;
    post.responsibility.row(i) = post.gate.row(i);
  }
}

/// Mean and spread on the standardised target, where no square can overflow, then the target's units.
void summarise(const Components& c, const Unit& unit, Prediction& out) {
  const Moments m = moments(c.weight, c.mean, c.sd);
  out.mean.set_size(m.mean.n_elem);
  out.sd.set_size(m.mean.n_elem);
  for (uword i = 0; i < m.mean.n_elem; ++i) {
    out.mean[i] = unit.user(m.mean[i]);
    out.sd[i] = unit.sd * std::hypot(m.within[i], m.between[i]);
  }
  out.within = unit.sd * m.within;
  out.between = unit.sd * m.between;
}

/// probability += part sum_k g_k p_k(c | x).
void add_probabilities(const Mixture& member, const Posterior& post, double part, mat& probability) {
  if (probability.is_empty()) probability.zeros(post.batch.rows, member.experts->classes());
  member.experts->add_class_probabilities(post.batch, part * post.gate, probability);
}

/// What one member says of each row: its mean, or its class probabilities.
mat member_answer(const Mixture& member, const Posterior& post) {
  if (member.experts->classes() > 0) {
    mat probability;
    add_probabilities(member, post, 1, probability);
    return probability;
  }
  mat mean, sd;
  member.experts->moments(post.batch, mean, sd);
  return arma::sum(post.gate % mean, 1);
}

/// Variance between members, as they come (Welford).
class MemberSpread {
 public:
  void add(const mat& answer) {
    count_ += 1;
    if (mean_.is_empty()) {
      mean_.zeros(arma::size(answer));
      squares_.zeros(arma::size(answer));
    }
    const mat before = answer - mean_;
    mean_ += before / count_;
    squares_ += before % (answer - mean_);
  }
  vec result() const { return arma::sqrt(arma::sum(squares_, 1) / count_); }

 private:
  double count_ = 0;
  mat mean_, squares_;
};

void finish_classes(Prediction& out) {
  mat& p = out.probability;
  p.transform([](double v) { return v > kLeastProbability ? v : kLeastProbability; });
  p.each_col() /= vec(arma::sum(p, 1));
  out.label = arma::index_max(p, 1);  // ties: the lower code
}

void blank_missing(const std::vector<uword>& missing, Prediction& out) {
  for (const uword i : missing) {
    out.log_density[i] = arma::datum::nan;
    out.responsibility.row(i).fill(arma::datum::nan);
    if (!out.cumulative.is_empty()) out.cumulative[i] = arma::datum::nan;
  }
}

/// Who answers for each row, by falling weight.
void keep_picks(const Mixture& member, const Posterior& post, Prediction& out) {
  if (member.experts->parts(post.batch, out.pick, out.pick_weight)) {
    out.expert = out.pick.col(0);
    return;
  }
  if (post.gate_before.is_empty()) return;
  out.gate_before = post.gate_before;
  const uword n = post.gate.n_rows;
  std::vector<std::vector<uword>> of_row(n);
  uword most = 1;
  for (uword k = 0; k < member.count(); ++k)
    for (uword at = post.picks.begin[k]; at < post.picks.begin[k + 1]; ++at) {
      of_row[post.picks.rows[at]].push_back(k);
      most = std::max<uword>(most, of_row[post.picks.rows[at]].size());
    }
  out.pick.zeros(n, most);
  out.pick_weight.zeros(n, most);
  for (uword i = 0; i < n; ++i) {
    std::stable_sort(of_row[i].begin(), of_row[i].end(),
                     [&](uword a, uword b) { return post.gate(i, a) > post.gate(i, b); });
    for (uword j = 0; j < of_row[i].size(); ++j) {
      out.pick(i, j) = of_row[i][j];
      out.pick_weight(i, j) = post.gate(i, of_row[i][j]);
    }
  }
}

/// What the prediction takes from the first member alone.
void keep_first(const Posterior& post, const Unit& unit, const Components& c, Prediction& out) {
  out.gate = post.gate;
  out.expert = arma::index_max(out.gate, 1);
  if (!c.mean.is_empty()) {
    out.component_mean = c.mean;
    out.component_mean.transform([&](double z) { return unit.user(z); });
    out.component_sd = unit.sd * c.sd;
  }
}

}  // namespace

Prediction predict(const Model& model, const Block& block) {
  const KnownTarget known(model, block);
  const Unit unit = target_unit(model.schema.target);
  const double part = 1.0 / static_cast<double>(model.members.size());
  Prediction out;
  out.has_target = block.target != nullptr;
  out.discrete = discrete(model);
  Components all;
  Posterior post;
  MemberSpread spread;
  if (out.has_target && !classifies(model)) out.cumulative.zeros(block.rows);
  for (const Mixture& member : model.members) {
    const bool first = &member == &model.members.front();
    e_step(model, member, known.block(), post);
    if (classifies(model))
      add_probabilities(member, post, part, out.probability);
    else
      append(member, post, part, all);
    if (first) keep_first(post, unit, all, out);
    if (first) keep_picks(member, post, out);
    if (model.members.size() > 1) spread.add(member_answer(member, post));
    if (!out.has_target) continue;
    mend_remote_rows(post);
    if (!classifies(model)) add_cumulative(member, post, post.batch.target, part, out.cumulative);
    if (first) {
      out.responsibility = post.responsibility;
      out.log_density = post.log_likelihood;
    } else {
      add_logs(out.log_density, post.log_likelihood);
    }
  }
  if (model.members.size() > 1) out.member_spread = unit.sd * spread.result();
  if (classifies(model))
    finish_classes(out);
  else
    summarise(all, unit, out);
  if (out.has_target) {
    out.log_density += std::log(part) + log_unit(model.schema);
    blank_missing(known.missing(), out);
  }
  for (uword j = 0; model.schema.targets() > 1 && j < model.schema.targets(); ++j)
    out.targets.push_back(predict(marginal(model, j), target_block(block, j)));
  return out;
}

Components components(const Model& model, const Block& block) {
  const Block inputs = inputs_of(block);
  const double part = 1.0 / static_cast<double>(model.members.size());
  Components all;
  Posterior post;
  for (const Mixture& member : model.members) {
    gate_weights(member, model.schema, inputs, post);
    append(member, post, part, all);
  }
  return all;
}

vec standard_cumulative(const Model& model, const Block& block, const vec& at) {
  const Block inputs = inputs_of(block);
  const double part = 1.0 / static_cast<double>(model.members.size());
  vec out(block.rows, arma::fill::zeros);
  Posterior post;
  for (const Mixture& member : model.members) {
    gate_weights(member, model.schema, inputs, post);
    add_cumulative(member, post, at, part, out);
  }
  return out;
}

vec cumulative(const Model& model, const Block& block, const vec& at) {
  if (classifies(model)) throw Error(Errc::usage, "a class has no distribution function");
  if (at.n_elem != block.rows)
    throw Error(Errc::usage, "the distribution function needs one value for each row");
  const Unit unit = target_unit(model.schema.target);
  vec standard = at;
  standard.transform([&](double y) { return unit.standard(y); });
  return standard_cumulative(model, block, standard);
}

}  // namespace moekit
