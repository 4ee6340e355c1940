#include "train/unit.hpp"

#include "train/em.hpp"

namespace moekit::train {

void archive_mixture(Archive& archive, Mixture& mixture) {
  mixture.gate->state(archive);
  mixture.experts->state(archive);
  RoutingRule& rule = mixture.routing;
  archive(rule.bias, rule.shared);
  const std::size_t count = mixture.count();
  Archive::require(rule.bias.empty() || rule.bias.size() == count);
  Archive::require(rule.shared.empty() || rule.shared.size() == count);
}

void archive_result(Archive& archive, EmResult& result) {
  PassSums& sums = result.sums;
  archive(result.status, result.passes, result.log_likelihood, result.objective, result.trace,
          result.penalised, result.stretch, result.notes, sums.log_likelihood, sums.log_input, sums.weight,
          sums.rows);
  Archive::require(result.status <= EmResult::Status::stopped);
}

bool Unit::read(bool finished, const Visit& visit) const {
  if (!active()) return false;
  const std::optional<std::string> bytes = checkpoint_->find(key_, finished);
  if (!bytes) return false;
  Archive archive(*bytes);
  visit(archive);
  Archive::require(archive.left().empty());
  return true;
}

void Unit::finish(const Visit& visit) const {
  if (!active()) return;
  // On every rank: all must find the same should the same climb come again.
  Archive archive;
  visit(archive);
  checkpoint_->keep(key_, true, archive.take());
}

void Unit::mark(const Visit& visit) {
  if (!active() || !checkpoint_->writes()) return;
  Archive archive;
  visit(archive);
  mark_ = archive.take();
  if (checkpoint_->due()) checkpoint_->keep(key_, false, mark_);
}

void Unit::halt() const {
  if (!active()) return;
  if (!mark_.empty()) checkpoint_->keep(key_, false, mark_);
  checkpoint_->write();
  throw Halted();
}

Unit unit_of(FitCheckpoint* checkpoint, Mixture& mixture, const Schema& schema, const Source& rows,
             const Compute& compute, const EmOptions& options, std::uint64_t seed) {
  if (!checkpoint) return {};
  Archive archive;
  std::uint64_t of_rows = fingerprint(schema, rows, compute);
  std::string gate(mixture.gate->name()), experts(mixture.experts->name());
  std::uint64_t count = mixture.count(), top_k = mixture.routing.top_k;
  EmOptions own = options;
  archive(of_rows, gate, experts, count, top_k, mixture.routing.score, own.max_passes, own.tolerance,
          own.enough, own.accelerate, seed);
  archive_mixture(archive, mixture);
  return {checkpoint, hash_bytes(0, archive.bytes())};
}

}  // namespace moekit::train
