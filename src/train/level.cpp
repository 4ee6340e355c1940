#include "train/level.hpp"

#include <algorithm>
#include <cmath>

namespace moekit::train {

namespace {

constexpr int kMostPasses = 100;
/// Less than this, a unit of weight, is the noise of mini-batches.
constexpr double kFallen = 0.01;

}  // namespace

void begin_at_level(Mixture& mixture, const Schema& schema) {
  constexpr double kLarge = 1e6;
  const Target& target = schema.target;
  if (target.task != Task::count || !schema.offset.empty() || !(target.mean > kLarge)) return;
  for (uword k = 0; k < mixture.count(); ++k)
    for (const Field& f : mixture.experts->fields(k))
      if (f.name == "coefficients" && f.values[0] == 0) f.values[0] = std::log(target.mean);
}

Mixture constant_expert(const SearchTask& task, const Mixture& like) {
  const bool many = task.source.rows() > kSampleRows;
  MemorySource sample;
  if (many) sample = sample_rows(task.source, kSampleRows, task.options.seed);
  const Source& rows = many ? static_cast<const Source&>(sample) : task.source;
  ExpertShape shape;
  shape.classes = like.experts->classes();
  shape.targets = like.experts->targets();
  shape.full_covariance = full_covariance_of(task.options, task.schema);
  shape.most_mean = task.schema.most_mean();
  Mixture one;
  one.gate = Value<GateFamily>(make_gate("constant", GateShape{}));
  one.experts = Value<ExpertFamily>(make_experts(like.experts->name(), shape));
  fit_regions(one, task, rows, task.compute, std::vector<std::uint32_t>(rows.rows(), 0));
  run_em(one, task.schema, rows, em_options(task, rows, kMostPasses), task.compute);
  return one;
}

void add_level(Mixture& mixture, const Mixture& constant) {
  if (!family_traits(mixture.experts->name()).log_link) return;
  Mixture copy = constant;
  const std::vector<Field> level = copy.experts->fields(0);
  for (uword k = 0; k < mixture.count(); ++k)
    for (const Field& f : mixture.experts->fields(k)) {
      const auto same = std::ranges::find(level, f.name, &Field::name);
      const bool intercept = f.name.starts_with("coefficients") || f.name.starts_with("log_scale");
      if (intercept && same != level.end()) f.values[0] += same->values[0];
    }
}

std::string note_of_descent(const Candidate& fitted, const Mixture& constant, const SearchTask& task) {
  const EmResult& result = fitted.result;
  if (result.status == EmResult::Status::stopped || task.options.gradient.loss != Loss::likelihood) return {};
  PassSums sums;
  em_pass(constant, task.schema, task.source, task.compute, sums);
  if (result.log_likelihood < sums.log_likelihood)
    return "the fit is worse than one constant expert: training diverged, or has hardly begun; try another "
           "--learning-rate or more --epochs";
  // Of held-out rows the best epoch is kept, wherever the last one ended.
  if (!task.options.validation && !result.trace.empty() &&
      result.trace.front() - result.trace.back() > kFallen * sums.weight)
    return "the log-likelihood fell while it was trained; try a lower --learning-rate";
  return {};
}

}  // namespace moekit::train
