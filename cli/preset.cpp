// --preset: many options by one name.
#include "moekit/schema.hpp"
#include "options.hpp"

namespace moekit::cli {

namespace {

/// Rows below which time allows more members; rows from which on an update may take more of them.
constexpr double kFewRows = 5'000, kManyRows = 20'000;

/// Changes options that the user left alone.
class Preset {
 public:
  explicit Preset(FitArgs& args) : args_(args) {}
  template <class T>
  void set(const char* option, T& value, const T& to) const {
    if (!args_.was_given(option)) value = to;
  }

 private:
  FitArgs& args_;
};

}  // namespace

FitArgs with_preset(FitArgs args, const Schema& schema) {
  if (args.preset != "accurate") return args;
  const Preset preset(args);
  const std::string family = family_of(args.fit, schema);
  const bool networks = (family == "gaussian" || family == "logistic") && schema.targets() == 1;
  preset.set("ensemble", args.fit.ensemble, networks && schema.total_weight < kFewRows ? 20 : 10);
  if (!networks) {  // what networks cannot be
    preset.set<std::string>("expert", args.expert, "additive");
    return args;
  }
  preset.set<std::string>("expert", args.expert, "mlp:64,64");
  preset.set<std::string>("expert-basis", args.expert_basis, "ramps");
  preset.set<std::string>("gate", args.fit.gate, "mlp:32");
  preset.set<std::string>("fit", args.method, "adam");
  preset.set("epochs", args.fit.gradient.epochs, 300);
  preset.set<uword>("batch-size", args.fit.gradient.batch_size, schema.total_weight < kManyRows ? 64 : 256);
  return args;
}

}  // namespace moekit::cli
