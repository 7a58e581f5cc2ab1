#include "lower/builder.h"

#include "error.h"
#include "lower/aten_node.h"
#include "lower/tensors.h"

namespace qat::lower {
namespace {

using capture::Source;

graph::ElementType element_type(const capture::TraceValue& value, const std::string& name) {
  switch (value.dtype) {
    case at::kFloat:
      return graph::ElementType::float32;
    case at::kLong:
      return graph::ElementType::int64;
    case at::kBool:
      return graph::ElementType::boolean;
    default:
      break;
  }
  throw Error("convert: '" + name + "': expected a tensor of float32, int64 or bool, got " +
              std::string(c10::toString(value.dtype)) + "; cast it in the model.");
}

// A number in the model's code is recorded as a 0-d float64 tensor. It takes no part in type
// promotion, and ATen rounds it to the float32 of the tensors that it meets.
bool is_number(const capture::TraceValue& value) {
  return value.source == Source::constant && value.dtype == at::kDouble && value.rank() == 0;
}

}  // namespace

Builder::Builder(Engine& engine)
    : engine_(engine),
      reals_(engine.trace.values.size(), kAbsent),
      codes_(engine.trace.values.size(), kAbsent) {
  for (const auto& [name, tensor] : engine.access.tensors()) parameters_.emplace(name, tensor);
  for (const int64_t input : trace().inputs) {
    reals_[input] = new_real(input, "input" + std::to_string(trace().values[input].index));
    model_.graph.inputs.push_back(reals_[input]);
  }
}

int64_t Builder::push(graph::Value value) {
  model_.graph.values.push_back(std::move(value));
  return static_cast<int64_t>(model_.graph.values.size()) - 1;
}

int64_t Builder::new_real(int64_t value, const std::string& name) {
  const auto& recorded = trace().values[value];
  return push({name, element_type(recorded, name), recorded.shape, {}, {}});
}

insert::Codes Builder::target(int quantizer) const {
  const auto& bank = engine_.bank;
  if (!bank.initialized(quantizer)) {
    throw Error("convert: the quantizer '" + bank.plan(quantizer).name +
                "' has seen no data; run calibrate() or train before converting.");
  }
  return bank.target(quantizer);
}

int64_t Builder::new_codes(int64_t value, int quantizer, const std::string& name) {
  const insert::Codes codes = target(quantizer);
  return push(
      {name, graph::ElementType::codes, trace().values[value].shape, codes.format, codes.params});
}

int64_t Builder::new_intermediate(const std::string& name, graph::Value like) {
  like.name = name;
  return push(std::move(like));
}

void Builder::add(const std::string& name, graph::Attributes attributes,
                  std::vector<int64_t> inputs, std::vector<int64_t> outputs) {
  std::string unique = name;
  const int64_t taken = node_names_[name]++;
  if (taken > 0) unique += "." + std::to_string(taken);
  model_.graph.nodes.push_back(
      {unique, std::move(attributes), std::move(inputs), std::move(outputs)});
}

std::string Builder::add_tensor(const std::string& name, const at::Tensor& tensor) {
  std::string unique = name;
  for (int64_t k = 1; model_.tensors.count(unique) > 0; ++k)
    unique = name + "." + std::to_string(k);
  model_.tensors.emplace(unique, to_graph(tensor, "convert: '" + name + "'"));
  return unique;
}

void Builder::set_real(int64_t value, int64_t id) {
  const int quantizer = plan().value_quantizer[value];
  if (quantizer == insert::kNoQuantizer) {
    reals_[value] = id;
    return;
  }
  const std::string& name = trace().nodes[trace().values[value].index].name;
  codes_[value] = new_codes(value, quantizer, name);
  add(name + ".quantize", graph::QuantizeAttributes{}, {id}, {codes_[value]});
}

void Builder::alias(int64_t value, int64_t of) {
  if (has_codes(of)) {
    codes_[value] = codes_[of];
  } else {
    reals_[value] = as_real(of);
  }
}

int64_t Builder::as_real(int64_t value) {
  if (reals_[value] != kAbsent) return reals_[value];
  if (codes_[value] != kAbsent) {
    const std::string name = model_.graph.values[codes_[value]].name;
    reals_[value] = new_real(value, name + ".real");
    add(name + ".dequantize", graph::DequantizeAttributes{}, {codes_[value]}, {reals_[value]});
    return reals_[value];
  }
  const auto layer = layers.find(value);
  if (layer != layers.end()) {
    const std::string& name = trace().nodes[layer->second.node].name;
    reals_[value] = new_real(value, name + ".value");
    emit_layer(layer->second, layer->second.multiplier, layer->second.bias, name, reals_[value]);
    return reals_[value];
  }
  return reals_[value] = constant(value);
}

int64_t Builder::as_codes(int64_t value, int quantizer) {
  const insert::Codes wanted = target(quantizer);
  if (codes_[value] != kAbsent) {
    const graph::Value& have = graph_value(codes_[value]);
    if (have.qparams == wanted.params && have.format == wanted.format) return codes_[value];
  }
  const uint64_t key = static_cast<uint64_t>(value) << 32 | static_cast<uint32_t>(quantizer);
  const auto known = edges_.find(key);
  if (known != edges_.end()) return known->second;
  const int64_t real = as_real(value);
  const std::string name = plan().quantizers[quantizer].name;
  const int64_t made = new_codes(value, quantizer, name);
  add(name + ".quantize", graph::QuantizeAttributes{}, {real}, {made});
  return edges_[key] = made;
}

int64_t Builder::codes_operand(int64_t index, size_t operand) {
  const int64_t value = trace().nodes[index].inputs()[operand];
  const int edge = plan().sites[index].operands[operand];
  return as_codes(value, edge != insert::kNoQuantizer ? edge : plan().value_quantizer[value]);
}

bool Builder::is_constant(int64_t value) const {
  const auto& recorded = trace().values[value];
  if (recorded.depends_on_input) return false;
  if (recorded.source != Source::node) return true;
  const auto& node = trace().nodes[recorded.index];
  for (const auto& argument : node.arguments) {
    for (const auto& integer : argument.affine) {
      if (integer.per_batch != 0) return false;
    }
  }
  for (const int64_t input : node.inputs()) {
    if (!is_constant(input)) return false;
  }
  return true;
}

at::Tensor Builder::evaluate(int64_t value) {
  const auto known = evaluated_.find(value);
  if (known != evaluated_.end()) return known->second;
  const auto& recorded = trace().values[value];
  if (is_number(recorded)) {
    at::Tensor number = recorded.constant.clone();
    number.unsafeGetTensorImpl()->set_wrapped_number(true);
    return number;
  }
  if (recorded.source == Source::constant) return recorded.constant;
  if (recorded.source == Source::parameter) {
    const auto found = parameters_.find(recorded.parameter);
    if (found == parameters_.end()) {
      throw Error("convert: the model has no parameter or buffer '" + recorded.parameter +
                  "' any more; it had when it was prepared.");
    }
    return found->second.detach();
  }
  const auto& node = trace().nodes[recorded.index];
  std::vector<int64_t> inputs;
  const auto attributes = aten_attributes(node, inputs);
  std::vector<at::Tensor> tensors;
  for (const int64_t input : inputs) tensors.push_back(evaluate(input));
  const auto results = call_aten(attributes, tensors, /*batch=*/1);
  for (size_t i = 0; i < results.size(); ++i) evaluated_[node.outputs[i]] = results[i];
  return evaluated_.at(value);
}

int64_t Builder::constant(int64_t value) {
  const auto& recorded = trace().values[value];
  const std::string name =
      !recorded.parameter.empty() ? recorded.parameter : "constant" + std::to_string(value);
  const bool number = is_number(recorded);
  const at::Tensor tensor = number ? evaluate(value).to(at::kFloat) : evaluate(value);
  const auto type = number ? graph::ElementType::float32 : element_type(recorded, name);
  const int64_t made = push({name, type, recorded.shape, {}, {}});
  add(name, graph::ConstantAttributes{add_tensor(name, tensor)}, {}, {made});
  return made;
}

void Builder::emit_layer(const Layer& layer, const at::Tensor& multiplier, const at::Tensor& bias,
                         const std::string& name, int64_t output) {
  const auto& node = trace().nodes[layer.node];
  const std::string weight = add_tensor(name + ".weight", layer.weight_codes);
  const std::string scale = add_tensor(name + ".multiplier", multiplier);
  const std::string offset = bias.defined() ? add_tensor(name + ".bias", bias) : std::string();
  if (node.kind == capture::Kind::linear) {
    add(name, graph::LinearAttributes{weight, layer.weight_format, scale, offset}, {layer.input},
        {output});
    return;
  }
  const auto plain = node.plain_arguments();
  const auto call = capture::parse_conv({node.op.schema(), plain.data()},
                                        static_cast<int64_t>(layer.weight_codes.dim()),
                                        layer.weight_codes.sizes());
  const auto& g = call.geometry;
  add(name,
      graph::ConvAttributes{weight, layer.weight_format, scale, offset, g.stride, g.padding,
                            g.dilation, g.output_padding, g.groups, g.transposed},
      {layer.input}, {output});
}

graph::Model Builder::finish() {
  for (const int64_t output : trace().outputs) model_.graph.outputs.push_back(as_real(output));
  return std::move(model_);
}

}  // namespace qat::lower
