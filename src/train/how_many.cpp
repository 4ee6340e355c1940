#include "train/how_many.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "moekit/rng.hpp"
#include "train/grow.hpp"

namespace moekit::train {

namespace {

constexpr std::uint64_t kFewRows = 2000;  // up to here every fifth in turn is held back
constexpr std::uint32_t kParts = 5;
constexpr uword kMostExperts = 64;
constexpr uword kPatience = 3;  // splits without a gain after which growth ends; or a quarter of the size
constexpr int kWorseDrops = 2;  // experts that may be lost below one standard error before pruning ends

/// Log-likelihood (standardised target) of rows held back, and their weights.
struct Judged {
  vec log_likelihood, weight;
};

/// Mean of a - b over the rows, and its standard error.
std::pair<double, double> compare(const vec& a, const vec& b, const vec& weight) {
  const double total = arma::accu(weight);
  if (!(total > 0)) return {0, 0};
  const vec difference = a - b;
  const double mean = arma::dot(weight, difference) / total;
  return {mean, arma::norm(weight % (difference - mean)) / total};
}

/// One split of the rows with its growing mixture. Of each size the mixture that fits its own rows best
/// stays.
struct Fold {
  MemorySource train, held;
  std::unique_ptr<Grower> grower;
  struct Size {
    double worth = 0;
    Mixture mixture;
    vec log_likelihood;
  };
  std::map<uword, Size> sizes;
};

Judged judge(const Mixture& mixture, const Schema& schema, const Source& held) {
  Judged out{vec(held.rows()), vec(held.rows(), arma::fill::ones)};
  Posterior work;
  BlockData buffer;
  for (std::size_t b = 0; b < held.blocks(); ++b) {
    const Block block = held.read(b, buffer);
    posterior(mixture, schema, block, work);
    for (uword i = 0; i < block.rows; ++i) {
      // A row without weight says nothing, not even through an infinite density.
      const double w = block.weight ? block.weight[i] : 1.0;
      out.weight[block.first + i] = w;
      out.log_likelihood[block.first + i] = w > 0 ? work.log_likelihood[i] : 0.0;
    }
  }
  return out;
}

class HowMany {
 public:
  HowMany(const SearchTask& task, const Mixture& prototype, const Source& rows);
  Growth run();
  bool stopped() const { return progress_.stopped(); }

 private:
  void for_each_fold(const std::function<void(Fold&, const Compute&)>& one);
  void note(Fold& fold);
  bool known(uword size) const;
  vec held_out(uword size) const;
  uword grow();
  void prune(uword from);
  uword best() const;
  uword choice() const;

