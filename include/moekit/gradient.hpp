#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "moekit/block.hpp"

namespace moekit {

/// How the parameters are found.
enum class Method {
  em,     ///< expectation maximisation, from several starts
  lbfgs,  ///< L-BFGS on all rows (Liu & Nocedal 1989), from the same starts
  adam,   ///< Adam on mini-batches (Kingma & Ba 2015), weight decay apart (Loshchilov & Hutter 2019)
  sgd,    ///< stochastic gradient descent with momentum
};

/// What a gradient fit makes small, a row; o_k: the expert's mean, or its probabilities of the classes, and d
/// the target, or the class as zeros and a one (Jacobs, Jordan, Nowlan & Hinton 1991).
enum class Loss {
  likelihood,   ///< -ln sum_k g_k f_k(y | x)
  competitive,  ///< -ln sum_k g_k exp(-|d - o_k|^2 / 2), eq. 1.3: experts compete for rows
  cooperative,  ///< |d - sum_k g_k o_k|^2, eq. 1.1: experts share each row
};

/// How experts are kept busy under top-k routing.
enum class Balance {
  automatic,   ///< adam and sgd with picks: bias; else none
  none,        ///< nothing
  bias,        ///< what is added to scores when picking moves against the load (Wang et al. 2024; no loss)
  switching,   ///< alpha E sum_i f_i P_i (Fedus, Zoph & Shazeer 2022), f over the picks
  importance,  ///< w CV^2 of the sums of weights (Shazeer et al. 2017)
  load,        ///< w CV^2 of the smooth numbers of rows of noisy top-k (same paper)
};

/// Options of gradient fits and of routing while they train.
struct GradientOptions {
  int epochs = 100;          ///< passes over the rows (adam, sgd)
  uword batch_size = 256;    ///< rows of an update (adam, sgd)
  double learning_rate = 0;  ///< of the first update; 0: 0.003 for adam, 0.03 for sgd
  bool cosine = true;        ///< the rate falls to zero along a cosine; else it is constant
  double weight_decay = 0;   ///< share of every slope that an update takes away, times the rate
  double clip = 1;           ///< longest gradient of an update, a row; 0: any
  int patience = 10;         ///< epochs without a better held-out score before the fit stops
  Loss loss = Loss::likelihood;

  std::vector<Balance> balance = {Balance::automatic};
  double balance_weight = 0;   ///< of a balancing loss, or step of the bias; 0: by kind (docs/math.md, 14)
  double z_loss = 0;           ///< weight of the mean squared log-sum-exp of the logits (Zoph et al. 2022)
  bool noisy = false;          ///< noisy top-k (Shazeer et al. 2017), in training only
  bool expert_choice = false;  ///< in training experts choose rows (Zhou et al. 2022)
  double capacity = 0;         ///< rows an expert takes of a batch, times an even share; 0: all (dropless)
  bool reseed = true;          ///< experts that no row goes to begin again from a copy of the busiest
};

/// "64" or "64,32" as widths of hidden layers. Errors: Errc::usage, naming `what`.
std::vector<uword> parse_widths(std::string_view text, const std::string& what);
std::string widths_text(const std::vector<uword>& widths);

}  // namespace moekit
