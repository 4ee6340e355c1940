#pragma once
#include <mutex>

#include "layer/forward.hpp"
#include "moekit/layer.hpp"

namespace moekit {

struct Layer::State {
  State(const LayerWeights& weights, const LayerOptions& o)
      : options(o), packed(weights, o.type, o.trainable, o.compute) {}

  std::unique_ptr<layer::Workspace> take_space() {
    const std::lock_guard lock(mutex);
    if (spaces.empty()) return std::make_unique<layer::Workspace>();
    auto space = std::move(spaces.back());
    spaces.pop_back();
    return space;
  }
  void give_back(std::unique_ptr<layer::Workspace> space) {
    const std::lock_guard lock(mutex);
    spaces.push_back(std::move(space));
  }

  LayerOptions options;
  layer::PackedLayer packed;
  std::mutex mutex;
  std::vector<std::unique_ptr<layer::Workspace>> spaces;  ///< one for each pass that runs at a time
};

struct LayerTrace::State {
  State(const Routing& routing, std::size_t rows, std::size_t experts) : slots(routing, rows, experts) {}
  layer::Slots slots;
  layer::Workspace space;
  std::vector<float> x;
};

}  // namespace moekit
