// Options of gradient fits and of routing, for train and cv.
#include <CLI/CLI.hpp>

#include "options.hpp"
#include "text.hpp"

namespace moekit::cli {

void add_gradient(CLI::App& command, FitArgs& args) {
  const std::string group = "Gradient fits";
  GradientOptions& g = args.fit.gradient;
  const auto add = [&](const std::string& name, auto& value, const std::string& text,
                       const std::string& type) {
    return command.add_option(name, value, text)->type_name(type)->group(group)->capture_default_str();
  };
  add("--fit", args.method,
      "how: em, lbfgs (all rows, from the same starts), adam, sgd (mini-batches, from random weights)",
      "METHOD")
      ->check(one_of({"em", "lbfgs", "adam", "sgd"}))
      ->group("Model and fit");
  add("--loss", args.loss,
      "likelihood, competitive or cooperative (Jacobs et al. 1991, eqs. 1.3 and 1.1; gaussian and logistic)",
      "LOSS")
      ->check(one_of({"likelihood", "competitive", "cooperative"}));
  add("--epochs", g.epochs, "passes over the rows (adam, sgd)", "N")->check(whole_number(1, 1000000));
  add("--batch-size", g.batch_size, "rows of an update", "N")->check(whole_number(1, 1 << 20));
  add("--learning-rate", g.learning_rate, "of the first update; 0: 0.003 for adam, 0.03 for sgd", "X")
      ->check(number_at_least(0));
  add("--schedule", args.schedule, "of the learning rate: cosine (down to zero) or constant", "NAME")
      ->check(one_of({"cosine", "constant"}));
  add("--weight-decay", g.weight_decay, "share of each parameter taken away, times the rate", "X")
      ->check(number_at_least(0));
  add("--clip", g.clip, "longest gradient of an update; 0: any", "X")->check(number_at_least(0));
  add("--patience", g.patience, "epochs without a better score on the --validation rows before the fit stops",
      "N")
      ->check(whole_number(1, 1000000));
}

void add_routing(CLI::App& command, FitArgs& args) {
  const std::string group = "Routing";
  GradientOptions& g = args.fit.gradient;
  const auto add = [&](const std::string& name, auto& value, const std::string& text,
                       const std::string& type) {
    return command.add_option(name, value, text)->type_name(type)->group(group)->capture_default_str();
  };
  add("--top-k", args.fit.top_k, "experts that answer for a row; 0: all", "K")
      ->check(whole_number(0, 100000));
  add("--gate-score", args.gate_score,
      "what experts are picked and weighed by: softmax, sigmoid (of each score), hash (of the inputs)",
      "NAME")
      ->check(one_of({"softmax", "sigmoid", "hash"}));
  add_list(
      command, "--balance", args.balance,
      "what keeps experts busy: bias, switch, importance, load, none; losses may be listed (default: bias "
      "with --top-k and adam or sgd, else none)")
      ->type_name("NAMES")
      ->group(group);
  add("--balance-weight", g.balance_weight,
      "weight of a balancing loss, or step of the bias; 0: 0.01 switch, 0.1 importance and load, 0.2 bias",
      "X")
      ->check(number_at_least(0));
  add("--z-loss", g.z_loss, "weight of the squared log-sum-exp of the scores, such as 0.001", "X")
      ->check(number_at_least(0));
  command.add_flag("--noisy-top-k", g.noisy, "noise on the scores in training, of a size that is learnt")
      ->group(group);
  command.add_flag("--expert-choice", g.expert_choice, "in training experts choose rows, not rows experts")
      ->group(group);
  add("--capacity", g.capacity,
      "rows that an expert takes of a batch, as a multiple of an even share; what is over is dropped; 0: all",
      "X")
      ->check(number_at_least(0));
  Neurons& n = args.fit.neurons;
  add("--heads", n.heads, "product-key: queries a row", "N")->check(whole_number(1, 1024));
  add("--picks", n.picks, "product-key: neurons a query", "N")->check(whole_number(1, 1024));
  add("--key-width", n.key_width, "product-key: width of a half-key", "N")->check(whole_number(1, 1024));
  add("--shared-experts", args.fit.shared_experts, "experts that answer for every row, beside the picks", "N")
      ->check(whole_number(0, 100000));
}

}  // namespace moekit::cli
