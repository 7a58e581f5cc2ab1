// Convolutions and linear layers by the u8 x s8 kernels.

#include "runtime/fast_layers.h"

#include <memory>

#include "kernels/cpu/conv_u8s8.h"
#include "runtime/conv_geometry.h"
#include "runtime/parallel.h"

namespace qat::runtime {
namespace {

namespace u8s8 = kernels::u8s8;

u8s8::OperandKind operand_kind(graph::Binary op, bool operand_first) {
  if (op == graph::Binary::mul) return u8s8::OperandKind::mul;
  if (op == graph::Binary::add) return u8s8::OperandKind::add;
  return operand_first ? u8s8::OperandKind::sub_from : u8s8::OperandKind::sub;
}

// A layer and what never changes of its epilogue. It outlives every context that runs it.
struct FastLayer {
  Site site;
  ConvGeometry fixed;
  u8s8::ConvLayer layer;
  u8s8::Epilogue epilogue;
  std::vector<float> multiplier, bias;  // padded
  const graph::Value* output = nullptr;
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
    stage.reads_codes = operand.type == graph::ElementType::codes;
    stage.codes_signed = operand.format.is_signed;
  }
  return stage;
}

std::vector<float> padded(const float* values, int64_t n) {
  std::vector<float> result(static_cast<size_t>(n) + u8s8::kEpiloguePadding, 0.0f);
  if (values != nullptr) std::copy(values, values + n, result.begin());
  return result;
}

std::shared_ptr<FastLayer> prepare(const Site& site, const Chain& chain, const ConvGeometry& g,
                                   const int8_t* weight, ChannelScale scale,
                                   u8s8::InstructionSet set) {
  auto fast = std::make_shared<FastLayer>(FastLayer{site, g, {}, {}, {}, {}, nullptr});
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
  const int64_t channels = layer.channels_out();
  fast->multiplier = padded(scale.multiplier, channels);
  fast->bias = padded(scale.bias, channels);
  fast->epilogue.multiplier = fast->multiplier.data();
  fast->epilogue.bias = fast->bias.data();
  fast->epilogue.has_bias = scale.bias != nullptr;
  fast->epilogue.writes_codes = fast->output->type == graph::ElementType::codes;
  fast->epilogue.params = fast->output->qparams;
  fast->epilogue.format = fast->output->format;
  for (const ChainStage& stage : chain.stages) {
    const auto& attributes = site.model.graph.nodes[static_cast<size_t>(stage.node)].attributes;
    if (std::holds_alternative<graph::QuantizeAttributes>(attributes)) continue;
    fast->epilogue.stages.push_back(make_stage(site, stage, channels));
  }
  fast->epilogue.direct = u8s8::direct_form(
      fast->epilogue, channels, 255.0 * 128.0 * static_cast<double>(g.inputs * layer.taps()));
  return fast;
}

// The layer on fixed views. The pointers are set at each run: inputs of the graph move.
struct BoundLayer {
  std::shared_ptr<const FastLayer> fast;
  u8s8::ImageSizes sizes;
  const View* input = nullptr;
  std::vector<const View*> operands;
  const View* output = nullptr;
  const Workspace* workspace = nullptr;
  u8s8::Epilogue epilogue;

  void operator()(int threads, MacCount& macs) {
    epilogue.codes = output->as<uint8_t>();
    epilogue.values = output->as<float>();
    size_t next = 0;
    for (u8s8::Stage& stage : epilogue.stages) {
      if (stage.kind != u8s8::StageKind::operand) continue;
      stage.values = operands[next]->as<float>();
      stage.codes = operands[next++]->as<uint8_t>();
    }
    const u8s8::ConvTasks tasks = u8s8::split_conv(fast->layer, sizes, threads);
    parallel_tasks(threads, tasks.count, [&](int64_t task, int member) {
      u8s8::run_conv_task(fast->layer, tasks, task, input->as<uint8_t>(), epilogue,
                          workspace->of(member));
    });
    macs.integer += u8s8::conv_macs(fast->layer, sizes);
  }
};

Bound bind(const std::shared_ptr<const FastLayer>& fast, const u8s8::ImageSizes& sizes,
           const Sizes& made, const Binding& at) {
  const auto& inputs = at.inputs;
  for (size_t i = 1; i < inputs.size(); ++i) check_made(fast->site.node, made, *inputs[i]);
  check_made(fast->site.node, made, *at.output);
  // More threads make smaller tasks.
  at.workspace->require(u8s8::split_conv(fast->layer, sizes, 1).memory);
  at.workspace->add_work(u8s8::conv_work(fast->layer, sizes));
  return BoundLayer{fast,      sizes,        inputs[0],     {inputs.begin() + 1, inputs.end()},
                    at.output, at.workspace, fast->epilogue};
}

Binder make_conv_layer(const Site& site, const Chain& chain, const graph::ConvAttributes& a,
                       u8s8::InstructionSet set) {
  const ConvGeometry g = conv_geometry(site, a);
  const std::shared_ptr<const FastLayer> fast =
      prepare(site, chain, g, site.model.tensors.at(a.weight).data<int8_t>(),
              channel_scale(site, a.multiplier, a.bias, g.groups * g.outputs), set);
  return [fast](const Binding& at) {
    const Sizes& in = at.inputs[0]->shape;  // [N, H, W, C]
    const ConvGeometry now = at_sizes(fast->fixed, fast->site.node, in.data() + 1);
    const int64_t h = now.axes[1].output, w = now.axes[2].output;
    const Sizes made{in[0], h, w, now.groups * now.outputs};
    return bind(fast, {in[0], in[1], in[2], h, w}, made, at);
  };
}

Binder make_linear_layer(const Site& site, const Chain& chain, const graph::LinearAttributes& a,
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
  const std::shared_ptr<const FastLayer> fast =
      prepare(site, chain, g, weight.data<int8_t>(),
              channel_scale(site, a.multiplier, a.bias, g.outputs), set);
  return [fast](const Binding& at) {
    const int64_t rows = at.inputs[0]->numel / fast->fixed.inputs;
    Sizes made = at.inputs[0]->shape;
    made.back() = fast->fixed.outputs;
    // One image, one position wide, whose rows are the leading axes.
    return bind(fast, {1, rows, 1, rows, 1}, made, at);
  };
}

}  // namespace

bool has_fast_layer(const graph::Node& node) {
  if (std::holds_alternative<graph::LinearAttributes>(node.attributes)) return true;
  const auto* conv = std::get_if<graph::ConvAttributes>(&node.attributes);
  return conv != nullptr && !conv->transposed && conv->stride.size() == 2;
}

Binder make_fast_layer(const Site& site, const Chain& chain, u8s8::InstructionSet set) {
  if (const auto* conv = std::get_if<graph::ConvAttributes>(&site.node.attributes)) {
    return make_conv_layer(site, chain, *conv, set);
  }
  return make_linear_layer(site, chain, std::get<graph::LinearAttributes>(site.node.attributes),
                           set);
}

}  // namespace qat::runtime
