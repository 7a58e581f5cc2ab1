#include "runtime/builder.h"

namespace qat::runtime::testing {

Shape batched(const Sizes& rest) {
  Shape shape{{1, 0}};
  for (const int64_t size : rest) shape.push_back({0, size});
  return shape;
}

int64_t Builder::add_value(Value value) {
  if (value.name.empty()) value.name = "v" + std::to_string(model.graph.values.size());
  model.graph.values.push_back(std::move(value));
  return static_cast<int64_t>(model.graph.values.size()) - 1;
}

int64_t Builder::input(ElementType type, Shape shape, const std::string& name) {
  const int64_t index = add_value({name, type, std::move(shape), {}, {}});
  model.graph.inputs.push_back(index);
  return index;
}

int64_t Builder::codes_input(Shape shape, numerics::QuantParams params,
                             numerics::IntFormat format) {
  return quantize(input(ElementType::float32, std::move(shape)), params, format);
}

int64_t Builder::node(Attributes attributes, std::vector<int64_t> inputs, Value output) {
  const int64_t index = add_value(std::move(output));
  const std::string name = "n" + std::to_string(model.graph.nodes.size());
  model.graph.nodes.push_back({name, std::move(attributes), std::move(inputs), {index}});
  return index;
}

int64_t Builder::float_node(Attributes attributes, std::vector<int64_t> inputs) {
  Shape shape = value(inputs[0]).shape;
  return float_node(std::move(attributes), std::move(inputs), std::move(shape));
}

int64_t Builder::float_node(Attributes attributes, std::vector<int64_t> inputs, Shape shape) {
  return node(std::move(attributes), std::move(inputs),
              {"", ElementType::float32, std::move(shape), {}, {}});
}

int64_t Builder::codes_node(Attributes attributes, std::vector<int64_t> inputs, Shape shape) {
  Value output = value(inputs[0]);
  output.name.clear();
  output.shape = std::move(shape);
  return node(std::move(attributes), std::move(inputs), std::move(output));
}

int64_t Builder::quantize(int64_t x, numerics::QuantParams params, numerics::IntFormat format) {
  return node(QuantizeAttributes{}, {x}, {"", ElementType::codes, value(x).shape, format, params});
}

int64_t Builder::relu(int64_t x) {
  return float_node(ActivationAttributes{{numerics::ActivationKind::relu, 0, 0}, ""}, {x});
}

std::string Builder::add_tensor(Tensor tensor) {
  const std::string name = "t" + std::to_string(model.tensors.size());
  model.tensors[name] = std::move(tensor);
  return name;
}

Tensor Random::weights(Sizes shape) {
  Tensor tensor{TensorType::int8, std::move(shape), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.numel()));
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.data<int8_t>()[i] = static_cast<int8_t>(between(-128, 127));
  }
  return tensor;
}

Tensor Random::reals(Sizes shape, float low, float high) {
  Tensor tensor{TensorType::float32, std::move(shape), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.numel()) * 4);
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.data<float>()[i] = real(low, high);
  return tensor;
}

Sizes ConvShape::output() const {
  Sizes result;
  for (size_t i = 0; i < input.size(); ++i) {
    const int64_t reach = dilation[i] * (kernel[i] - 1);
    result.push_back(transposed ? (input[i] - 1) * stride[i] - 2 * padding[i] + reach +
                                      output_padding[i] + 1
                                : (input[i] + 2 * padding[i] - reach - 1) / stride[i] + 1);
  }
  return result;
}

int64_t add_conv(Builder& builder, Random& random, int64_t x, const ConvShape& s) {
  Sizes weight{s.outputs, s.channels / s.groups};
  if (s.transposed) weight = {s.channels, s.outputs / s.groups};
  weight.insert(weight.end(), s.kernel.begin(), s.kernel.end());
  int64_t fan_in = s.channels / s.groups;
  for (const int64_t k : s.kernel) fan_in *= k;
  // Keeps most values within a few units, so that quantized results use many codes.
  const float gain = 1.0f / (6000.0f * static_cast<float>(fan_in));
  ConvAttributes a;
  a.weight = builder.add_tensor(random.weights(weight));
  a.multiplier = builder.add_tensor(random.reals({s.outputs}, -gain, 4 * gain));
  if (s.bias) a.bias = builder.add_tensor(random.reals({s.outputs}, -1, 1));
  a.stride = s.stride;
  a.padding = s.padding;
  a.dilation = s.dilation;
  a.output_padding = s.transposed ? s.output_padding : Sizes(s.stride.size(), 0);
  a.groups = s.groups;
  a.transposed = s.transposed;
  Sizes shape{s.outputs};
  for (const int64_t size : s.output()) shape.push_back(size);
  return builder.float_node(a, {x}, batched(shape));
}

int64_t add_linear(Builder& builder, Random& random, int64_t x, int64_t outputs) {
  Shape shape = builder.value(x).shape;
  const int64_t inputs = shape.back().constant;
  const float gain = 1.0f / (6000.0f * static_cast<float>(inputs));
  LinearAttributes a;
  a.weight = builder.add_tensor(random.weights({outputs, inputs}));
  a.multiplier = builder.add_tensor(random.reals({outputs}, gain, 4 * gain));
  a.bias = builder.add_tensor(random.reals({outputs}, -1, 1));
  shape.back().constant = outputs;
  return builder.float_node(a, {x}, shape);
}

}  // namespace qat::runtime::testing
