#include "gates/families.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<GateFamily> (*make)(const GateShape& shape);
};
constexpr Row kFamilies[] = {
    {"softmax", make_softmax_gate},
};

}  // namespace

std::unique_ptr<GateFamily> make_gate(std::string_view family, const GateShape& shape) {
  for (const Row& row : kFamilies)
    if (row.name == family) return row.make(shape);
  std::string known;
  for (const Row& row : kFamilies) known += (known.empty() ? "" : ", ") + std::string(row.name);
  throw Error(Errc::usage, "there is no gate '" + std::string(family) + "'; known: " + known);
}

std::vector<std::string> gate_families() {
  std::vector<std::string> names;
  for (const Row& row : kFamilies) names.emplace_back(row.name);
  return names;
}

}  // namespace moekit
