#include "model_read_sparse.hpp"

#include "float_text.hpp"
#include "model_names.hpp"

namespace moekit {

RoutingRule read_routing(const Node& node, std::size_t experts) {
  RoutingRule rule;
  rule.score = static_cast<RoutingRule::Score>(node.at("score").one_of(kGateScores));
  rule.top_k = node.at("top_k").whole();
  if (rule.top_k > experts) node.at("top_k").fail("is more than there are experts");
  const auto one_each = [&](const char* key, std::size_t size) {
    if (size != 0 && size != experts) node.at(key).fail("does not have a number for each expert");
  };
  rule.bias = node.at("bias").numbers();
  one_each("bias", rule.bias.size());
  const Node shared = node.at("shared"), order = node.at("hash_order");
  one_each("shared", shared.size());
  for (std::size_t k = 0; k < shared.size(); ++k) {
    rule.shared.push_back(static_cast<std::uint8_t>(shared[k].code()));
    if (shared[k].code() > 1) shared[k].fail("is neither 0 nor 1");
  }
  one_each("hash_order", order.size());
  std::vector<bool> seen(experts, false);
  for (std::size_t k = 0; k < order.size(); ++k) {
    rule.hash_order.push_back(order[k].code());
    if (rule.hash_order[k] >= experts || seen[rule.hash_order[k]]) order[k].fail("is no expert of its own");
    seen[rule.hash_order[k]] = true;
  }
  return rule;
}

double network_numbers(const Model& model, double inputs, double outputs) {
  double numbers = 0;
  for (const uword width : model.hidden) {
    numbers += inputs * static_cast<double>(width);
    inputs = static_cast<double>(width) + 1;
  }
  return numbers + inputs * outputs;
}

void read_arrays(const Node& node, ExpertFamily& experts) {
  for (const FloatField& f : experts.float_fields()) {
    const Node from = node.at("arrays").at(std::string(f.name).c_str());
    if (!parse_float_text(from.raw_text(), f.values))
      from.fail("does not hold " + std::to_string(f.values.size()) + " finite numbers");
  }
}

Neurons read_neurons(const Node& node, const Model& model, std::size_t bytes) {
  Neurons n;
  n.count = node.at("count").code();
  n.heads = node.at("heads").whole(65536);
  n.picks = node.at("picks").whole(65536);
  n.key_width = node.at("key_width").whole(65536);
  if (n.count == 0 || n.heads == 0 || n.picks == 0 || n.key_width == 0) node.fail("has a size of zero");
  if (!gate_traits(model.gate_family).product_keys) node.fail("does not suit the gate");
  // Every neuron takes more than a byte of the file, and so does every query.
  if (n.count > bytes || n.heads * n.key_width > bytes || n.heads * n.picks > (std::size_t{1} << 20))
    node.fail("has an impossible size");
  return n;
}

}  // namespace moekit
