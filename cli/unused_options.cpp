// Options that were given but that the rest of the command line leaves without effect.
#include "options.hpp"
#include "text.hpp"

namespace moekit::cli {

namespace {

bool has_pieces(const BasisKind& basis) {
  return basis.form == BasisKind::Form::additive || basis.form == BasisKind::Form::ramps;
}

/// Does anything keep the experts busy?
bool balances(const FitOptions& fit, bool batches) {
  const GradientOptions& g = fit.gradient;
  return batches && fit.top_k > 0 && fit.gate_score != RoutingRule::Score::hash && !g.expert_choice &&
         g.balance != std::vector<Balance>{Balance::none};
}

}  // namespace

std::vector<std::string> unused_options(const FitArgs& args, const FitOptions& fit) {
  std::vector<std::string> notes;
  const auto idle = [&](bool is, std::initializer_list<const char*> options, const std::string& why) {
    std::vector<std::string> given;
    for (const std::string name : options)
      if (is && args.was_given(name)) given.push_back("--" + name);
    if (!given.empty())
      notes.push_back(join(given, ", ") + (given.size() > 1 ? " change" : " changes") + " nothing " + why);
  };
  const bool batches = fit.method == Method::adam || fit.method == Method::sgd;
  const bool network = fit.gate == "product-key", linear = fit.hidden.empty() && !network;
  idle(!batches, {"epochs", "batch-size", "learning-rate", "schedule", "weight-decay", "clip", "patience"},
       "without --fit adam or sgd");
  idle(batches, {"max-iterations", "tolerance"}, "with --fit adam or sgd: --epochs says how long they run");
  idle(batches && fit.ensemble == 1 && !args.was_given("validation"), {"patience"}, "without --validation");
  idle(!network, {"heads", "picks", "key-width"}, "without --gate product-key");
  idle(network, {"gate-columns", "gate-basis", "expert-basis", "ridge", "clip", "balance"},
       "with --gate product-key");
  idle(fit.gate == "constant", {"gate-columns", "gate-basis"}, "with --gate constant");
  idle(linear, {"expert-basis"}, "without --expert mlp:H; --expert says what others see");
  const auto constant = BasisKind::Form::constant;
  idle(linear && fit.expert_basis.form == constant && fit.noise_basis.form == constant, {"expert-columns"},
       "with --expert constant");
  idle(!has_pieces(fit.expert_basis) && !has_pieces(fit.gate_basis) && !has_pieces(fit.noise_basis), {"bins"},
       "without additive curves or ramps");
  idle(!balances(fit, batches), {"balance-weight"},
       "where nothing is balanced: that takes --top-k and --fit adam or sgd, without --balance none, hashes "
       "or --expert-choice");
  idle(fit.gate_score == RoutingRule::Score::hash, {"z-loss"}, "with --gate-score hash");
  if (network && fit.method == Method::sgd)
    notes.push_back("--gate product-key: its steps are Adam's and of their own, --fit sgd is the same");
  return notes;
}

}  // namespace moekit::cli
