// Rules of layers with weights, and of pools.

#include <cstring>

#include "graph/refusal.h"

namespace qat::graph {
namespace {

using testing::every_operator;
using testing::fixed;
using testing::refusal;
using testing::refusal_of;
using testing::value_named;

TEST(ValidateLayers, NonFiniteFloats) {
  for (const char* name :
       {"conv1.multiplier", "conv1.bias", "bn.multiplier", "bn.bias", "fc.multiplier", "fc.bias"}) {
    for (const float bad :
         {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      const std::string message =
          refusal([&](Model& m) { m.tensors[name].data<float>()[2] = bad; });
      EXPECT_NE(message.find("'" + std::string(name) + "' must be finite, got " +
                             std::to_string(bad) + " at [2]"),
                std::string::npos)
          << message;
    }
  }
}

TEST(ValidateLayers, WeightCodesLieInTheirFormat) {
  EXPECT_EQ(refusal([](Model& m) { m.tensors["fc.weight"].data<int8_t>()[3] = -128; }),
            "f: node 26 'fc' (linear): weight 'fc.weight' must hold codes of n8, got -128 at "
            "element 3");
  Model model = every_operator(2);
  model.tensors["fc.weight"].data<int8_t>()[0] = 2;
  EXPECT_EQ(refusal_of(model),
            "f: node 26 'fc' (linear): weight 'fc.weight' must hold codes of s2, got 2 at element "
            "0");
  EXPECT_EQ(refusal<LinearAttributes>("fc", [](auto& a) { a.weight_format = numerics::kUint8; }),
            "weight_format must be signed, got u8");
  EXPECT_EQ(refusal<LinearAttributes>("fc", [](auto& a) { a.weight_format.bits = 9; }),
            "weight_format must have 2 to 8 bits, got 9");
}

TEST(ValidateLayers, Convolution) {
  using A = ConvAttributes;
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.stride = {1}; }),
            "stride must have 2 entries, got [1]");
  EXPECT_EQ(refusal<A>("conv1",
                       [](A& a) {
                         a.stride = {0, 2};
                       }),
            "stride must be at least 1 on every axis, got [0, 2]");
  EXPECT_EQ(refusal<A>("conv1",
                       [](A& a) {
                         a.padding = {-1, 1};
                       }),
            "padding must be at least 0 on every axis, got [-1, 1]");
  EXPECT_EQ(refusal<A>("conv1",
                       [](A& a) {
                         a.dilation = {1, 0};
                       }),
            "dilation must be at least 1 on every axis, got [1, 0]");
  EXPECT_EQ(refusal<A>("conv1",
                       [](A& a) {
                         a.output_padding = {0, 1};
                       }),
            "output_padding must be below 1 on axis 1, got [0, 1]");
  EXPECT_EQ(refusal<A>("up",
                       [](A& a) {
                         a.output_padding = {2, 0};
                       }),
            "output_padding must be below 2 on axis 0, got [2, 0]");
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.groups = 0; }), "groups must be at least 1, got 0");
  EXPECT_EQ(
      refusal<A>("conv1", [](A& a) { a.groups = 3; }),
      "groups must divide the first size of the weight, got groups 3 and weight [4, 3, 3, 2]");
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.groups = 2; }),
            "weight [4, 3, 3, 2] with groups 2 is for 6 input channels, got input [B, 3, 8, 8]");
  EXPECT_EQ(refusal<A>("conv1",
                       [](A& a) {
                         a.dilation = {5, 1};
                       }),
            "the kernel does not fit input [B, 3, 8, 8]");
  EXPECT_EQ(refusal<A>("conv1",
                       [](A& a) {
                         a.stride = {int64_t{1} << 60, 1};
                       }),
            "stride must be at most 67108864 in magnitude, got 1152921504606846976");
  EXPECT_EQ(refusal<A>("conv1", [](A& a) { a.weight = "fc.weight"; }),
            "the weight must have 1 to 3 spatial axes, got shape [5, 324]");
  EXPECT_EQ(refusal([](Model& m) {
              m.tensors["conv1.weight"].shape = {4, 3, 6};
            }),
            "f: node 1 'conv1' (conv): input and weight must have the same rank, got [B, 3, 8, 8] "
            "and [4, 3, 6]");
  EXPECT_EQ(refusal([](Model& m) {
              value_named(m, "image").shape[2] = value_named(m, "image.codes").shape[2] = {4, 0};
            }),
            "f: node 1 'conv1' (conv): sizes of spatial axes must be constant, got input [B, 3, "
            "4*B, 8]");
}

TEST(ValidateLayers, Linear) {
  EXPECT_EQ(refusal<LinearAttributes>("fc", [](auto& a) { a.weight = "up.weight"; }),
            "the weight must have shape [K, C], got [4, 3, 2, 2]");
  EXPECT_EQ(refusal([](Model& m) {
              m.tensors["fc.weight"].shape = {10, 162};
            }),
            "f: node 26 'fc' (linear): the last size of the input must be 162 as weight [10, 162] "
            "demands, got [2*B, 324]");
}

