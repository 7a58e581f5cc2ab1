// The kernels at their borders: widths that no tile divides, values that leave the integers.

#include "runtime/compare.h"
#include "runtime/self_test.h"

namespace qat::runtime::testing {
namespace {

TEST(Kernels, DepthwiseAtEveryWidth) {
  for (const int64_t channels : {2, 16, 31, 32, 33, 48, 63, 64, 65, 96, 130}) {
    for (const int64_t kernel : {1, 3, 5}) {
      for (const int64_t stride : {1, 2, 3}) {
        SCOPED_TRACE(std::to_string(channels) + " " + std::to_string(kernel) + " " +
                     std::to_string(stride));
        Builder b;
        Random random(static_cast<uint32_t>(channels * 100 + kernel * 10 + stride));
        const bool is_signed = random.between(0, 1) == 1;
        const int64_t x = b.codes_input(batched({channels, 7, 9}), {0.02f, is_signed ? -3 : 99},
                                        is_signed ? numerics::kInt8 : numerics::kUint8);
        const ConvShape s{channels,         channels, channels, {7, 9}, {kernel, kernel},
                          {stride, stride}, {1, 1},   {1, 1},   {0, 0}};
        b.output(b.quantize(b.relu(add_conv(b, random, x, s)), {0.02f, 7}));
        expect_equal(b.model, {random.reals({2, channels, 7, 9}, -3, 3)});
      }
    }
  }
}

TEST(Kernels, RectangularAndDilatedDepthwise) {
  Builder b;
  Random random(8);
  const int64_t x = b.codes_input(batched({70, 9, 9}), {0.02f, 99});
  const ConvShape dilated{70, 70, 70, {9, 9}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, {0, 0}};
  const int64_t q = b.quantize(add_conv(b, random, x, dilated), {0.02f, 100});
  const ConvShape wide{70, 70, 70, {9, 9}, {1, 7}, {1, 2}, {0, 3}, {1, 1}, {0, 0}};
  b.output(b.quantize(add_conv(b, random, q, wide), {0.02f, 100}));
  expect_equal(b.model, {random.reals({1, 70, 9, 9}, -3, 3)});
}

TEST(Kernels, MergedTapsOfFewChannels) {
  for (const int64_t channels : {1, 2, 3, 5, 6, 7}) {
    for (const int64_t dilation : {1, 2}) {
      SCOPED_TRACE(std::to_string(channels) + " " + std::to_string(dilation));
      Builder b;
      Random random(static_cast<uint32_t>(channels));
      const int64_t x = b.codes_input(batched({channels, 11, 10}), {0.02f, 99});
      const ConvShape s{channels, 20, 1, {11, 10}, {5, 3}, {2, 1}, {2, 0}, {dilation, dilation},
                        {0, 0}};
      const int64_t q = b.quantize(add_conv(b, random, x, s), {0.02f, 100}, numerics::kInt8);
      const Sizes size = s.output();
      b.output(add_conv(b, random, q, {20, 3, 1, size, {1, 2}, {1, 1}, {0, 0}, {1, 1}, {0, 0}}));
      expect_equal(b.model, {random.reals({2, channels, 11, 10}, -3, 3)});
    }
  }
}

// conv (per-channel multipliers as given) -> [+ operand] -> activation -> codes.
struct EpilogueCase {
  std::vector<float> multipliers;
  numerics::Activation activation;
  numerics::QuantParams params;
  numerics::IntFormat format = numerics::kUint8;
  bool bias = true;
  int operand = 0;  // 1: codes, 2: floats of another layer
};

void check(const EpilogueCase& c) {
  constexpr int64_t kChannels = 21;
  Builder b;
  Random random(5);
  const int64_t x = b.codes_input(batched({kChannels, 5, 5}), {0.02f, 128});
  ConvShape s{kChannels, kChannels, 1, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, {0, 0}};
  s.bias = c.bias;
  int64_t v = add_conv(b, random, x, s);
  const auto& conv = std::get<ConvAttributes>(b.model.graph.nodes.back().attributes);
  float* multiplier = b.model.tensors.at(conv.multiplier).data<float>();
  for (size_t i = 0; i < kChannels; ++i) multiplier[i] = c.multipliers[i % c.multipliers.size()];
  if (c.operand != 0) {
    const int64_t other =
        c.operand == 1 ? b.float_node(DequantizeAttributes{}, {x}) : add_conv(b, random, x, s);
    if (c.operand == 2) {
      const auto& side = std::get<ConvAttributes>(b.model.graph.nodes.back().attributes);
      float* m = b.model.tensors.at(side.multiplier).data<float>();
      for (size_t i = 0; i < kChannels; ++i) m[i] = -3e38f;
    }
    v = b.float_node(BinaryAttributes{}, {v, other});
  }
  v = b.float_node(ActivationAttributes{c.activation, ""}, {v});
  b.output(b.quantize(v, c.params, c.format));
  expect_equal(b.model, {random.reals({1, kChannels, 5, 5}, -3, 3)});
}

TEST(Kernels, EpilogueAtTheEndsOfTheRange) {
  using K = numerics::ActivationKind;
  const std::vector<numerics::Activation> activations{{K::none, 0, 0},
                                                      {K::relu, 0, 0},
                                                      {K::clamp, 0, 6},
                                                      {K::clamp, 4, 1},
                                                      {K::clamp, -INFINITY, 0.3f},
                                                      {K::clamp, -0.5f, INFINITY}};
  const std::vector<std::vector<float>> multipliers{
      {1e-5f, -1e-5f, 3e-4f}, {0.0f, -0.0f, 1e-44f}, {3e38f, -3e38f, 1e30f}, {100.0f, 1e5f, -1e8f}};
  const std::vector<std::pair<numerics::QuantParams, numerics::IntFormat>> outputs{
      {{0.02f, 0}, numerics::kUint8},      {{0.02f, 255}, numerics::kUint8},
      {{0.02f, -128}, numerics::kInt8},    {{0.02f, 3}, numerics::kInt8Narrow},
      {{0.4f, 7}, {4, false, false}},      {{0x1p-40f, 100}, numerics::kUint8},
      {{0x1p+100f, 100}, numerics::kUint8}};
  for (const auto& activation : activations) {
    for (const auto& values : multipliers) {
      for (const auto& [params, format] : outputs) {
        for (const int operand : {0, 1, 2}) {
          SCOPED_TRACE(::testing::Message()
                       << "activation " << static_cast<int>(activation.kind) << " multiplier "
                       << values[0] << " scale " << params.scale << " operand " << operand);
          check({values, activation, params, format, operand != 1, operand});
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

// Every sum of two products, whatever the signs, leaves int16 in some of these.
TEST(Kernels, LargestProducts) {
  for (const float real : {-100.0f, 100.0f}) {  // code 0 or 255
    for (const int weight : {-128, 127}) {
      for (const int64_t groups : {1, 33}) {
        SCOPED_TRACE(::testing::Message() << real << " " << weight << " " << groups);
        Builder b;
        Random random(1);
        const int64_t x = b.codes_input(batched({33, 5, 6}), {0.02f, 99});
        const ConvShape s{33, 33, groups, {5, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 0}};
        b.output(add_conv(b, random, x, s));
        const auto& conv = std::get<ConvAttributes>(b.model.graph.nodes.back().attributes);
        Tensor& weights = b.model.tensors.at(conv.weight);
        std::fill_n(weights.data<int8_t>(), weights.numel(), static_cast<int8_t>(weight));
        expect_equal(b.model, {random.reals({2, 33, 5, 6}, real, real)});
      }
    }
  }
}

TEST(Kernels, SelfTestPassesHere) {
  for (const InstructionSet set : instruction_sets()) {
    EXPECT_TRUE(passes_self_test(set)) << to_string(set);
  }
  EXPECT_EQ(trusted_instruction_set(), kernels::u8s8::best_instruction_set());
}

}  // namespace
}  // namespace qat::runtime::testing
