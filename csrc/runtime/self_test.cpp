#include "runtime/self_test.h"

#include <algorithm>

#include "error.h"
#include "runtime/fast_executor.h"

namespace qat::runtime {
namespace {

using graph::ElementType;
using graph::Shape;
using graph::TensorType;
using kernels::u8s8::InstructionSet;

constexpr int64_t kSize = 9;  // of the images: neither tiles nor quads divide 81

// A deterministic sequence without a pattern that packing could hide.
class Sequence {
 public:
  uint32_t next() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
  float real(float low, float high) {
    return low + (high - low) * static_cast<float>(next() % 4096) / 4096.0f;
  }

 private:
  uint32_t state_ = 1;
};

class ModelBuilder {
 public:
  int64_t value(ElementType type, int64_t channels, bool is_signed = false) {
    graph::Value v;
    v.name = "v" + std::to_string(model.graph.values.size());
    v.type = type;
    v.shape = Shape{{1, 0}, {0, channels}, {0, kSize}, {0, kSize}};
    v.format = is_signed ? numerics::kInt8 : numerics::kUint8;
    v.qparams = {0.02f, is_signed ? -5 : 120};
    model.graph.values.push_back(v);
    return static_cast<int64_t>(model.graph.values.size()) - 1;
  }
  int64_t node(graph::Attributes attributes, std::vector<int64_t> inputs, ElementType type,
               int64_t channels, bool is_signed = false) {
    const int64_t output = value(type, channels, is_signed);
    const std::string name = "n" + std::to_string(model.graph.nodes.size());
    model.graph.nodes.push_back({name, std::move(attributes), std::move(inputs), {output}});
    return output;
  }
  int64_t channels(int64_t v) const {
    return model.graph.values[static_cast<size_t>(v)].shape[1].constant;
  }
  int64_t quantize(int64_t v, bool is_signed = false) {
    return node(graph::QuantizeAttributes{}, {v}, ElementType::codes, channels(v), is_signed);
  }
  int64_t clamp(int64_t v) {
    const numerics::Activation relu6{numerics::ActivationKind::clamp, 0.0f, 2.0f};
    return node(graph::ActivationAttributes{relu6, ""}, {v}, ElementType::float32, channels(v));
  }
  int64_t conv(int64_t x, int64_t outputs, int64_t kernel, int64_t groups) {
    const int64_t inputs = channels(x) / groups;
    graph::ConvAttributes a;
    a.weight = tensor(TensorType::int8, {outputs, inputs, kernel, kernel});
    a.multiplier = tensor(TensorType::float32, {outputs});
    a.bias = tensor(TensorType::float32, {outputs});
    a.stride = a.dilation = {1, 1};
    a.padding = {kernel / 2, kernel / 2};
    a.output_padding = {0, 0};
    a.groups = groups;
    return node(a, {x}, ElementType::float32, outputs);
  }
  Tensor filled(TensorType type, std::vector<int64_t> shape, float low, float high) {
    Tensor t{type, std::move(shape), {}};
    t.bytes.resize(static_cast<size_t>(t.numel()) * graph::element_size(type));
    for (int64_t i = 0; i < t.numel(); ++i) {
      if (type == TensorType::int8) {
        t.data<int8_t>()[i] = static_cast<int8_t>(sequence_.next() % 256);
      } else {
        t.data<float>()[i] = sequence_.real(low, high);
      }
    }
    return t;
  }
  graph::Model model;

 private:
  std::string tensor(TensorType type, std::vector<int64_t> shape) {
    const std::string name = "t" + std::to_string(model.tensors.size());
    model.tensors[name] = filled(type, std::move(shape), 0.0f, 0.0003f);
    return name;
  }
  Sequence sequence_;
};

// 3 -> 70 channels (full and partial tiles), depthwise 3x3 and 5x5, a residual of codes, one of
// floats, signed codes and a pointwise layer of 10 outputs.
graph::Model small_model() {
  ModelBuilder b;
  const int64_t x = b.value(ElementType::float32, 3);
  b.model.graph.inputs = {x};
  const int64_t first = b.quantize(b.clamp(b.conv(b.quantize(x), 70, 3, 1)));
  const int64_t wide = b.quantize(b.clamp(b.conv(first, 70, 3, 70)), /*is_signed=*/true);
  const int64_t deep = b.conv(b.quantize(b.conv(wide, 70, 5, 70)), 70, 1, 1);
  const int64_t real = b.node(graph::DequantizeAttributes{}, {wide}, ElementType::float32, 70);
  const int64_t sum = b.node(graph::BinaryAttributes{}, {deep, real}, ElementType::float32, 70);
  const int64_t codes = b.quantize(b.clamp(sum));
  const int64_t left = b.conv(codes, 10, 1, 1), right = b.conv(first, 10, 3, 1);
  const int64_t both = b.node(graph::BinaryAttributes{}, {left, right}, ElementType::float32, 10);
  b.model.graph.outputs = {b.quantize(both), b.conv(codes, 10, 1, 1)};
  return std::move(b.model);
}

}  // namespace

bool passes_self_test(InstructionSet set) {
  const graph::Model model = small_model();
  ModelBuilder builder;
  const std::vector<graph::Tensor> inputs{
      builder.filled(graph::TensorType::float32, {1, 3, kSize, kSize}, -3.0f, 3.0f)};
  const Options serial{1, nullptr};
  const auto expected = make_reference_executor(model, serial)->run(inputs);
  const auto got = make_fast_executor(model, serial, set)->run(inputs);
  return std::equal(expected.begin(), expected.end(), got.begin(), got.end(),
                    [](const auto& a, const auto& b) { return a.bytes == b.bytes; });
}

InstructionSet trusted_instruction_set() {
  static const InstructionSet chosen = [] {
    for (const InstructionSet set : kernels::u8s8::instruction_sets()) {
      if (passes_self_test(set)) return set;
    }
    throw Error(
        "self-test: no kernel gives the bits of the reference executor on this machine; "
        "the library was built with a compiler or options that change float arithmetic");
  }();
  return chosen;
}

}  // namespace qat::runtime
