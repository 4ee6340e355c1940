#include "moekit/targets.hpp"

#include "moekit/error.hpp"

namespace moekit {

Model marginal(const Model& model, uword j) {
  if (j >= model.schema.targets())
    throw Error(Errc::usage, "the model has no target number " + std::to_string(j + 1));
  Model out;
  out.schema = model.schema;
  out.schema.target = model.schema.target_at(j);
  out.schema.further_targets.clear();
  out.family = model.family;
  out.gate_family = model.gate_family;
  for (const Mixture& member : model.members) {
    Mixture one = member;
    one.experts = Value<ExpertFamily>(member.experts->marginal(j));
    out.members.push_back(std::move(one));
  }
  return out;
}

Block target_block(const Block& block, uword j) {
  Block out = block;
  if (block.target) out.target = block.target_column(j);
  return out;
}

}  // namespace moekit