// 127 * 255 * 66311 = 2147482... is the last length that fits 2^31 - 1.
Model wide_linear(int64_t length) {
  testing::ModelBuilder b;
  const int64_t x = b.floats("x", {testing::kBatch, fixed(length)});
  const int64_t q = b.codes("q", {testing::kBatch, fixed(length)}, {1.0f, 0});
  const int64_t y = b.floats("y", {testing::kBatch, fixed(2)});
  b.model.graph.inputs = {x};
  b.model.graph.outputs = {y};
  b.node("quantize", QuantizeAttributes{}, {x}, {q});
  LinearAttributes a;
  a.weight = b.tensor("weight", TensorType::int8, {2, length});
  a.multiplier = b.channel("multiplier", 2);
  std::memset(b.model.tensors["weight"].data<int8_t>() + length, -127,
              static_cast<size_t>(length));  // only the second channel is wide
  b.node("fc", a, {q}, {y});
  return b.model;
}

TEST(ValidateLayers, WorstCaseAccumulator) {
  static_assert(int64_t{127} * 255 * 66311 <= 2147483647);
  static_assert(int64_t{127} * 255 * 66312 > 2147483647);
  EXPECT_NO_THROW(validate(wide_linear(66311), "f"));
  Model model = wide_linear(66312);
  EXPECT_EQ(refusal_of(model),
            "f: node 1 'fc' (linear): the worst-case accumulator must be at most 2147483647, got "
            "8421624 * 255; use fewer bits for the weight or the input");
  value_named(model, "q").qparams.zero_point = 128;  // 128 below and 127 above
  EXPECT_NO_THROW(validate(model, "f"));
}

// [C, K/groups, taps]: an output channel is (group, column) and sums over the C of its group.
TEST(ValidateLayers, WorstCaseAccumulatorOfATransposedConvolution) {
  const int64_t kernel = 33156;  // two input channels of a group: 66312 taps, one too many
  testing::ModelBuilder b;
  const Shape input{testing::kBatch, fixed(4), fixed(1)};
  const int64_t x = b.floats("x", input);
  const int64_t q = b.codes("q", input, {1.0f, 0});
  const int64_t y = b.floats("y", {testing::kBatch, fixed(4), fixed(kernel)});
  b.model.graph.inputs = {x};
  b.node("quantize", QuantizeAttributes{}, {x}, {q});
  ConvAttributes a;
  a.weight = b.tensor("weight", TensorType::int8, {4, 2, kernel});
  a.multiplier = b.channel("multiplier", 4);
  a.stride = a.dilation = {1};
  a.padding = a.output_padding = {0};
  a.groups = 2;
  a.transposed = true;
  b.node("up", a, {q}, {y});
  int8_t* codes = b.model.tensors["weight"].data<int8_t>();
  const auto fill = [&](int64_t channel, int64_t column) {
    std::memset(codes + (channel * 2 + column) * kernel, 127, static_cast<size_t>(kernel));
  };
  fill(1, 1);
  fill(2, 1);  // the same column of the other group, and
  fill(3, 0);  // another column of that group
  EXPECT_NO_THROW(validate(b.model, "f"));
  fill(3, 1);
  EXPECT_NE(refusal_of(b.model).find("the worst-case accumulator must be at most 2147483647"),
            std::string::npos);
}

TEST(ValidateLayers, Pools) {
  using Max = MaxPoolAttributes;
  EXPECT_EQ(refusal<Max>("maxpool", [](Max& a) { a.kernel = {2}; }),
            "kernel must have 2 entries, got [2]");
  EXPECT_EQ(refusal<Max>("maxpool",
                         [](Max& a) {
                           a.kernel = {0, 2};
                         }),
            "kernel must be at least 1 on every axis, got [0, 2]");
  EXPECT_EQ(refusal<Max>("maxpool",
                         [](Max& a) {
                           a.padding = {2, 0};
                         }),
            "padding must be at most half the kernel, got [2, 0] and kernel [3, 2]");
  EXPECT_EQ(refusal<Max>("maxpool",
                         [](Max& a) {
                           a.dilation = {5, 1};
                         }),
            "the kernel does not fit input [B, 4, 8, 8]");
  using Avg = AvgPoolAttributes;
  EXPECT_EQ(refusal<Avg>("avgpool", [](Avg& a) { a.divisor_override = -1; }),
            "divisor_override must be positive, or 0 for none, got -1");
  EXPECT_EQ(refusal<Avg>("avgpool", [](Avg& a) { a.ceil_mode = false; }),
            "output must have shape [B, 6, 4, 4], got [B, 6, 5, 4]");
  using Adaptive = AdaptiveAvgPoolAttributes;
  EXPECT_EQ(refusal<Adaptive>("adaptive",
                              [](Adaptive& a) {
                                a.output_size = {1, 2, 3, 4};
                              }),
            "output_size must have 1 to 3 entries and no more than the input's axes, got [1, 2, 3, "
            "4] and input [B, 6, 5, 4]");
  EXPECT_EQ(refusal<Adaptive>("adaptive",
                              [](Adaptive& a) {
                                a.output_size = {0, 3};
                              }),
            "output_size must be at least 1 on every axis, got [0, 3]");
  using Mean = MeanAttributes;
  EXPECT_EQ(refusal<Mean>("mean", [](Mean& a) { a.axes = {}; }), "axes must not be empty");
  EXPECT_EQ(refusal<Mean>("mean",
                          [](Mean& a) {
                            a.axes = {3, 2};
                          }),
            "axes must ascend, got [3, 2]");
  EXPECT_EQ(refusal<Mean>("mean", [](Mean& a) { a.axes = {-1}; }), "axes must be 0 to 3, got -1");
  EXPECT_EQ(refusal<Mean>("mean", [](Mean& a) { a.keepdim = false; }),
            "output must have shape [B, 6], got [B, 6, 1, 1]");
}

}  // namespace
}  // namespace qat::graph