  const SearchTask& task_;
  Progress progress_;
  std::vector<Fold> fold_;
  vec weight_;  // of all rows held back, fold after fold
  uword most_;
};

HowMany::HowMany(const SearchTask& task, const Mixture& prototype, const Source& rows)
    : task_(task), progress_(task.on_iteration, 1), fold_(rows.rows() <= kFewRows ? kParts : 1) {
  std::vector<std::uint32_t> part(rows.rows());
  // Every part gets its share of the rows in turn, from an order that the seed draws.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order;
  for (std::uint64_t i = 0; i < rows.rows(); ++i)
    order.emplace_back(Rng(task.options.seed, 0x686f6c64, i).next(), i);
  std::ranges::sort(order);
  for (std::uint64_t i = 0; i < rows.rows(); ++i)
    part[order[i].second] = static_cast<std::uint32_t>(i % kParts);
  for (std::uint32_t f = 0; f < fold_.size(); ++f) {
    std::vector<std::uint64_t> train, held;
    for (std::uint64_t i = 0; i < rows.rows(); ++i) (part[i] == f ? held : train).push_back(i);
    fold_[f].train = take_rows(rows, train);
    fold_[f].held = take_rows(rows, held);
  }
  for (const Fold& fold : fold_) {
    const uword before = weight_.n_elem;
    weight_.resize(before + fold.held.rows());
    BlockData buffer;
    for (std::size_t b = 0; b < fold.held.blocks(); ++b) {
      const Block block = fold.held.read(b, buffer);
      for (uword i = 0; i < block.rows; ++i)
        weight_[before + block.first + i] = block.weight ? block.weight[i] : 1.0;
    }
  }
  const std::uint64_t features = prototype.gate_basis.size() + prototype.expert_basis.size();
  most_ = std::clamp<uword>(fold_[0].train.rows() / (2 * features), 2, kMostExperts);
  for_each_fold([&](Fold& fold, const Compute& own) {
    const auto index = static_cast<std::uint64_t>(&fold - fold_.data());
    fold.grower = std::make_unique<Grower>(task_, prototype, fold.train, own, 0x100 + index,
                                           progress_.watch(static_cast<int>(index)));
    note(fold);
  });
}

void HowMany::for_each_fold(const std::function<void(Fold&, const Compute&)>& one) {
  if (fold_.size() == 1) return one(fold_[0], task_.compute);
  for_each_start(fold_.size(), fold_[0].train.rows(), task_.compute,
                 [&](std::size_t i, const Compute& own) { one(fold_[i], own); });
}

void HowMany::note(Fold& fold) {
  const Mixture& mixture = fold.grower->mixture();
  const double worth = fold.grower->worth();
  Fold::Size& size = fold.sizes[mixture.count()];
  if (size.mixture.gate && !(worth > size.worth)) return;
  size = {worth, mixture, judge(mixture, task_.schema, fold.held).log_likelihood};
}

bool HowMany::known(uword size) const {
  return std::ranges::all_of(fold_, [&](const Fold& fold) { return fold.sizes.count(size) > 0; });
}

vec HowMany::held_out(uword size) const {
  vec all;
  for (const Fold& fold : fold_) all = arma::join_cols(all, fold.sizes.at(size).log_likelihood);
  return all;
}

/// Returns the last size.
uword HowMany::grow() {
  uword reference = 1, size = 1;
  while (size < most_ && size < reference + std::max(kPatience, reference / 4) && !progress_.stopped()) {
    for_each_fold([&](Fold& fold, const Compute&) {
      if (fold.grower->grow_to(size + 1)) note(fold);
    });
    if (!known(size + 1)) break;
    ++size;
    const auto [gain, error] = compare(held_out(size), held_out(reference), weight_);
    if (gain > error) reference = size;
  }
  return size;
}

void HowMany::prune(uword from) {
  int worse = 0;
  for (uword size = from; size > 1 && worse < kWorseDrops && !progress_.stopped(); --size) {
    for_each_fold([&](Fold& fold, const Compute&) {
      while (fold.grower->mixture().count() >= size && fold.grower->mixture().count() > 1)
        fold.grower->drop();
      note(fold);
    });
    const auto [loss, error] = compare(held_out(best()), held_out(size - 1), weight_);
    worse = loss > error ? worse + 1 : 0;
  }
}

uword HowMany::best() const {
  uword chosen = 1;
  double most = -arma::datum::inf;
  for (const auto& [size, unused] : fold_[0].sizes) {
    if (!known(size)) continue;
    const double mean = arma::dot(weight_, held_out(size)) / arma::accu(weight_);
    if (!(mean > most)) continue;
    most = mean;
    chosen = size;
  }
  return chosen;
}

uword HowMany::choice() const {
  const vec top = held_out(best());
  for (const auto& [size, unused] : fold_[0].sizes) {
    if (!known(size)) continue;
    const auto [loss, error] = compare(top, held_out(size), weight_);
    if (loss <= error) return size;
  }
  return 1;
}

Growth HowMany::run() {
  prune(grow());
  Growth out;
  out.mixture = fold_[0].sizes.at(choice()).mixture;
  const vec top = held_out(best());
  const double unit = log_unit(task_.schema);
  for (const auto& [size, unused] : fold_[0].sizes) {
    if (!known(size)) continue;
    const vec own = held_out(size);
    const double mean = arma::dot(weight_, own) / arma::accu(weight_);
    out.path.push_back({size, mean + unit, compare(top, own, weight_).second});
  }
  return out;
}

}  // namespace

Growth grow_by_held_out(const SearchTask& task, const Mixture& prototype, bool& stopped) {
  constexpr std::uint64_t kLeastRows = 10;
  if (task.source.rows() < kLeastRows) return {prototype, {}};
  const bool sampled = task.source.rows() > kSampleRows;
  const MemorySource sample =
      sampled ? sample_rows(task.source, kSampleRows, task.options.seed) : MemorySource{};
  HowMany search(task, prototype, sampled ? static_cast<const Source&>(sample) : task.source);
  Growth out = search.run();
  stopped = stopped || search.stopped();
  return out;
}

}  // namespace moekit::train
