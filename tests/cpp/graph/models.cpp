#include "graph/models.h"

#include <cstring>
#include <limits>
#include <stdexcept>

namespace qat::testing {

using namespace qat::graph;
using numerics::ActivationKind;
using numerics::IntFormat;

int64_t ModelBuilder::value(const std::string& name, ElementType type, Shape shape) {
  Value value;
  value.name = name;
  value.type = type;
  value.shape = std::move(shape);
  model.graph.values.push_back(value);
  return static_cast<int64_t>(model.graph.values.size()) - 1;
}

int64_t ModelBuilder::floats(const std::string& name, Shape shape) {
  return value(name, ElementType::float32, std::move(shape));
}

int64_t ModelBuilder::codes(const std::string& name, Shape shape, numerics::QuantParams qparams,
                            IntFormat format) {
  const int64_t index = value(name, ElementType::codes, std::move(shape));
  model.graph.values[index].qparams = qparams;
  model.graph.values[index].format = format;
  return index;
}

int64_t ModelBuilder::same(const std::string& name, int64_t like, Shape shape) {
  Value value = model.graph.values[like];
  value.name = name;
  value.shape = std::move(shape);
  model.graph.values.push_back(value);
  return static_cast<int64_t>(model.graph.values.size()) - 1;
}

void ModelBuilder::node(const std::string& name, Attributes attributes, std::vector<int64_t> inputs,
                        std::vector<int64_t> outputs) {
  model.graph.nodes.push_back({name, std::move(attributes), std::move(inputs), std::move(outputs)});
}

std::string ModelBuilder::tensor(const std::string& name, TensorType type,
                                 std::vector<int64_t> shape) {
  Tensor tensor{type, std::move(shape), {}};
  tensor.bytes.resize(static_cast<size_t>(tensor.numel()) * element_size(type));
  model.tensors[name] = std::move(tensor);
  return name;
}

std::string ModelBuilder::weight(const std::string& name, std::vector<int64_t> shape,
                                 IntFormat format) {
  tensor(name, TensorType::int8, std::move(shape));
  Tensor& weight = model.tensors[name];
  const int codes = format.quant_max() - format.quant_min() + 1;
  for (int64_t i = 0; i < weight.numel(); ++i) {
    weight.data<int8_t>()[i] = static_cast<int8_t>(format.quant_min() + i % codes);
  }
  return name;
}

std::string ModelBuilder::channel(const std::string& name, int64_t channels) {
  tensor(name, TensorType::float32, {channels});
  for (int64_t i = 0; i < channels; ++i) {
    model.tensors[name].data<float>()[i] = static_cast<float>(i) + 0.5f;
  }
  return name;
}

namespace {

// The values that later parts of the model start from.
struct Values {
  int64_t image, features, pooled;
};

ConvAttributes convolution(ModelBuilder& b, const std::string& name, std::vector<int64_t> shape,
                           IntFormat format, int64_t channels) {
  ConvAttributes a;
  a.weight = b.weight(name + ".weight", std::move(shape), format);
  a.weight_format = format;
  a.multiplier = b.channel(name + ".multiplier", channels);
  return a;
}

void add_convolutions(ModelBuilder& b, Values& v, IntFormat format) {
  const int64_t x = b.floats("image", {kBatch, fixed(3), fixed(8), fixed(8)});
  b.model.graph.inputs.push_back(x);
  v.image = b.codes("image.codes", {kBatch, fixed(3), fixed(8), fixed(8)}, {0.1f, 128});
  b.node("image.quantize", QuantizeAttributes{}, {x}, {v.image});

  const Shape shape{kBatch, fixed(4), fixed(8), fixed(8)};
  ConvAttributes conv = convolution(b, "conv1", {4, 3, 3, 2}, format, 4);
  conv.bias = b.channel("conv1.bias", 4);
  conv.stride = {1, 2};
  conv.padding = {1, 4};
  conv.dilation = {1, 1};
  conv.output_padding = {0, 0};
  const int64_t c = b.floats("conv1", shape);
  b.node("conv1", conv, {v.image}, {c});

  const int64_t r = b.floats("relu6", shape);
  b.node("relu6", ActivationAttributes{{ActivationKind::clamp, -0.1f, 6.0f}, ""}, {c}, {r});
  const int64_t n = b.floats("bn", shape);
  b.node("bn", AffineAttributes{b.channel("bn.multiplier", 4), b.channel("bn.bias", 4)}, {r}, {n});
  const int64_t p = b.floats("prelu", shape);
  b.node("prelu",
         ActivationAttributes{{ActivationKind::leaky_relu, 0, 0}, b.channel("prelu.slope", 4)}, {n},
         {p});
  const int64_t q = b.codes("prelu.codes", shape, {0.25f, -3}, numerics::kInt8);
  b.node("prelu.quantize", QuantizeAttributes{}, {p}, {q});
  const int64_t m = b.same("maxpool", q, {kBatch, fixed(4), fixed(4), fixed(4)});
  b.node("maxpool", MaxPoolAttributes{{3, 2}, {2, 2}, {1, 0}, {1, 1}, false}, {q}, {m});

  ConvAttributes up = convolution(b, "up", {4, 3, 2, 2}, format, 6);
  up.stride = {2, 2};
  up.padding = {0, 0};
  up.dilation = {1, 1};
  up.output_padding = {1, 0};
  up.groups = 2;
  up.transposed = true;
  const int64_t u = b.floats("up", {kBatch, fixed(6), fixed(9), fixed(8)});
  b.node("up", up, {m}, {u});
  v.features = b.codes("up.codes", {kBatch, fixed(6), fixed(9), fixed(8)}, {0.5f, 3}, {4, false});
  b.node("up.quantize", QuantizeAttributes{}, {u}, {v.features});
}

void add_pools(ModelBuilder& b, Values& v) {
  const int64_t a = b.floats("avgpool", {kBatch, fixed(6), fixed(5), fixed(4)});
  b.node("avgpool", AvgPoolAttributes{{2, 2}, {2, 2}, {0, 0}, true, false, 3}, {v.features}, {a});
  v.pooled = b.codes("avgpool.codes", {kBatch, fixed(6), fixed(5), fixed(4)}, {0.1f, 7});
  b.node("avgpool.quantize", QuantizeAttributes{}, {a}, {v.pooled});
  const int64_t d = b.floats("adaptive", {kBatch, fixed(6), fixed(2), fixed(3)});
  b.node("adaptive", AdaptiveAvgPoolAttributes{{2, 3}}, {v.pooled}, {d});
  const int64_t m = b.floats("mean", {kBatch, fixed(6), fixed(1), fixed(1)});
  b.node("mean", MeanAttributes{{2, 3}, true}, {v.pooled}, {m});
  int64_t last = d;
  const char* names[] = {"add", "sub", "mul"};
  for (const Binary op : {Binary::add, Binary::sub, Binary::mul}) {
    const char* name = names[static_cast<int>(op)];
    const int64_t result = b.floats(name, {kBatch, fixed(6), fixed(2), fixed(3)});
    b.node(name, BinaryAttributes{op}, {last, m}, {result});
    last = result;
  }
  b.model.graph.outputs.push_back(last);
}

void add_tables(ModelBuilder& b, const Values& v) {
  const Shape shape = b.model.graph.values[v.pooled].shape;
  const int64_t gelu = b.codes("gelu", shape, {0.2f, 1}, {4, true});
  b.node("gelu", LookupAttributes{b.tensor("gelu.table", TensorType::int8, {256})}, {v.pooled},
         {gelu});
  const int64_t sigmoid = b.floats("sigmoid", shape);
  b.node("sigmoid", LookupAttributes{b.tensor("sigmoid.table", TensorType::float32, {16})}, {gelu},
         {sigmoid});
  const int64_t real = b.floats("gelu.float", shape);
  b.node("gelu.dequantize", DequantizeAttributes{}, {gelu}, {real});
  b.model.graph.outputs.push_back(sigmoid);
  b.model.graph.outputs.push_back(real);
}

// Returns codes [B, 12 * 9 * 3].
int64_t add_layout(ModelBuilder& b, const Values& v) {
  const int64_t p = v.pooled;
  const int64_t cat = b.same("cat", p, {kBatch, fixed(12), fixed(5), fixed(4)});
  b.node("cat", ConcatAttributes{1}, {p, p}, {cat});
  const int64_t pad = b.same("pad", p, {kBatch, fixed(12), fixed(6), fixed(6)});
  b.node("pad", PadAttributes{{0, 0, 1, 2}, {0, 0, 0, 0}, 7}, {cat}, {pad});
  const int64_t up = b.same("resize", p, {kBatch, fixed(12), fixed(12), fixed(18)});
  b.node("resize", UpsampleNearestAttributes{{2, 3}}, {pad}, {up});
  const int64_t cut = b.same("slice", p, {kBatch, fixed(3), fixed(12), fixed(18)});
  b.node("slice", SliceAttributes{1, fixed(1), fixed(12), 4}, {up}, {cut});
  const int64_t all = b.same("batch_slice", p, {kBatch, fixed(3), fixed(12), fixed(18)});
  b.node("batch_slice", SliceAttributes{0, fixed(0), kBatch, 1}, {cut}, {all});
  const int64_t turned = b.same("permute", p, {kBatch, fixed(12), fixed(18), fixed(3)});
  b.node("permute", PermuteAttributes{{0, 2, 3, 1}}, {all}, {turned});
  const Shape flat{{2, 0}, fixed(324)};
  const int64_t reshaped = b.same("flatten", p, flat);
  b.node("flatten", ReshapeAttributes{flat}, {turned}, {reshaped});
  return reshaped;
}

void add_head(ModelBuilder& b, int64_t features, IntFormat format) {
  const Shape shape{{2, 0}, fixed(5)};
  LinearAttributes fc;
  fc.weight = b.weight("fc.weight", {5, 324}, format);
  fc.weight_format = format;
  fc.multiplier = b.channel("fc.multiplier", 5);
  fc.bias = b.channel("fc.bias", 5);
  const int64_t logits = b.floats("fc", shape);
  b.node("fc", fc, {features}, {logits});

  const int64_t mask = b.value("mask", ElementType::boolean, {fixed(5)});
  b.node("mask", ConstantAttributes{b.tensor("mask", TensorType::boolean, {5})}, {}, {mask});
  const int64_t ids = b.value("ids", ElementType::int64, {fixed(2), fixed(1)});
  b.node("ids", ConstantAttributes{b.tensor("ids", TensorType::int64, {2, 1})}, {}, {ids});
  const int64_t masked = b.floats("masked_fill", shape);
  const double infinity = std::numeric_limits<double>::infinity();
  const double third = 1.0 / 3.0;
  const AtenList arguments{{InputArgument{0}},
                           {InputArgument{1}},
                           {-infinity},
                           {NoneArgument{}},
                           {true},
                           {third},
                           {2.0},
                           {-0.0},
                           {std::string("none \"\xc3\xa9")},
                           {Affine{3, -1}},
                           {Affine{0, -7}},
                           {AtenList{{AtenList{}}, {Affine{0, 4}}, {Affine{2, 0}}}}};
  b.node("masked_fill", AtenAttributes{"aten::masked_fill.Scalar", arguments}, {logits, mask},
         {masked});
  b.model.graph.outputs.push_back(masked);
  b.model.graph.outputs.push_back(ids);
}

}  // namespace

Model every_operator(int bits) {
  const IntFormat format{bits, true, bits == 8};
  ModelBuilder b;
  Values v{};
  add_convolutions(b, v, format);
  add_pools(b, v);
  add_tables(b, v);
  add_head(b, add_layout(b, v), format);
  b.model.graph.output_names = {"mul", "sigmoid", "gelu", "masked", "ids"};
  b.model.provenance = {{"job", "line\n\"quoted\""}, {"n\xc3\xb6te", ""}};
  return b.model;
}

Model tiny_model() {
  ModelBuilder b;
  const Shape shape{kBatch, fixed(1), fixed(2)};
  const int64_t x = b.floats("x", shape);
  const int64_t q = b.codes("q", shape, {0.5f, 3}, {4, false});
  const int64_t c = b.floats("c", shape);
  const int64_t r = b.floats("r", shape);
  b.model.graph.inputs = {x};
  b.model.graph.outputs = {r};
  b.node("in", QuantizeAttributes{}, {x}, {q});
  ConvAttributes conv = convolution(b, "conv", {1, 1, 3}, {4, true}, 1);
  conv.bias = b.channel("conv.bias", 1);
  conv.stride = {1};
  conv.padding = {1};
  conv.dilation = {1};
  conv.output_padding = {0};
  b.node("conv", conv, {q}, {c});
  b.node("relu6", ActivationAttributes{{ActivationKind::clamp, 0.0f, 6.0f}, ""}, {c}, {r});
  return b.model;
}

Node& node_named(Model& model, const std::string& name) {
  for (Node& node : model.graph.nodes) {
    if (node.name == name) return node;
  }
  throw std::logic_error("no node " + name);
}

Value& value_named(Model& model, const std::string& name) {
  for (Value& value : model.graph.values) {
    if (value.name == name) return value;
  }
  throw std::logic_error("no value " + name);
}

}  // namespace qat::testing
