#include "lower/lower.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include "error.h"
#include "graph/validate.h"
#include "insert/ops_calls.h"
#include "lower/aten_node.h"
#include "lower/builder.h"
#include "lower/lower_codes.h"
#include "lower/remove_channels.h"
#include "lower/tables.h"

namespace qat::lower {
namespace {

using capture::Kind;
using capture::TraceNode;

class Lowering {
 public:
  explicit Lowering(Engine& engine) : engine_(engine), build_(engine) {}

  graph::Model run() {
    mark_needed();
    for (size_t i = 0; i < engine_.trace.nodes.size(); ++i) {
      if (needed_[i]) lower_node(static_cast<int64_t>(i));
    }
    return build_.finish();
  }

 private:
  const TraceNode& node(int64_t index) const { return engine_.trace.nodes[index]; }
  const insert::SitePlan& site(int64_t index) const { return engine_.plan.sites[index]; }

  // Nodes that the outputs depend on and that depend on an input or on the batch.
  void mark_needed() {
    const auto& trace = engine_.trace;
    needed_.assign(trace.nodes.size(), false);
    std::vector<bool> reached(trace.values.size(), false);
    for (const int64_t id : trace.outputs) reached[id] = true;
    for (size_t i = trace.nodes.size(); i-- > 0;) {
      for (const int64_t id : trace.nodes[i].outputs) {
        if (reached[id] && !build_.is_constant(id)) needed_[i] = true;
      }
      if (!needed_[i]) continue;
      for (const int64_t id : trace.nodes[i].inputs()) reached[id] = true;
    }
  }

  void lower_node(int64_t index) {
    if (!site(index).integer) return island(index);
    switch (node(index).kind) {
      case Kind::conv:
      case Kind::linear:
        return layer(index);
      case Kind::batch_norm:
        return batch_norm(index);
      case Kind::activation:
      case Kind::prelu:
        return activation(index);
      case Kind::binary:
        return binary(index);
      case Kind::unary:
        return unary(index);
      case Kind::dropout:
      case Kind::identity:
        return build_.alias(node(index).outputs[0], node(index).inputs()[0]);
      default:
        return lower_codes(build_, index);
    }
  }

  void island(int64_t index) {
    const TraceNode& recorded = node(index);
    if (recorded.kind == Kind::dropout || recorded.kind == Kind::identity) {
      return build_.alias(recorded.outputs[0], recorded.inputs()[0]);
    }
    std::vector<int64_t> reads;
    auto attributes = aten_attributes(recorded, reads);
    std::vector<int64_t> inputs, outputs;
    for (const int64_t id : reads) inputs.push_back(build_.as_real(id));
    for (size_t k = 0; k < recorded.outputs.size(); ++k) {
      const std::string suffix = k == 0 ? "" : ":" + std::to_string(k);
      outputs.push_back(build_.new_real(recorded.outputs[k], recorded.name + suffix));
    }
    build_.add(recorded.name, std::move(attributes), std::move(inputs), outputs);
    for (size_t k = 0; k < outputs.size(); ++k) build_.set_real(recorded.outputs[k], outputs[k]);
  }

  at::Tensor constant_argument(const TraceNode& recorded, std::optional<size_t> index) {
    if (!index || recorded.arguments[*index].values.empty()) return {};
    return build_.evaluate(recorded.arguments[*index].values[0]);
  }

  // What parse_conv and parse_linear say, with the tensors' places filled in.
  std::vector<c10::IValue> arguments_with_presence(const TraceNode& recorded) {
    auto plain = recorded.plain_arguments();
    for (size_t i = 0; i < plain.size(); ++i) {
      if (!recorded.arguments[i].values.empty()) plain[i] = at::full({1}, 0.0, at::kFloat);
    }
    return plain;
  }

  void layer(int64_t index) {
    const TraceNode& recorded = node(index);
    const auto plain = arguments_with_presence(recorded);
    const capture::Arguments arguments(recorded.op.schema(), plain.data());
    size_t input = 0, weight_index = 1;
    std::optional<size_t> bias;
    at::Tensor weight;
    if (recorded.kind == Kind::linear) {
      const auto call = capture::parse_linear(arguments);
      input = call.input, weight_index = call.weight, bias = call.bias;
      weight = constant_argument(recorded, weight_index);
      if (call.weight_transposed) weight = weight.t();
    } else {
      weight = constant_argument(recorded, weight_index);
      const auto call = capture::parse_conv(arguments, weight.dim(), weight.sizes());
      bias = call.bias;
    }
    const WeightRecipe& recipe = site(index).weight;
    insert::WeightBank& bank = engine_.weights;
    const auto [codes, scale] = bank.quantize(bank.entry_of(index), weight, {}).quantized;
    const int64_t value = recorded.arguments[input].values[0];
    size_t operand = 0;
    while (recorded.inputs()[operand] != value) ++operand;
    const int64_t source = build_.codes_operand(index, operand);
    const insert::Codes in = build_.target(quantizer_of(index, operand, value));
    const int64_t output = recorded.outputs[0];
    build_.layers[output] = {index,
                             codes,
                             scale * in.params.scale,
                             bank.kept_channels(index, constant_argument(recorded, bias)),
                             recipe.code_format(),
                             source};
    if (engine_.plan.value_quantizer[output] != insert::kNoQuantizer) finish_layer(output);
  }

  int quantizer_of(int64_t index, size_t operand, int64_t value) const {
    const int edge = site(index).operands[operand];
    return edge != insert::kNoQuantizer ? edge : engine_.plan.value_quantizer[value];
  }

