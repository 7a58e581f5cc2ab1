#include "ptq/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/rsqrt.h>

#include <algorithm>

#include "quantizers/weight_common.h"

namespace qat::ptq {

using capture::Kind;
using capture::Source;
using capture::TraceNode;

at::Tensor BatchNorm::gain() const {
  const at::Tensor inverse = at::rsqrt(variance.to(at::kDouble) + eps);
  return gamma.defined() ? gamma.detach().to(at::kDouble) * inverse : inverse;
}

Layers::Layers(Engine& engine) : trace_(engine.trace), plan_(engine.plan), readers_(trace_) {
  for (const auto& [name, tensor] : engine.access.tensors()) tensors_.emplace(name, tensor);
  for (size_t i = 0; i < trace_.nodes.size(); ++i) {
    const Kind kind = trace_.nodes[i].kind;
    if (kind != Kind::conv && kind != Kind::linear) continue;
    if (auto found = layer(static_cast<int64_t>(i))) {
      of_node_.emplace(found->node, all_.size());
      all_.push_back(std::move(*found));
    }
  }
}

const Layer* Layers::at_node(int64_t node) const {
  const auto found = of_node_.find(node);
  return found == of_node_.end() ? nullptr : &all_[found->second];
}

const std::string& Layers::site_of(int64_t value) const {
  return trace_.nodes[trace_.values[value].index].name;
}

// The float32 parameter or buffer that is the argument, or an undefined tensor where the argument
// is absent. False: something else, or read by others too.
bool Layers::own(const TraceNode& node, const char* argument, at::Tensor& to) const {
  const auto& arguments = node.op.schema().arguments();
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].name() == argument) return own(node, i, to);
  }
  return true;
}

bool Layers::own(const TraceNode& node, size_t argument, at::Tensor& to) const {
  if (node.arguments[argument].values.empty()) return true;
  const int64_t id = node.arguments[argument].values[0];
  const auto& value = trace_.values[id];
  const auto found = tensors_.find(value.parameter);
  if (value.source != Source::parameter || !readers_.only(id) || found == tensors_.end()) {
    return false;
  }
  to = found->second;
  return to.scalar_type() == at::kFloat;
}

// addmm(bias, input, weight.t()), as the C++ front end spells a linear layer.
bool Layers::own_transposed(const TraceNode& node, size_t argument, at::Tensor& to) const {
  const int64_t id = node.arguments[argument].values.at(0);
  const auto& value = trace_.values[id];
  if (value.source != Source::node || value.rank() != 2 || !readers_.only(id)) return false;
  const TraceNode& swap = trace_.nodes[value.index];
  return swap.stem == "t" && own(swap, size_t{0}, to);
}

bool Layers::own_linear(const TraceNode& node, Layer& layer) const {
  const auto plain = node.plain_arguments();
  const auto call = capture::parse_linear({node.op.schema(), plain.data()});
  layer.input = node.arguments[call.input].values.at(0);
  const bool weight = call.weight_transposed ? own_transposed(node, call.weight, layer.weight)
                                             : own(node, call.weight, layer.weight);
  return weight &&
         (call.input == 0 ? own(node, "bias", layer.bias) : own(node, size_t{0}, layer.bias));
}

std::optional<Layer> Layers::layer(int64_t index) const {
  const TraceNode& node = trace_.nodes[index];
  const auto plain = node.plain_arguments();
  const capture::Arguments arguments(node.op.schema(), plain.data());
  Layer made;
  made.node = index;
  made.site = node.name;
  made.integer = plan_.sites[index].integer;
  made.shape = plan_.sites[index].weight_shape;
  const bool linear = node.kind == Kind::linear;
  if (!linear) made.input = node.arguments[0].values.at(0);
  const bool owned = linear ? own_linear(node, made)
                            : own(node, "weight", made.weight) && own(node, "bias", made.bias);
  if (!owned || !made.weight.defined()) return std::nullopt;
  const auto& input = trace_.values[made.input];
  if (!input.depends_on_input || !input.is_float()) return std::nullopt;
  if (!linear) {
    const auto call = capture::parse_conv(arguments, input.rank(), made.weight.sizes());
    if (!call.unsupported.empty()) return std::nullopt;
    made.geometry = call.geometry;
  }
  made.result = made.activated = node.outputs[0];
  if (!add_batch_norm(made)) return std::nullopt;
  add_activation(made);
  return made;
}

// False: a batch norm follows that must not be changed.
bool Layers::add_batch_norm(Layer& layer) const {
  const auto reader = readers_.only(layer.result);
  if (!reader || trace_.nodes[*reader].kind != Kind::batch_norm) return true;
  const TraceNode& node = trace_.nodes[*reader];
  if (!layer.geometry && trace_.values[layer.result].rank() != 2) return true;
  BatchNorm norm;
  const bool whole = own(node, "weight", norm.gamma) && own(node, "bias", norm.beta) &&
                     own(node, "running_mean", norm.mean) &&
                     own(node, "running_var", norm.variance);
  if (!whole || !norm.mean.defined() || !norm.variance.defined()) return false;
  const auto plain = node.plain_arguments();
  norm.eps = capture::Arguments(node.op.schema(), plain.data()).get("eps").toDouble();
  layer.batch_norm = std::move(norm);
  layer.result = layer.activated = node.outputs[0];
  return true;
}

void Layers::add_activation(Layer& layer) const {
  const auto reader = readers_.only(layer.result);
  if (!reader || trace_.nodes[*reader].kind != Kind::activation) return;
  const TraceNode& node = trace_.nodes[*reader];
  const auto plain = node.plain_arguments();
  layer.activation = capture::parse_activation({node.op.schema(), plain.data()}, node.stem);
  layer.activated = node.outputs[0];
}

at::Tensor spread_outputs(const Layer& layer, const at::Tensor& values) {
  return quantizers::spread(values, layer.shape);
}

at::Tensor spread_inputs(const Layer& layer, const at::Tensor& values) {
  const auto& sizes = layer.shape.sizes;
  std::vector<int64_t> shape(sizes.size(), 1);
  if (layer.transposed()) {
    shape[0] = sizes[0];
    return values.reshape(shape);
  }
  const int64_t groups = layer.groups();
  shape[0] = sizes[0];
  shape[1] = sizes[1];
  return values.reshape({groups, 1, sizes[1]})
      .expand({groups, sizes[0] / groups, sizes[1]})
      .reshape(shape);
}

at::Tensor input_absmax(const Layer& layer, const at::Tensor& weight) {
  const at::Tensor magnitudes = weight.abs();
  if (layer.transposed()) return at::amax(magnitudes.flatten(1), {1});
  const auto& sizes = layer.shape.sizes;
  return at::amax(magnitudes.reshape({layer.groups(), sizes[0] / layer.groups(), sizes[1], -1}),
                  {1, 3})
      .flatten();
}

}  // namespace qat::ptq
