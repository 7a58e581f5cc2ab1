#pragma once
// Building small models for the executor tests.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "error.h"
#include "runtime/executor.h"

namespace qat::runtime::testing {

using namespace graph;
using Sizes = std::vector<int64_t>;

template <typename T>
Tensor tensor_of(TensorType type, Sizes shape, const std::vector<T>& elements) {
  Tensor tensor{type, std::move(shape), {}};
  tensor.bytes.resize(elements.size() * sizeof(T));
  std::copy(elements.begin(), elements.end(), tensor.data<T>());
  return tensor;
}

inline Tensor floats(Sizes shape, const std::vector<float>& elements) {
  return tensor_of(TensorType::float32, std::move(shape), elements);
}

template <typename T>
std::vector<T> elements(const Tensor& tensor) {
  return {tensor.data<T>(), tensor.data<T>() + tensor.numel()};
}

// The first size is the batch, the others are constant.
Shape batched(const Sizes& rest);

class Builder {
 public:
  Model model;

  int64_t input(ElementType type, Shape shape, const std::string& name = "x");
  int64_t codes_input(Shape shape, numerics::QuantParams params,
                      numerics::IntFormat format = numerics::kUint8);
  int64_t node(Attributes attributes, std::vector<int64_t> inputs, Value output);
  // Results with the shape of the first input, if no other is given.
  int64_t float_node(Attributes attributes, std::vector<int64_t> inputs);
  int64_t float_node(Attributes attributes, std::vector<int64_t> inputs, Shape shape);
  int64_t codes_node(Attributes attributes, std::vector<int64_t> inputs, Shape shape);
  int64_t quantize(int64_t value, numerics::QuantParams params,
                   numerics::IntFormat format = numerics::kUint8);
  int64_t relu(int64_t value);
  std::string add_tensor(Tensor tensor);
  void output(int64_t value) { model.graph.outputs.push_back(value); }
  const Value& value(int64_t index) const { return model.graph.values[static_cast<size_t>(index)]; }

 private:
  int64_t add_value(Value value);
};

// Random material from a seeded generator.
class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int64_t between(int64_t low, int64_t high) {  // both included
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  float real(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 8) * 0x1p-24f;
  }
  template <typename T>
  const T& pick(const std::vector<T>& list) {
    return list[static_cast<size_t>(between(0, static_cast<int64_t>(list.size()) - 1))];
  }
  Tensor weights(Sizes shape);
  Tensor reals(Sizes shape, float low, float high);

 private:
  std::mt19937 engine_;
};

struct ConvShape {
  int64_t channels = 1, outputs = 1, groups = 1;
  Sizes input, kernel, stride, padding, dilation, output_padding;  // per spatial axis
  bool transposed = false;
  bool bias = true;
  Sizes output() const;  // spatial, by the formula of torch's documentation
};

// A conv node with random weights behind codes `x`.
int64_t add_conv(Builder& builder, Random& random, int64_t x, const ConvShape& shape);
int64_t add_linear(Builder& builder, Random& random, int64_t x, int64_t outputs);

// what() of the qat::Error that `action` throws.
template <typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace qat::runtime::testing
