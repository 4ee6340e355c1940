#include "gates/families.hpp"
#include "moekit/error.hpp"

namespace moekit {

namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<GateFamily> (*make)(uword experts, uword features);
};
constexpr Row kFamilies[] = {
    {"softmax", make_softmax_gate},
};

}  // namespace

std::unique_ptr<GateFamily> make_gate(std::string_view family, uword experts, uword features) {
  for (const Row& row : kFamilies)
    if (row.name == family) return row.make(experts, features);
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