  // The unfolded result, quantized at once.
  void finish_layer(int64_t value) {
    const int64_t real = build_.as_real(value);
    build_.forget_real(value);
    build_.set_real(value, real);
  }

  bool folds(const TraceNode& recorded) const {
    const int64_t input = recorded.inputs()[0];
    const auto layer = build_.layers.find(input);
    if (layer == build_.layers.end() || build_.has_codes(input)) return false;
    const bool matrix = engine_.trace.values[input].rank() == 2;
    return node(layer->second.node).kind == Kind::conv || matrix;
  }

  void batch_norm(int64_t index) {
    const TraceNode& recorded = node(index);
    const auto plain = arguments_with_presence(recorded);
    const capture::Arguments arguments(recorded.op.schema(), plain.data());
    const auto tensor = [&](const char* name) {
      return constant_argument(recorded, arguments.index_of(name));
    };
    const auto kept = [&](const char* name) {
      return engine_.weights.kept_channels(index, tensor(name));
    };
    const double eps = arguments.get("eps").toDouble();
    const int64_t input = recorded.inputs()[0], output = recorded.outputs[0];
    const int64_t real = build_.new_real(output, recorded.name + ".value");
    const auto fold = [&](const at::Tensor& multiplier, const at::Tensor& bias) {
      return insert::call::fold_batch_norm(multiplier, bias, kept("weight"), kept("bias"),
                                           tensor("running_mean"), tensor("running_var"), eps);
    };
    if (folds(recorded)) {
      const auto& layer = build_.layers.at(input);
      const auto [multiplier, bias] = fold(layer.multiplier, layer.bias);
      build_.emit_layer(layer, multiplier, bias, node(layer.node).name, real);
    } else {
      const auto [multiplier, bias] = fold({}, {});
      graph::AffineAttributes attributes{
          build_.add_tensor(recorded.name + ".multiplier", multiplier),
          build_.add_tensor(recorded.name + ".bias", bias)};
      build_.add(recorded.name, attributes, {build_.as_real(input)}, {real});
    }
    build_.set_real(output, real);
  }

  void activation(int64_t index) {
    const TraceNode& recorded = node(index);
    const auto plain = recorded.plain_arguments();
    graph::ActivationAttributes attributes;
    if (recorded.kind == Kind::prelu) {
      const int64_t channels = engine_.trace.values[recorded.inputs()[0]].shape.at(1).constant;
      const at::Tensor slope = build_.evaluate(recorded.inputs()[1]).expand({channels});
      attributes.activation.kind = numerics::ActivationKind::leaky_relu;
      attributes.slope = build_.add_tensor(recorded.name + ".slope", slope);
    } else {
      attributes.activation =
          capture::parse_activation({recorded.op.schema(), plain.data()}, recorded.stem);
    }
    const int64_t input = build_.as_real(recorded.inputs()[0]);
    const int64_t real = build_.new_real(recorded.outputs[0], recorded.name + ".value");
    build_.add(recorded.name, attributes, {input}, {real});
    build_.set_real(recorded.outputs[0], real);
  }

  void binary(int64_t index) {
    const TraceNode& recorded = node(index);
    const auto plain = recorded.plain_arguments();
    const auto op = capture::parse_binary({recorded.op.schema(), plain.data()}, recorded.stem);
    std::vector<int64_t> inputs;
    for (const int64_t id : recorded.inputs()) inputs.push_back(build_.as_real(id));
    const int64_t real = build_.new_real(recorded.outputs[0], recorded.name + ".value");
    build_.add(recorded.name, graph::BinaryAttributes{*op}, std::move(inputs), {real});
    build_.set_real(recorded.outputs[0], real);
  }

  void unary(int64_t index) {
    const TraceNode& recorded = node(index);
    const int64_t input = recorded.inputs()[0], output = recorded.outputs[0];
    const insert::Codes in = build_.target(engine_.plan.value_quantizer[input]);
    const auto reals = unary_table(recorded.op, recorded.plain_arguments(), in).values;
    const int quantizer = engine_.plan.value_quantizer[output];
    const int64_t source = build_.codes_operand(index, 0);
    if (quantizer == insert::kNoQuantizer) {
      const int64_t real = build_.new_real(output, recorded.name + ".value");
      const graph::LookupAttributes attributes{build_.add_tensor(recorded.name + ".table", reals)};
      build_.add(recorded.name, attributes, {source}, {real});
      build_.set_real(output, real);
      return;
    }
    const at::Tensor codes = insert::call::quantize(reals, build_.target(quantizer));
    const int64_t made = build_.new_codes(output, quantizer, recorded.name);
    const graph::LookupAttributes attributes{build_.add_tensor(recorded.name + ".table", codes)};
    build_.add(recorded.name, attributes, {source}, {made});
    build_.set_codes(output, made);
  }

  Engine& engine_;
  Builder build_;
  std::vector<bool> needed_;
};

}  // namespace

graph::Model lower(Engine& engine) {
  at::NoGradGuard no_grad;
  if (engine.access.is_training()) {
    throw Error("convert: the model is in training mode; call eval() first.");
  }
  const insert::Progress progress = engine.progress();
  const std::string unfinished =
      insert::unfinished(engine.trace, engine.plan, engine.recipe.schedule, progress.fraction);
  if (!unfinished.empty()) throw Error("convert: " + unfinished);
  engine.bank.begin_forward({true, false, progress, false});
  graph::Model model = Lowering(engine).run();
  // Without pruning the file has the layers' own shapes, whatever their weights are.
  if (engine.recipe.prune.method != PruneMethod::none) remove_channels(model);
  graph::validate(model, "convert");
  return model;
}

}  // namespace qat::lower
