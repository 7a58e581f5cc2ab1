// Convolutions and linear layers by the u8 x s8 kernels.

#include "runtime/fast_layers.h"

#include <memory>

#include "kernels/cpu/conv_u8s8.h"
#include "runtime/conv_geometry.h"

namespace qat::runtime {
namespace {

namespace u8s8 = kernels::u8s8;

u8s8::OperandKind operand_kind(graph::Binary op, bool operand_first) {
  if (op == graph::Binary::mul) return u8s8::OperandKind::mul;
  if (op == graph::Binary::add) return u8s8::OperandKind::add;
  return operand_first ? u8s8::OperandKind::sub_from : u8s8::OperandKind::sub;
}

// A layer and what never changes of its epilogue.
struct FastLayer {
  Site site;
  ConvGeometry fixed;
  u8s8::ConvLayer layer;
  u8s8::Epilogue epilogue;
  const graph::Value* output = nullptr;

  Tensor run(const Inputs& inputs, const u8s8::ImageSizes& sizes, Sizes shape,
             MacCount& macs) const {
    Tensor result = make_tensor(storage_type(*output), std::move(shape));
    u8s8::Epilogue own = epilogue;
    if (output->type == graph::ElementType::codes) {
      own.codes = result.data<uint8_t>();
    } else {
      own.values = result.data<float>();
    }
    size_t next = 1;
    for (u8s8::Stage& stage : own.stages) {
      if (stage.kind != u8s8::StageKind::operand) continue;
      const Tensor& operand = *inputs[next++];
      if (operand.type == TensorType::float32) {
        stage.values = operand.data<float>();
      } else {
        stage.codes = operand.data<uint8_t>();
      }
    }
    macs.integer += u8s8::run_conv(layer, sizes, inputs[0]->data<uint8_t>(), own, site.threads);
    return result;
  }
};

u8s8::Stage make_stage(const Site& site, const ChainStage& from, int64_t channels) {
  const graph::Node& node = site.model.graph.nodes[static_cast<size_t>(from.node)];
  const auto tensor = [&](const std::string& name) {
    return node_tensor(site.model, node, name, TensorType::float32, {channels}).data<float>();
  };
  u8s8::Stage stage;
  if (const auto* a = std::get_if<graph::ActivationAttributes>(&node.attributes)) {
    stage.activation = a->activation;
    if (a->slope.empty()) return stage;
    stage.kind = u8s8::StageKind::channel_slope;
    stage.multiplier = tensor(a->slope);
  } else if (const auto* affine = std::get_if<graph::AffineAttributes>(&node.attributes)) {
    stage.kind = u8s8::StageKind::affine;
    stage.multiplier = tensor(affine->multiplier);
    stage.bias = tensor(affine->bias);
  } else {
    const graph::Value& operand = site.model.graph.values[static_cast<size_t>(from.operand)];
    stage.kind = u8s8::StageKind::operand;
    stage.op =
        operand_kind(std::get<graph::BinaryAttributes>(node.attributes).op, from.operand_first);
    stage.params = operand.qparams;
    stage.codes_signed = operand.format.is_signed;
  }
  return stage;
}

std::shared_ptr<FastLayer> prepare(const Site& site, const Chain& chain, const ConvGeometry& g,
                                   const int8_t* weight, ChannelScale scale,
                                   u8s8::InstructionSet set) {
  auto fast = std::make_shared<FastLayer>(FastLayer{site, g, {}, {}, nullptr});
  u8s8::ConvLayer& layer = fast->layer;
  layer.groups = g.groups;
  layer.inputs = g.inputs;
  layer.outputs = g.outputs;
  layer.kernel_h = g.axes[1].kernel;
  layer.kernel_w = g.axes[2].kernel;
  layer.stride_h = g.axes[1].stride;
  layer.stride_w = g.axes[2].stride;
  layer.padding_h = g.axes[1].padding;
  layer.padding_w = g.axes[2].padding;
  layer.dilation_h = g.axes[1].dilation;
  layer.dilation_w = g.axes[2].dilation;
  layer.is_signed = site.input(0).format.is_signed;
  layer.zero_point = site.input(0).qparams.zero_point;
  u8s8::pack_layer(layer, weight, set);

  fast->output = &site.model.graph.values[static_cast<size_t>(chain.output)];
  fast->epilogue.multiplier = scale.multiplier;
  fast->epilogue.bias = scale.bias;
  fast->epilogue.params = fast->output->qparams;
  fast->epilogue.format = fast->output->format;
  for (const ChainStage& stage : chain.stages) {
    const auto& attributes = site.model.graph.nodes[static_cast<size_t>(stage.node)].attributes;
    if (std::holds_alternative<graph::QuantizeAttributes>(attributes)) continue;
    fast->epilogue.stages.push_back(make_stage(site, stage, g.groups * g.outputs));
  }
  return fast;
}

Operator make_conv_layer(const Site& site, const Chain& chain, const graph::ConvAttributes& a,
                         u8s8::InstructionSet set) {
  const ConvGeometry g = conv_geometry(site, a);
  const auto fast = prepare(site, chain, g, site.model.tensors.at(a.weight).data<int8_t>(),
                            channel_scale(site, a.multiplier, a.bias, g.groups * g.outputs), set);
  return [fast](const Inputs& inputs, int64_t, MacCount& macs) {
    const Sizes& in = inputs[0]->shape;  // [N, H, W, C]
    const ConvGeometry now = at_sizes(fast->fixed, fast->site.node, in.data() + 1);
    const int64_t h = now.axes[1].output, w = now.axes[2].output;
    return only(fast->run(inputs, {in[0], in[1], in[2], h, w},
                          {in[0], h, w, now.groups * now.outputs}, macs));
  };
}

Operator make_linear_layer(const Site& site, const Chain& chain, const graph::LinearAttributes& a,
                           u8s8::InstructionSet set) {
  const graph::Shape& in = site.input(0).shape;
  const graph::Shape& out = site.output().shape;
  if (in.empty() || out.empty() || in.back().constant < 1) {
    fail(site.node, "needs an input of rank 1 or more with at least one feature");
  }
  ConvGeometry g;
  g.inputs = in.back().constant;
  g.outputs = out.back().constant;
  const Tensor& weight =
      node_tensor(site.model, site.node, a.weight, TensorType::int8, {g.outputs, g.inputs});
  const auto fast = prepare(site, chain, g, weight.data<int8_t>(),
                            channel_scale(site, a.multiplier, a.bias, g.outputs), set);
  return [fast](const Inputs& inputs, int64_t, MacCount& macs) {
    Sizes shape = inputs[0]->shape;
    const int64_t rows = inputs[0]->numel() / fast->fixed.inputs;
    shape.back() = fast->fixed.outputs;
    // One image, one position wide, whose rows are the leading axes.
    return only(fast->run(inputs, {1, rows, 1, rows, 1}, std::move(shape), macs));
  };
}

}  // namespace

bool has_fast_layer(const graph::Node& node) {
  if (std::holds_alternative<graph::LinearAttributes>(node.attributes)) return true;
  const auto* conv = std::get_if<graph::ConvAttributes>(&node.attributes);
  return conv != nullptr && !conv->transposed && conv->stride.size() == 2;
}

Operator make_fast_layer(const Site& site, const Chain& chain, u8s8::InstructionSet set) {
  if (const auto* conv = std::get_if<graph::ConvAttributes>(&site.node.attributes)) {
    return make_conv_layer(site, chain, *conv, set);
  }
  return make_linear_layer(site, chain, std::get<graph::LinearAttributes>(site.node.attributes),
                           set);
}

}  // namespace qat::runtime
