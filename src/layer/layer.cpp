#include "moekit/layer.hpp"

#include "layer/layer_state.hpp"
#include "moekit/error.hpp"

namespace moekit {

Layer::Layer(const LayerWeights& weights, const LayerOptions& options) {
  const LayerShape shape = weights.shape();
  if (options.picks == 0 || options.picks > shape.experts)
    throw Error(Errc::usage, std::to_string(options.picks) + " picks a row of " +
                                 std::to_string(shape.experts) + " experts; from 1 to all can be picked");
  if (options.trainable && options.type != WeightType::f32)
    throw Error(Errc::usage, "gradients need weights in float32");
  state_ = std::make_unique<State>(weights, options);
}

Layer::~Layer() = default;
Layer::Layer(Layer&&) noexcept = default;
Layer& Layer::operator=(Layer&&) noexcept = default;

const LayerShape& Layer::shape() const { return state_->packed.shape; }
const LayerOptions& Layer::options() const { return state_->options; }
std::size_t Layer::weight_bytes() const { return state_->packed.bytes(); }

void Layer::forward(const float* x, std::size_t rows, float* y, Routing* routing) const {
  const LayerOptions& o = state_->options;
  auto space = state_->take_space();
  Routing& used = routing ? *routing : space->routing;
  layer::route(state_->packed, x, rows, o.picks, o.compute, used);
  if (rows > 0) {
    const layer::Slots slots(used, rows, shape().experts);
    layer::ForwardPass(state_->packed, slots, x, rows, false, *space, o.compute).run(y);
  }
  state_->give_back(std::move(space));
}

void Layer::forward(const float* x, std::size_t rows, float* y, LayerTrace& trace) const {
  const LayerOptions& o = state_->options;
  if (!o.trainable)
    throw Error(Errc::usage, "the layer was not made for training; set LayerOptions::trainable");
  layer::route(state_->packed, x, rows, o.picks, o.compute, trace.routing);
  // The memory of the last pass serves again, unless somebody else still holds it.
  layer::Workspace space;
  if (trace.state && trace.state.use_count() == 1) space = std::move(trace.state->space);
  trace.state = std::make_shared<LayerTrace::State>(trace.routing, rows, shape().experts);
  trace.state->space = std::move(space);
  trace.state->x.assign(x, x + rows * shape().inputs);
  trace.rows = rows;
  if (rows > 0)
    layer::ForwardPass(state_->packed, trace.state->slots, x, rows, true, trace.state->space, o.compute)
        .run(y);
}

}  // namespace moekit
