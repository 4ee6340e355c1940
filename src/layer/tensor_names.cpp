#include "layer/tensor_names.hpp"

#include <charconv>
#include <string_view>

namespace moekit::layer {

namespace {

// {layer} is the number; the last two are files that hold one block only.
constexpr std::array<std::string_view, 6> kPrefixes = {"model.layers.{layer}.block_sparse_moe.",
                                                       "model.layers.{layer}.mlp.",
                                                       "layers.{layer}.block_sparse_moe.",
                                                       "layers.{layer}.mlp.",
                                                       "block_sparse_moe.",
                                                       ""};
constexpr std::string_view kLayer = "{layer}", kGate = "gate.weight";

void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

}  // namespace

const std::vector<Scheme>& known_schemes() {
  static const std::vector<Scheme> schemes = {
      // Mixtral on the hub.
      {"experts.{expert}.w1.weight", "experts.{expert}.w3.weight", "experts.{expert}.w2.weight", false},
      // Qwen and DeepSeek.
      {"experts.{expert}.gate_proj.weight", "experts.{expert}.up_proj.weight",
       "experts.{expert}.down_proj.weight", false},
      // transformers from version 5 on, in memory.
      {"experts.gate_up_proj", "", "experts.down_proj", true},
      // Mistral's own "consolidated" files: stacked, w2 transposed.
      {"w1", "w3", "w2", false},
      {"w1.weight", "w3.weight", "w2.weight", false},
      // Experts with one hidden layer.
      {"experts.{expert}.w1.weight", nullptr, "experts.{expert}.w2.weight", false},
  };
  return schemes;
}

std::vector<std::string> known_prefixes(std::size_t layer) {
  std::vector<std::string> out;
  for (const std::string_view prefix : kPrefixes)
    if (layer == 0 || prefix.find(kLayer) != std::string_view::npos)
      out.push_back(filled(std::string(prefix), layer, 0));
  return out;
}

bool is_known_gate(const std::string& name, std::size_t& layer) {
  const std::string_view text = name;
  for (const std::string_view prefix : kPrefixes) {
    const std::size_t at = prefix.find(kLayer);
    if (at == std::string_view::npos) {
      layer = 0;
      if (name == std::string(prefix) + std::string(kGate)) return true;
      continue;
    }
    const std::string before(prefix.substr(0, at));
    const std::string after = std::string(prefix.substr(at + kLayer.size())) + std::string(kGate);
    if (!text.starts_with(before) || !text.ends_with(after) || text.size() <= before.size() + after.size())
      continue;
    const std::string_view number = text.substr(before.size(), text.size() - before.size() - after.size());
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), layer);
    if (error == std::errc() && end == number.data() + number.size() && std::to_string(layer) == number)
      return true;
  }
  return false;
}

std::string filled(std::string pattern, std::size_t layer, std::size_t expert, const std::string& matrix) {
  replace_all(pattern, kLayer, std::to_string(layer));
  replace_all(pattern, "{expert}", std::to_string(expert));
  replace_all(pattern, "{matrix}", matrix);
  return pattern;
}

}  // namespace moekit::layer
